//! The queue's budget and a full disk, from outside: what waits goes on by itself, a relay drains to
//! zero, and what must be written on a full disk is.
#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "budget/disk.rs"]
mod disk;
#[path = "budget/traffic.rs"]
mod traffic;

mod support;

use std::time::Duration;

use rumqttc::mqttbytes::v4::Packet;
use serde_json::{Value, json};
use support::count::{broken_account, total};
use support::program::run;
use support::rest::Management;
use support::wait_for;
use support::world::World;

use self::disk::SmallDisk;
use self::traffic::{Flood, Relay};

const WITHIN: Duration = Duration::from_secs(120);

fn routes() -> Value {
    json!({
        "in": "FROM /messages/modules/sensor/outputs/out \
               INTO BrokeredEndpoint(\"/modules/filter/inputs/in\")",
        "out": "FROM /messages/modules/filter/outputs/* INTO $upstream",
    })
}

fn metric(world: &World, name: &str) -> String {
    let url = format!("{}:9600", world.edge_address);
    let mut socket = std::net::TcpStream::connect(url).unwrap();
    let ask = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    std::io::Write::write_all(&mut socket, ask.as_bytes()).unwrap();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut socket, &mut text).unwrap();
    let line = text.lines().find(|line| line.starts_with(&format!("edge_runtime_{name} ")));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).rsplit(' ').next().unwrap().to_owned()
}

#[track_caller]
fn wait_full(world: &World, flood: &Flood) -> Value {
    let mut last = (0, 0);
    wait_for("a full queue", WITHIN, || {
        let queue = world.queue()?;
        let acked = flood.acked();
        last = if acked == last.0 { (acked, last.1 + 1) } else { (acked, 0) };
        let is_full = queue["state"].as_str().unwrap().starts_with("full, new messages wait");
        (is_full && last.1 >= 10).then_some(queue)
    })
}

/// All that was acknowledged came, in order; second copies only if something was restarted.
#[track_caller]
fn check(world: &mut World, sent: u64, may_double: bool) {
    let arrived = wait_for("all messages at the hub", WITHIN, || {
        let arrived = world.at_hub("edge/filter");
        let mut numbers: Vec<_> = arrived.iter().map(|it| it.n).collect();
        numbers.sort_unstable();
        numbers.dedup();
        (numbers.len() as u64 >= sent).then_some(arrived)
    });
    let mut next = 0;
    for arrival in &arrived {
        assert!(arrival.n <= next, "{} came before {next}", arrival.n);
        assert!(may_double || arrival.n == next, "{} came twice", arrival.n);
        next = next.max(arrival.n + 1);
    }
    assert_eq!(next, sent);
}

#[test]
fn a_relay_at_a_full_budget_drains_to_zero_and_what_frees_memory_is_read() {
    let max = [("EDGE_RUNTIME__STORE__MAX_BYTES", "4 MiB")];
    let mut world = World::start_as(&routes(), &[], &max);
    let (sensor, filter) = (world.module("sensor"), world.module("filter"));
    let leaf = world.leaf("leaf");
    let flood = Flood::start(sensor, 2_000);
    let queue = wait_full(&world, &flood);
    assert_eq!((&queue["fill"], &queue["max_bytes"]), (&json!("full"), &json!(4 << 20)));
    assert!(queue["used_bytes"].as_u64().unwrap() <= 4 << 20, "{queue}");
    assert_eq!(metric(&world, "queue_fill"), "2");
    let full = |reported: &Value| reported["storeAndForward"]["level"] == "full";
    world.wait_reported("$edgeHub", "a full queue", full);
    let socket = world.management.0.to_str().unwrap().to_owned();
    let status = run("edgectl", &["status", "--socket", &socket], &[]);
    let status = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(status.contains("FULL, new messages wait"), "{status}");
    // Pings and twins are served; what nobody sends again is refused, and counted.
    let mut mqtt = leaf.connect().unwrap();
    let mut once = rumqttc::mqttbytes::v4::Publish::new(
        leaf.telemetry_topic(""),
        rumqttc::mqttbytes::QoS::AtMostOnce,
        "0",
    );
    once.pkid = 0;
    let mut bytes = bytes::BytesMut::new();
    once.write(&mut bytes).unwrap();
    mqtt.write(&bytes).unwrap();
    mqtt.publish(&leaf.telemetry_topic(""), 7, false, b"1").unwrap();
    assert!(mqtt.subscribe("$iothub/twin/res/#").unwrap());
    mqtt.publish("$iothub/twin/PATCH/properties/reported/?$rid=1", 8, false, b"{\"a\":1}").unwrap();
    mqtt.write(&[0xC0, 0]).unwrap();
    let (mut has_pong, mut has_twin) = (false, false);
    while !(has_pong && has_twin) {
        match mqtt.read(Duration::from_secs(30)).unwrap().expect("an answer at a full budget") {
            Packet::PingResp => has_pong = true,
            Packet::Publish(publish) => has_twin |= publish.topic.contains("/res/204/"),
            Packet::PubAck(ack) => assert_eq!(ack.pkid, 8, "the message must wait"),
            other => panic!("{other:?}"),
        }
    }
    let refused = || world.queue().filter(|queue| queue["refused"] == 1);
    wait_for("the refused message in the account", WITHIN, refused);
    // An input is acknowledged only when what is made of it is.
    let relay = Relay::start(filter);
    let sent = flood.finish(WITHIN);
    let queue = world.wait_drained(WITHIN);
    drop(relay);
    assert_eq!(broken_account(&queue), Vec::<String>::new());
    assert_eq!((total(&queue, "evicted"), total(&queue, "expired")), (0, 0));
    let normal = |reported: &Value| reported["storeAndForward"]["level"] == "normal";
    world.wait_reported("$edgeHub", "room again", normal);
    check(&mut world, sent, false);
    let log = world.edge.log_since_start();
    assert!(log.matches("the store fills up").count() <= 6, "once for each crossing");
    println!("relay at 4 MiB: {sent} messages of 1.9 kB drained, none lost");
}

