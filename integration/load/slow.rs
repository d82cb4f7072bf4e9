//! Clients that stop reading, in a storm of what is for them: others do not wait for them, the
//! memory that they take is bounded, and what they are owed waits for them.

use std::time::{Duration, Instant};

use rumqttc::mqttbytes::v4::Packet;
use serde_json::{Map, json};
use tokio::time::sleep;

use crate::crowd::{Client, trust};
use crate::gauge::{KIB, MIB, is_unhurt, median, memory, settled};
use crate::support::mqtt::{LogIn, Mqtt};
use crate::support::world::{EDGE, World};

const DEAD: usize = 20;
const BODY: usize = 100_000;
const MESSAGES: u16 = 60;
/// Unwritten bytes of all clients, beyond which who does not read is cut off, and what each may
/// have then (`actors/endpoint/writer.rs`).
const MOST_OF_ALL: u64 = 32 * MIB;
const SHARE: u64 = 64 * KIB;

fn over_tls(mut log_in: LogIn) -> LogIn {
    log_in.address.set_port(8883);
    log_in
}

/// A message until the module has it, many times.
async fn echoes(sender: &mut Client, module: &mut Client) -> Duration {
    let mut all = Vec::new();
    let topic = format!("{}echo=1", sender.log_in.telemetry_topic("out"));
    for id in 1..=30 {
        let begin = Instant::now();
        sender.write(&Mqtt::encode(&topic, id, b"echo")).await.unwrap();
        let Packet::Publish(echo) = module.read().await.unwrap() else { panic!("no message") };
        all.push(begin.elapsed());
        module.ack(echo.pkid).await.unwrap();
        let Packet::PubAck(_) = sender.read().await.unwrap() else { panic!("no PUBACK") };
        sleep(Duration::from_millis(20)).await;
    }
    median(all)
}

fn routes() -> serde_json::Value {
    let mut routes = Map::new();
    let mut route = |name: &str, property: &str| {
        let to = format!("BrokeredEndpoint(\"/modules/{name}/inputs/in\")");
        let text = format!("FROM /messages/* WHERE IS_DEFINED({property}) INTO {to}");
        routes.insert(name.into(), text.into());
    };
    (0..DEAD).for_each(|n| route(&format!("dead-{n}"), "storm"));
    route("alive", "echo");
    routes.into()
}

#[test]
fn who_does_not_read_slows_nobody_and_takes_a_bounded_memory() {
    let mut world = World::start(&routes());
    let alive = over_tls(world.module("alive"));
    let (one, two) = (over_tls(world.leaf("one")), over_tls(world.leaf("two")));
    let dead: Vec<_> = (0..DEAD).map(|n| over_tls(world.module(&format!("dead-{n}")))).collect();
    let (tls, edge) = (trust(&world), world.edge.id());
    let service = world.hub.service.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut alive = Client::connect(&alive, &tls, None).await.unwrap();
        alive.subscribe_to(&format!("devices/{EDGE}/modules/alive/inputs/#"), 1).await.unwrap();
        let mut sender = Client::connect(&one, &tls, None).await.unwrap();
        let mut storm = Client::connect(&two, &tls, None).await.unwrap();
        let mut silent = Vec::new();
        for (n, log_in) in dead.iter().enumerate() {
            let mut client = Client::connect_small(log_in, &tls).await.unwrap();
            // Half of them without acknowledgements: nothing but the reading holds back the hub.
            let filter = format!("devices/{EDGE}/modules/dead-{n}/inputs/#");
            client.subscribe_to(&filter, u8::from(n % 2 == 0)).await.unwrap();
            client.subscribe_to("$iothub/methods/POST/#", 0).await.unwrap();
            client.subscribe_to("$iothub/twin/PATCH/properties/desired/#", 0).await.unwrap();
            silent.push(client);
        }
        let before = echoes(&mut sender, &mut alive).await;
        let memory_before = settled(edge);
        let storming = tokio::spawn(async move {
            let topic = format!("{}storm=1", storm.log_in.telemetry_topic("out"));
            for id in 1..=MESSAGES {
                storm.write(&Mqtt::encode(&topic, id, &vec![b'x'; BODY])).await.unwrap();
                storm.read().await.unwrap();
            }
        });
        let calling = std::thread::spawn(move || {
            let payload = "x".repeat(100_000);
            let call = json!({ "methodName": "m", "payload": payload,
                "responseTimeoutInSeconds": 5, "connectTimeoutInSeconds": 0 });
            let calls: Vec<_> = (0..DEAD * 4)
                .map(|n| {
                    let target = format!("/twins/{EDGE}/modules/dead-{}/methods", n % DEAD);
                    let (service, call) = (service.clone(), call.clone());
                    std::thread::spawn(move || service.try_call("POST", &target, Some(&call)))
                })
                .collect();
            for n in 0..40 {
                let patch =
                    json!({ "properties": { "desired": { "n": n, "x": "x".repeat(3_000) } } });
                let target = format!("/twins/{EDGE}/modules/dead-{}", n % DEAD);
                service.call("PATCH", &target, Some(&patch));
            }
            calls.into_iter().map(|call| call.join().unwrap()).collect::<Vec<_>>()
        });
        let mut most = 0;
        let mut during = Vec::new();
        let begin = Instant::now();
        while !storming.is_finished() || !calling.is_finished() {
            during.push(echoes(&mut sender, &mut alive).await);
            most = most.max(memory(edge));
            assert!(begin.elapsed() < Duration::from_secs(120), "the storm is stuck");
        }
        storming.await.unwrap();
        let calls = calling.join().unwrap();
        assert!(calls.iter().all(|call| call.as_ref().is_ok_and(|(status, _)| *status != 200)));
        let grown = most.saturating_sub(memory_before);
        let predicted = MOST_OF_ALL + DEAD as u64 * (SHARE + 2 * BODY as u64) + 16 * MIB;
        println!("{} KiB more at most, {} KiB predicted", grown / KIB, predicted / KIB);
        assert!(grown <= predicted, "{grown} bytes");
        is_unhurt("from a leaf to a module", before, median(during));
        drop(silent);
        // What they are owed waited for them.
        for n in [0, 1] {
            let mut again = Client::connect(&dead[n], &tls, None).await.unwrap();
            let filter = format!("devices/{EDGE}/modules/dead-{n}/inputs/#");
            again.subscribe_to(&filter, 1).await.unwrap();
            let mut inputs = 0;
            while inputs < u32::from(MESSAGES) - 30 * u32::try_from(n).unwrap() {
                if let Packet::Publish(input) = again.read().await.unwrap()
                    && input.topic.contains("/inputs/in/")
                {
                    again.ack(input.pkid).await.unwrap();
                    inputs += 1;
                }
            }
            println!("{} got {inputs} messages when it came again", dead[n].id);
        }
    });
    assert!(world.edge.ended().is_none());
}
