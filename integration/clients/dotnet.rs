//! Microsoft.Azure.Devices.Client 1.x over MQTT (`MqttTransportHandler`, `MqttIotHubAdapter`).
//!
//! It subscribes to `$iothub/twin/res/#` with QoS 0 right behind CONNACK, a filter per packet;
//! modules listen to `devices/{d}/modules/{m}/#`. Twin requests and answers of methods go with
//! QoS 0. Ids of packets are 1 to 32,767. PUBACKs must come in the order of its messages. The bag
//! is the seventh level of a topic without empty ones, or else the fifth: without one it closes.
//! `$.exp` must have seven digits of a second. With a session it asks for `devicebound` again.

use serde_json::json;

use crate::replay::{Replay, Scene, Style, module_topic, value};
use crate::support::mqtt::LogIn;
use crate::support::world::EDGE;

const STYLE: Style = Style {
    user: "?api-version=2020-09-30&DeviceClientType=.NET%2F1.42.3%20%28.NET%206.0.36%3B%20Linux%3B%20X64%29",
    keep_alive: 300,
};
const GUID: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";

/// Levels of a topic, as it counts them; the bag is one of them.
fn bag(topic: &str) -> &str {
    let levels: Vec<&str> = topic.split('/').filter(|level| !level.is_empty()).collect();
    if levels.len() > 6 { levels[6] } else { levels[4] }
}

fn open(who: &LogIn) -> (Replay, bool) {
    let (mut client, is_present) = Replay::connect(&STYLE, who, None);
    assert_eq!(client.subscribe(1, &[("$iothub/twin/res/#", 0)]), [0]);
    (client, is_present)
}

/// What a device and a module do alike.
fn twins_and_methods(scene: &Scene, who: &LogIn, client: &mut Replay) {
    assert_eq!(client.subscribe(3, &[("$iothub/methods/POST/#", 0)]), [0]);
    assert_eq!(client.subscribe(4, &[("$iothub/twin/PATCH/properties/desired/#", 0)]), [0]);
    let (status, twin) = client.ask_twin(&format!("$iothub/twin/GET/?$rid={GUID}"), "");
    assert_eq!(status, 200);
    assert!(twin["desired"]["$version"].is_u64() && twin["reported"]["$version"].is_u64());
    let patch = format!("$iothub/twin/PATCH/properties/reported/?$rid={GUID}");
    let (status, _) = client.ask_twin(&patch, r#"{"dotnet":{"a":[1]}}"#);
    assert!(status < 300, "{status}");
    scene.want(who, &json!({ "speed": 5 }));
    let desired = client.receive("$iothub/twin/PATCH/properties/desired/");
    bag(&desired.topic); // it reads one there too
    let desired: serde_json::Value = serde_json::from_slice(&desired.payload).unwrap();
    assert!(desired["speed"] == 5 && desired["$version"].is_u64(), "{desired}");
    let answer = scene.call(who, "reboot", || {
        let (rid, payload) = client.called("reboot");
        assert_eq!(payload, json!({ "n": 1 }));
        let topic = format!("$iothub/methods/res/200/?$rid={rid}");
        client.publish(&topic, 0, 0, false, br#"{"done":true}"#);
    });
    assert_eq!(answer, json!({ "status": 200, "payload": { "done": true } }));
    client.unsubscribe(5, "$iothub/methods/POST/#");
}

#[test]
fn a_device_of_dotnet() {
    let scene = Scene::start();
    for who in &scene.devices {
        let (mut client, is_present) = open(who);
        assert!(!is_present);
        let devicebound = format!("devices/{}/messages/devicebound/#", who.id);
        assert_eq!(client.subscribe(2, &[(&devicebound, 1)]), [1]);
        twins_and_methods(&scene, who, &mut client);
        let topic = format!(
            "devices/{}/messages/events/%24.mid=m-1&%24.ct=application%2Fjson&%24.ce=utf-8&level=a%2Fb/",
            who.id
        );
        (10..20).for_each(|id| client.publish(&topic, 1, id, false, b"{}"));
        (10..20).for_each(|id| client.acked(id));
        let first = scene.telemetry(who, 10).remove(0);
        assert_eq!(first["applicationProperties"], json!({ "level": "a/b" }));
        assert_eq!(first["systemProperties"]["mid"], "m-1");
        scene.send_to(
            &who.id,
            &[("iothub-expiry", "2031-05-06T07:08:09Z"), ("iothub-ack", "full")],
            "1",
        );
        let message = client.receive(&devicebound[..devicebound.len() - 1]);
        assert_eq!(value(bag(&message.topic), "$.exp"), "2031-05-06T07:08:09.0000000Z");
        assert_eq!(value(bag(&message.topic), "iothub-ack"), "full");
        client.disconnect();
        scene.send_to(&who.id, &[], "2");
        let (mut client, is_present) = open(who);
        assert!(is_present, "its session was kept");
        assert_eq!(client.subscribe(2, &[(&devicebound, 1)]), [1]);
        let message = client.receive(&devicebound[..devicebound.len() - 1]);
        assert_eq!((&message.payload[..], bag(&message.topic).is_empty()), (&b"2"[..], false));
    }
}

#[test]
fn a_module_of_dotnet() {
    let scene = Scene::start();
    let (mut client, _) = open(&scene.reader);
    let all = format!("{}/#", module_topic("reader"));
    assert_eq!(client.subscribe(2, &[(&all, 1)]), [1]);
    twins_and_methods(&scene, &scene.reader, &mut client);
    let (mut writer, _) = open(&scene.writer);
    let topic = format!("{}/messages/events/%24.on=out&k=v%20w/", module_topic("writer"));
    (1..6).for_each(|id| writer.publish(&topic, 1, id, false, format!("{id}").as_bytes()));
    (1..6).for_each(|id| writer.acked(id));
    for id in 1..6 {
        let input = client.receive(&module_topic("reader"));
        assert_eq!(&input.payload[..], format!("{id}").as_bytes());
        assert_eq!(input.topic.split('/').nth(5), Some("in"), "where it reads the input's name");
        let bag = bag(&input.topic);
        assert_eq!((value(bag, "k"), value(bag, "$.cdid")), ("v w".into(), EDGE.into()));
        assert_eq!(value(bag, "$.cmid"), "writer");
        assert!(!bag.contains("%24.on"), "{bag}");
    }
}

#[test]
fn the_will_of_dotnet_is_a_message_of_it() {
    let scene = Scene::start();
    for who in &scene.devices {
        let topic = format!("devices/{}/messages/events/why=gone/", who.id);
        drop(Replay::connect(&STYLE, who, Some((&topic, "the end"))));
        let item = scene.telemetry(who, 1).remove(0);
        assert_eq!(item["applicationProperties"]["why"], "gone");
    }
}
