//! A flood on local topics: slow readers lose the oldest, by count; nobody else notices.

use std::time::{Duration, Instant};

use rumqttc::mqttbytes::QoS::{AtLeastOnce, AtMostOnce};
use rumqttc::mqttbytes::v4::Packet;

use crate::scene::*;

#[test]
fn a_slow_reader_loses_the_oldest_by_count_and_its_iot_hub_topics_are_served() {
    let world = start(&[("EDGE_RUNTIME__LOCAL_TOPICS__OUTBOX_BYTES", "64 KiB")]);
    let (mut sender, mut slow) =
        (world.leaf("leaf").connect().unwrap(), world.module("slow").connect().unwrap());
    subscribe(&mut slow, &["flood"], AtLeastOnce);
    subscribe(&mut slow, &["$iothub/twin/res/#"], AtMostOnce);
    let body = "x".repeat(4000);
    for _ in 0..300 {
        publish_taken(&mut sender, "flood", false, &body);
    }
    // 32 are un-acknowledged, the outbox is full of others, and its twin comes all the same.
    publish(&mut slow, "$iothub/twin/GET/?$rid=1", AtMostOnce, false, 0, "");
    let (mut unacked, deadline) = (Vec::new(), Instant::now() + SOON);
    loop {
        assert!(Instant::now() < deadline, "no twin among {}", unacked.len());
        match slow.read(SOON).unwrap() {
            Some(Packet::Publish(it)) if it.topic == "flood" => unacked.push(it.pkid),
            Some(Packet::Publish(it)) => break assert!(it.topic.contains("/res/200/"), "{it:?}"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(unacked.len(), 32);
    unacked.iter().for_each(|id| slow.ack(*id).unwrap());
    let mut got = unacked.len();
    while let Ok(Some(Packet::Publish(it))) = slow.read(Duration::from_secs(1)) {
        slow.ack(it.pkid).unwrap();
        got += 1;
    }
    let (delivered, dropped) = (metric(&world, "delivered_total"), metric(&world, "dropped_total"));
    assert_eq!((delivered, delivered + dropped), (got as u64, 300));
    assert!((32 + 12..32 + 18).contains(&got), "a window, and an outbox of 64 KiB: {got}");
}

/// What `config/default.toml` says of memory, with clients that take nothing.
#[test]
fn many_slow_readers_take_no_more_memory_than_is_said() {
    const CLIENTS: u64 = 20;
    let world = start(&[]);
    let mut sender = world.leaf("leaf").connect().unwrap();
    publish_taken(&mut sender, "warm", false, "up");
    let before = anonymous(&world);
    let readers: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let mut mqtt = world.leaf(&format!("reader{number}")).connect().unwrap();
            subscribe(&mut mqtt, &["all/#", &format!("own/{number}")], AtLeastOnce);
            mqtt
        })
        .collect();
    let idle = anonymous(&world).saturating_sub(before);
    for (length, count) in [(10, 400), (60_000, 8)] {
        let body = "x".repeat(length);
        for _ in 0..count {
            publish(&mut sender, "all/é", AtLeastOnce, false, 7, &body);
        }
        for _ in 0..count {
            assert!(matches!(sender.read(SOON), Ok(Some(Packet::PubAck(_)))));
        }
    }
    let full = anonymous(&world).saturating_sub(before);
    println!(
        "{CLIENTS} clients: {} KiB each idle, {} KiB each with all full",
        idle / CLIENTS / 1024,
        full / CLIENTS / 1024
    );
    assert!(metric(&world, "dropped_total") > 0, "their outboxes are full");
    let said = CLIENTS * ((200 + 256) << 10) + (20 << 20);
    assert!(full <= said, "{full} bytes, and {said} were said");
    drop(readers);
}

/// Memory of the edge's own.
fn anonymous(world: &crate::support::world::World) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", world.edge.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[cfg(feature = "faults")]
#[test]
fn local_topics_come_back_after_a_panic_and_nobody_else_notices() {
    let world = start(&[]);
    let (mut sender, mut reader) =
        (world.leaf("leaf").connect().unwrap(), world.module("m").connect().unwrap());
    subscribe(&mut reader, &["a"], AtLeastOnce);
    publish_taken(&mut sender, "a", false, "1");
    assert_eq!(next(&mut reader), "a=1 1");
    let path = "/faults/panic?path=edge-runtime/core/services/local-topics";
    assert_eq!(world.management.try_call("POST", path).unwrap().0, 204);
    crate::support::wait_for("it to be started anew", SOON, || {
        publish_taken(&mut sender, "a", false, "2");
        reader.read(A_WHILE).unwrap().map(|_| ())
    });
    publish_taken(&mut sender, "devices/leaf/messages/events/", false, "same connection");
}
