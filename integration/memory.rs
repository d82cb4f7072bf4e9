//! The peak of memory is that of the settings, whatever clients send.
//!
//! What is stored takes none, however much it is, nor do clients that are slow, beyond their window;
//! a client that does nothing takes what docs/performance.md says.
//!
//! Every client begins a largest message and holds back its last byte: all that may be parked is
//! parked, for as long as it takes to look.
#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods)]

mod support;

use std::thread::sleep;
use std::time::Duration;

use rumqttc::mqttbytes::v4::Packet;
use serde_json::json;
use support::mqtt::{LogIn, Mqtt};
use support::world::World;

const CLIENTS: usize = 100;
const LARGEST: usize = 262_144;
const MIB: u64 = 1 << 20;
/// What a connection may hold besides what is parked: what was read before there was no more room.
const READ_AHEAD: u64 = 8 << 10;
/// Batches, pages of the allocator.
const SLACK: u64 = 2 * MIB;

/// Memory of the process that is its own (`RssAnon` and `RssShmem`), in bytes.
fn memory(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let of = |name: &str| -> u64 {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    };
    of("RssAnon:") + of("RssShmem:")
}

/// Waits until it does not grow any more.
fn settled(process: u32) -> u64 {
    let (mut last, mut same) = (memory(process), 0);
    while same < 10 {
        sleep(Duration::from_millis(50));
        let now = memory(process);
        same = if now > last { 0 } else { same + 1 };
        last = now.max(last);
    }
    last
}

/// How much memory the largest messages of all clients take, parked; all are taken in the end.
fn parked(parking: u64) -> u64 {
    let routes = json!({ "all": "FROM /messages/* INTO $upstream" });
    let setting = parking.to_string();
    let world = World::start_as(&routes, &[], &[("EDGE_RUNTIME__HUB__PARKING_BYTES", &setting)]);
    let clients = (0..CLIENTS).map(|n| world.leaf(&format!("leaf-{n}"))).collect::<Vec<_>>();
    let mut connections: Vec<(Mqtt, u8)> = Vec::new();
    for leaf in &clients {
        connections.push((leaf.connect().unwrap(), 0));
    }
    let before = settled(world.edge.id());
    for ((mqtt, rest), leaf) in connections.iter_mut().zip(&clients) {
        let packet = Mqtt::encode(&leaf.telemetry_topic(""), 1, &vec![b'x'; LARGEST]);
        let (last, most) = packet.split_last().unwrap();
        mqtt.write(most).unwrap();
        *rest = *last;
    }
    let taken = settled(world.edge.id()).saturating_sub(before);
    for (mqtt, rest) in &mut connections {
        mqtt.write(&[*rest]).unwrap();
    }
    for (mqtt, _) in &mut connections {
        let answer = mqtt.read(Duration::from_secs(60)).unwrap();
        assert!(matches!(answer, Some(Packet::PubAck(_))), "{answer:?}");
    }
    println!("parking {} MiB: {} KiB taken by {CLIENTS} clients", parking / MIB, taken / 1024);
    taken
}

#[test]
fn the_peak_of_memory_is_predicted_by_the_settings() {
    for parking in [4 * MIB, 16 * MIB] {
        let taken = parked(parking);
        let predicted = parking + CLIENTS as u64 * READ_AHEAD + SLACK;
        assert!(taken >= parking * 3 / 4, "{taken} bytes: the parking was not full");
        assert!(taken <= predicted, "{taken} bytes, {predicted} were predicted");
    }
}

/// What a plain client that does nothing may take, in bytes.
const IDLE: u64 = 4_096;
const CROWD: usize = 300;

