//! The share that each priority has in any case, and paused routes.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::bench::Step::{
    Accept, Commit, Connect, Disconnect, Pause, Read, Refuse, Resume, Store, Wait,
};
use super::bench::{Bench, row};
use super::check;
use crate::domain::delivery::{Config, LiveShare, Share};
use crate::domain::row::{Key, Offset, Priority, Row};

fn bench(window: usize, percent: u8) -> Bench {
    let share = Share::of_percent(percent).unwrap();
    let live = LiveShare::NONE;
    Bench::with(Config { window, max_bytes: 1 << 20, pace: None, share, live })
}

fn at(priority: u8, offset: u64) -> Row {
    let key = Key { priority: Priority(priority), offset: Offset(offset) };
    Row { key, ..row("a1") }
}

/// Priorities in the order of sending, `window` at a time; of each there is always more, from
/// `starts` on: then, in rows sent, its first row is stored.
fn sent(bench: &mut Bench, window: usize, starts: &BTreeMap<u8, usize>, count: usize) -> Vec<u8> {
    let mut offset = 0;
    let mut sent = Vec::new();
    bench.run(&Connect);
    while sent.len() < count {
        for (priority, start) in starts {
            let waiting = bench.rows.keys().filter(|key| key.priority.0 == *priority).count();
            for _ in waiting..if sent.len() < *start { 0 } else { window + 2 } {
                offset += 1;
                bench.store([at(*priority, offset)]);
            }
        }
        if bench.load.is_some() {
            bench.run(&Read);
        }
        while let Some(on_wire) = bench.wire.pop_front() {
            sent.push(on_wire.row.key.priority.0);
            bench.hear(on_wire.row.key, super::super::Answer::Accepted);
        }
        while !bench.ends.is_empty() {
            bench.run(&Commit);
        }
    }
    sent
}

proptest! {
    #[test]
    fn no_priority_waits_longer_than_the_share_says(
        percent in 1..=9u8,
        window in 1..40usize,
        starts in prop::collection::btree_map(0..=10u8, 0..30usize, 1..11),
    ) {
        let cycle = 100 / usize::from(percent);
        let first = starts.values().min().copied().unwrap();
        let starts: BTreeMap<_, _> = starts.into_iter().map(|(p, at)| (p, at - first)).collect();
        let sent = sent(&mut bench(window, percent), window, &starts, 12 * cycle + 60);
        for (priority, start) in &starts {
            // What is on the wire when its first row is stored goes before it.
            let mut last = start + window;
            let own = sent.iter().enumerate().filter(|(_, it)| *it == priority);
            for (place, _) in own.filter(|(place, _)| *place > start + window) {
                let others = place - last - 1;
                prop_assert!(others <= cycle + 8, "{others} others before {priority} at {place}");
                last = place;
            }
            prop_assert!(sent.len() - last <= cycle + 9, "{priority} starves at the end");
        }
    }

    #[test]
    fn without_a_share_the_order_is_strict(
        window in 1..40usize,
        starts in prop::collection::btree_map(0..=10u8, Just(0), 1..11),
    ) {
        let sent = sent(&mut bench(window, 0), window, &starts, 300);
        let first = *starts.keys().next().unwrap();
        prop_assert!(sent.iter().all(|priority| *priority == first));
    }
}

#[test]
fn a_share_is_at_most_what_eleven_priorities_can_have() {
    assert!(Share::of_percent(9).is_some() && Share::of_percent(10).is_none());
}

#[test]
fn a_lower_priority_has_its_turn_and_what_is_above_loses_no_place() {
    let mut bench = bench(1, 9); // cycles of 11: one in strict order, then a round
    bench.store([at(0, 1), at(0, 2), at(0, 3), at(5, 4), at(5, 5), at(10, 6)]);
    bench.run(&Connect);
    let mut sent = Vec::new();
    while let Some(row) = {
        while bench.load.is_some() {
            bench.run(&Read);
        }
        bench.wire.pop_front()
    } {
        sent.push((row.row.key.priority.0, row.row.key.offset.0));
        bench.hear(row.row.key, super::super::Answer::Accepted);
        bench.run(&Commit);
    }
    assert_eq!(sent, [(0, 1), (5, 4), (10, 6), (0, 2), (5, 5), (0, 3)]);
    assert_eq!(bench.delivery.low(), Offset(7));
}

#[test]
fn rows_of_a_paused_route_stay_owed_and_are_not_passed_for_good() {
    check(
        2,
        &[
            (Store("a1 b2 a3"), ""),
            (Pause('a'), ""),
            (Connect, "load 2"),
            (Read, "send b2, load 1"), // `low` stays at a1: the bench looks at it
            (Read, ""),
            (Accept("b2"), "end b2 delivered"),
            (Commit, ""),
            (Store("b4"), "load 2"),
            (Read, "send b4, load 1"),
            (Read, ""),
            (Resume('a'), "load 1"),
            (Read, "send a1"),
        ],
    );
}

#[test]
fn a_row_in_flight_when_its_route_is_paused_ends_and_what_is_owed_again_waits() {
    check(
        2,
        &[
            (Store("a1 a2 a3"), ""),
            (Connect, "load 2"),
            (Read, "send a1, send a2"),
            (Pause('a'), ""),
            (Accept("a1"), "end a1 delivered"),
            (Commit, "load 1"),
            (Read, ""),
            (Disconnect, ""),
            (Connect, "load 2"),
            (Read, ""),
            (Resume('a'), "load 2"),
            (Read, "send a2, send a3"),
        ],
    );
}

#[test]
fn a_dead_letter_tells_how_often_it_was_sent() {
    check(
        1,
        &[
            (Store("a1"), ""),
            (Connect, "load 1"),
            (Read, "send a1"),
            (Disconnect, ""),
            (Connect, "load 1"),
            (Read, "send a1"),
            (Refuse("a1", 429), "wake 1, load 1 -a"),
            (Read, ""),
            (Wait(1), "load 1"),
            (Read, "send a1 try 1"),
            (Refuse("a1", 413), "end a1 dead-lettered 413 tries 3"),
        ],
    );
}
