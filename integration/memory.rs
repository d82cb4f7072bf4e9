//! The peak of memory is that of the settings, whatever clients send.
//!
//! Every client begins a largest message and holds back its last byte: all that may be parked is
//! parked, for as long as it takes to look.
#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods)]

mod support;

use std::thread::sleep;
use std::time::Duration;

use rumqttc::mqttbytes::v4::Packet;
use serde_json::json;
use support::mqtt::Mqtt;
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