#[test]
fn a_client_that_does_nothing_takes_no_more_memory_than_stated() {
    let world = World::start(&json!({}));
    let leaves: Vec<_> = (0..3 * CROWD).map(|n| world.leaf(&format!("leaf-{n}"))).collect();
    let enter = |leaves: &[LogIn]| -> Vec<Mqtt> {
        leaves.iter().map(|leaf| leaf.connect().unwrap()).collect()
    };
    let first = enter(&leaves[..CROWD]); // what all share was made
    let before = settled(world.edge.id());
    let second = enter(&leaves[CROWD..]);
    let each = settled(world.edge.id()).saturating_sub(before) / (2 * CROWD as u64);
    println!("{} idle clients: {each} bytes each, {IDLE} stated", 2 * CROWD);
    assert!(each <= IDLE, "{each} bytes");
    drop((first, second));
}

/// Messages that are stored when it is looked for the last time; more by hand.
fn backlog() -> usize {
    std::env::var("BACKLOG").ok().and_then(|text| text.parse().ok()).unwrap_or(60_000)
}

const SENDERS: usize = 4;
const WINDOW: usize = 100;
const BODY: usize = 256;
const SLOW: usize = 8;

/// Sends so many messages, as fast as they are acknowledged.
fn send(leaf: &LogIn, messages: usize) {
    let mut mqtt = leaf.connect().unwrap();
    let (topic, body) = (leaf.telemetry_topic(""), [b'x'; BODY]);
    let (mut sent, mut acked) = (0, 0);
    while acked < messages {
        while sent < messages && sent - acked < WINDOW {
            let id = u16::try_from(sent % 60_000 + 1).unwrap();
            mqtt.publish(&topic, id, false, &body).unwrap();
            sent += 1;
        }
        if let Some(Packet::PubAck(_)) = mqtt.read(Duration::from_secs(60)).unwrap() {
            acked += 1;
        }
    }
}

fn send_all(leaves: &[LogIn], messages: usize) {
    std::thread::scope(|scope| {
        for leaf in leaves {
            scope.spawn(move || send(leaf, messages / SENDERS));
        }
    });
}

#[test]
fn what_is_stored_and_who_is_slow_take_no_more_memory_than_predicted() {
    let mut routes = json!({ "all": "FROM /messages/* INTO $upstream" });
    for n in 0..SLOW {
        let sink = format!("BrokeredEndpoint(\"/modules/slow-{n}/inputs/in\")");
        routes[format!("slow-{n}")] = json!(format!("FROM /messages/* INTO {sink}"));
    }
    let mut world = World::start(&routes);
    let leaves: Vec<_> = (0..SENDERS).map(|n| world.leaf(&format!("leaf-{n}"))).collect();
    let modules: Vec<_> = (0..SLOW).map(|n| world.module(&format!("slow-{n}"))).collect();
    let mut slow = Vec::new();
    for module in &modules {
        let mut mqtt = module.connect().unwrap();
        let (device, name) = module.id.split_once('/').unwrap();
        assert!(mqtt.subscribe(&format!("devices/{device}/modules/{name}/inputs/#")).unwrap());
        slow.push(mqtt); // and nothing is read any more
    }
    send_all(&leaves, 2_000); // everything was used once
    world.hub.program.kill();
    let before = settled(world.edge.id());
    let (first, all) = (backlog() / 6, backlog());
    send_all(&leaves, first);
    let early = settled(world.edge.id()).saturating_sub(before);
    send_all(&leaves, all - first);
    let late = settled(world.edge.id()).saturating_sub(before);
    let stored = support::count::total(&world.queue().unwrap(), "stored");
    // What was read and not acknowledged yet, and what is on the way to those that are slow.
    let each = (BODY + 512) as u64;
    let predicted = (SENDERS * WINDOW) as u64 * each + (SLOW * 32) as u64 * each + 2 * SLACK;
    println!(
        "{stored} rows stored: {} KiB after {first} messages, {} KiB after {all}; predicted {} KiB",
        early / 1024,
        late / 1024,
        predicted / 1024
    );
    assert!(stored as usize >= all * SLOW, "{stored} rows are stored");
    assert!(early <= predicted && late <= predicted, "{early}, {late}: {predicted} predicted");
    drop(slow);
}
