//! The tap and the stream.

use serde_json::json;

use super::*;
use crate::domain::bag::Bag;
use crate::localhub::testing::id;
use crate::messages::queue::Telemetry as Sent;

async fn send(hub: &Hub, sender: &str, bodies: std::ops::Range<u32>) {
    let bag = Bag::parse("%24.ct=application%2Fjson&%24.mid=1&level=info&flag&%24.mine=1").unwrap();
    let sent = bodies.map(|n| Sent {
        sender: id(sender),
        bag: bag.clone(),
        body: n.to_string().into(),
        link: None,
        transmission: None,
    });
    hub.ingest.ask(Ingest(sent.collect(), None), DEADLINE).await.unwrap().unwrap();
}

fn offsets(read: &Read) -> Vec<u64> {
    let items = read.json["items"].as_array().unwrap();
    items.iter().map(|item| item["offset"].as_u64().unwrap()).collect()
}

#[actix::test]
async fn the_tap_gives_items_from_an_offset_on_and_where_to_go_on() {
    let hub = Hub::new().await;
    let empty = hub.get("/telemetry?since=1000000000000000").await;
    assert_eq!(empty.json, json!({"items": [], "next": 1}));
    send(&hub, "d", 0..2).await;
    send(&hub, "d/m", 2..3).await;
    let all = hub.get("/telemetry").await;
    assert_eq!((offsets(&all), &all.json["next"]), (vec![1, 2, 3], &json!(4)));
    let first = &all.json["items"][0];
    assert_eq!(first["systemProperties"], json!({"ct": "application/json", "mid": "1"}));
    assert_eq!(
        first["applicationProperties"],
        json!({"level": "info", "flag": null, "$.mine": "1"})
    );
    assert_eq!((&first["body"], &first["moduleId"]), (&json!("MA=="), &json!(null)));
    assert_eq!(all.json["items"][2]["moduleId"], json!("m"));
    let part = hub.get("/telemetry?since=2&max=1").await;
    assert_eq!((offsets(&part), &part.json["next"]), (vec![2], &json!(3)));
    let past = hub.get("/telemetry?since=99").await.json;
    assert_eq!(past, json!({"items": [], "next": 4}));
    assert_eq!(hub.get("/telemetry?since=x").await.error(), "400 ArgumentInvalid");
    let seen = hub.get("/statistics/devices").await; // another actor's turn
    assert_eq!(seen.status, 200);
}

#[actix::test]
async fn without_max_everything_is_given_however_long_the_log_is() {
    let hub = Hub::new().await;
    for n in 0..25 {
        send(&hub, "d", n * 100..(n + 1) * 100).await;
    }
    let all = hub.get("/telemetry?since=10").await;
    assert_eq!(offsets(&all), (10..=2500).collect::<Vec<u64>>());
    let part = hub.get("/telemetry?since=1&max=1500").await;
    assert_eq!((offsets(&part).len(), &part.json["next"]), (1500, &json!(1501)));
}

#[actix::test]
async fn the_stream_gives_what_is_there_and_goes_on_with_what_comes() {
    let hub = Hub::new().await;
    send(&hub, "d", 0..2).await;
    let mut request = HttpRequest::new("GET", "/telemetry/stream?since=2");
    let token = sas::make(HOST, KEY, u64::MAX, None).unwrap();
    request.headers.push(("authorization".into(), token.into()));
    let HttpBody::Stream(mut lines) = hub.rest.handle(request).await.body else { panic!("whole") };
    let mut next = async || {
        let chunk = lines.next().await.unwrap().unwrap();
        let text = String::from_utf8(chunk.to_vec()).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.map(|item| item["offset"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(next().await, [2]);
    let (come, _) = futures_util::future::join(next(), send(&hub, "d", 2..4)).await;
    assert_eq!(come, [3, 4]);
}

#[actix::test]
async fn whoever_sends_was_active() {
    let hub = Hub::new().await;
    hub.make("/devices/d", json!({})).await;
    let never = hub.get("/devices/d").await.json["lastActivityTime"].clone();
    send(&hub, "d", 0..1).await;
    assert_ne!(hub.get("/devices/d").await.json["lastActivityTime"], never);
}