#[test]
fn a_disk_that_is_full_takes_ends_a_deployment_and_a_restart_and_drains_to_zero() {
    let Some(disk) = SmallDisk::make(64 << 20) else { return };
    let state = disk.path().join("edge");
    let edge = [
        ("EDGE_RUNTIME__STATE__PATH", state.to_str().unwrap()),
        ("EDGE_RUNTIME__STORE__RESERVE_BYTES", "8 MiB"),
    ];
    let mut world = World::start_as(&routes(), &[], &edge);
    world.management = Management(state.join("mgmt.sock"));
    let (sensor, filter) = (world.module("sensor"), world.module("filter"));
    let (status, _) = world.management.try_call("POST", "/routes/out/pause").unwrap();
    assert_eq!(status, 204);
    let flood = Flood::start(sensor, 1 << 30);
    let relay = Relay::start(filter.clone());
    wait_for("relayed messages", WITHIN, || (flood.acked() > 1_000).then_some(()));
    drop(relay); // the rest of the disk is for its inputs
    disk.fill(24 << 20);
    wait_full(&world, &flood);
    disk.fill_all();
    let stored = wait_full(&world, &flood);
    println!("full with {} messages stored", total(&stored, "stored"));
    // A restart while it is full.
    world.edge.terminate();
    world.edge.again();
    world.edge.wait_ready();
    wait_full(&world, &flood);
    // A deployment while it is full: applied, and on disk.
    let mut more = routes();
    more["extra"] = json!("FROM /messages/modules/extra/outputs/* INTO $upstream");
    let before = world.hub.service.twin("edge", "$edgeHub");
    let before = before["properties"]["reported"]["lastDesiredVersion"].as_u64().unwrap();
    world.set_routes(&more);
    world.wait_reported("$edgeHub", "the new deployment in force", |reported| {
        reported["lastDesiredVersion"].as_u64().is_some_and(|version| version > before)
            && reported["lastDesiredStatus"]["code"] == 200
    });
    world.hub.program.kill();
    world.edge.kill();
    world.edge.again();
    world.edge.wait_ready();
    let routes = world.management.get("/routes").unwrap().to_string();
    assert!(routes.contains("modules/extra/outputs"), "{routes}");
    world.hub.program.again();
    world.hub.program.wait_ready();
    // Room again: all of it drains.
    disk.free();
    let relay = Relay::start(filter);
    let (status, _) = world.management.try_call("POST", "/routes/out/resume").unwrap();
    assert_eq!(status, 204);
    let sent = flood.finish(WITHIN);
    let queue = world.wait_drained(WITHIN);
    drop(relay);
    assert_eq!(broken_account(&queue), Vec::<String>::new());
    check(&mut world, sent, true);
    println!("64 MiB: {sent} messages of 1.9 kB, none lost");
    world.edge.terminate(); // before its disk is taken away
}
