//! Live messages beside a backlog: the bound in both directions, and whose messages are live.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::bench::Bench;
use super::bench::Step::{Commit, Connect, Disconnect, Read, Refuse, Store, Wait};
use crate::domain::delivery::{Answer, Config, LiveShare, Share};
use crate::domain::identity::Identity;
use crate::domain::row::{Key, Offset, Priority, Row};

fn bench(window: usize, percent: u8) -> Bench {
    let live = LiveShare { percent, backlog: 3, gaps: usize::MAX };
    let (share, pace) = (Share::NONE, None);
    Bench::with(Config { window, max_bytes: 1 << 20, pace, share, live })
}

fn at(sender: &str, priority: u8, offset: u64) -> Row {
    let key = Key { priority: Priority(priority), offset: Offset(offset) };
    Row { key, sender: Identity::device(sender).unwrap(), ..super::bench::row("a1") }
}

/// Accepts all that is on the wire, and tells what it was.
fn accept(bench: &mut Bench) -> Vec<(String, u64)> {
    let mut sent = Vec::new();
    while let Some(on_wire) = bench.wire.pop_front() {
        sent.push((on_wire.row.sender.to_string(), on_wire.row.key.offset.0));
        bench.hear(on_wire.row.key, Answer::Accepted);
    }
    while !bench.ends.is_empty() {
        bench.run(&Commit);
    }
    sent
}

/// Until there is nothing left to send.
fn drain(bench: &mut Bench) -> Vec<(String, u64)> {
    let mut sent = accept(bench);
    while bench.load.is_some() {
        bench.run(&Read);
        sent.extend(accept(bench));
    }
    sent
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// A backlog of two senders; two others, and one of the two, send on while it drains.
    #[test]
    fn of_live_rows_and_the_backlog_none_waits_longer_than_the_share_says(
        percent in 1..=90u8,
        window in 1..60usize,
        starts in 1..40usize,
    ) {
        let share = usize::from(percent);
        let is_live = |sender: &str| sender == "alarm" || sender == "live";
        let mut bench = bench(window, percent);
        bench.store((1..=500).map(|n| at(if n % 3 == 0 { "big" } else { "huge" }, 10, n)));
        bench.run(&Connect);
        let (mut sent, mut last, mut first) = (Vec::new(), 500, None);
        while sent.len() < 400 {
            if sent.len() >= starts {
                first.get_or_insert(sent.len());
                // There is always more of live ones; one that is behind goes on, too.
                let waiting = bench.rows.values().filter(|it| is_live(it.sender.as_str())).count();
                let news = (waiting..window + 100).flat_map(|_| ["alarm", "big", "live"]);
                let rows = news.zip(last + 1..).map(|(sender, n)| at(sender, 10, n));
                let rows: Vec<_> = rows.collect();
                last += rows.len() as u64;
                bench.store(rows);
            }
            bench.run(&Read);
            sent.extend(accept(&mut bench));
        }
        let first = first.unwrap();
        // The first one waits for what is on the wire, or being read, too.
        let (mut live, mut of_live, mut of_backlog, mut bound) = (0, 0, 0, 100 - share + window);
        for (place, (sender, _)) in sent.iter().enumerate().skip(first) {
            if is_live(sender) {
                (live, of_live, of_backlog, bound) = (live + 1, of_live + 1, 0, 100 - share);
                prop_assert!(of_live <= share, "{of_live} before one of the backlog at {place}");
            } else {
                (of_live, of_backlog) = (0, of_backlog + 1);
                prop_assert!(of_backlog <= bound, "{of_backlog} before a live one at {place}");
            }
        }
        let wanted = (sent.len() - first) * share / 100;
        prop_assert!(wanted.abs_diff(live) <= 100 + window, "{live} live ones, not {wanted}");
        let mut last = BTreeMap::new();
        for (sender, offset) in &sent {
            prop_assert!(last.insert(sender, offset) < Some(offset), "{sender} at {offset}");
        }
    }
}

#[test]
fn without_a_share_all_goes_in_order_of_arrival() {
    let mut bench = bench(2, 0);
    bench.store((1..=20).map(|n| at("big", 10, n)));
    bench.run(&Connect);
    bench.store([at("alarm", 10, 21)]);
    let sent = drain(&mut bench);
    assert!(sent.iter().map(|(_, offset)| *offset).eq(1..=21));
}

#[test]
fn an_alarm_overtakes_a_backlog_of_others_and_not_of_its_sender() {
    let mut bench = bench(2, 50);
    bench.store((1..=40).map(|n| at(if n == 30 { "behind" } else { "big" }, 10, n)));
    bench.run(&Connect);
    bench.run(&Read);
    bench.store([at("big", 10, 41), at("alarm", 10, 42), at("behind", 10, 43)]);
    let sent = drain(&mut bench);
    let place = |offset| sent.iter().position(|(_, it)| *it == offset).unwrap();
    assert_eq!(place(42), 2, "behind what was on the wire: {sent:?}");
    assert_eq!((place(41), place(43)), (41, 42), "{sent:?}");
}

#[test]
fn a_store_that_takes_in_more_all_the_time_does_not_keep_the_backlog_waiting() {
    for percent in [1, 50, 90] {
        let mut bench = bench(2, percent);
        bench.store((1..=40).map(|n| at("big", 10, n)));
        bench.run(&Connect);
        let mut sent = Vec::new();
        for offset in 41..141 {
            bench.store([at("big", 10, offset)]); // between each question and its answer
            bench.run(&Read);
            sent.extend(accept(&mut bench));
        }
        assert!(sent.len() >= 45, "{} with {percent} %", sent.len());
    }
}

#[test]
fn who_has_drained_its_backlog_is_live_from_then_on() {
    let mut bench = bench(2, 50);
    bench.store((1..=40).map(|n| at(if n == 3 { "early" } else { "big" }, 10, n)));
    bench.run(&Connect);
    let mut sent = Vec::new();
    for _ in 0..4 {
        bench.run(&Read);
        sent.extend(accept(&mut bench));
    }
    bench.store([at("early", 10, 41)]);
    let before = sent.len();
    sent.extend(drain(&mut bench));
    let place = sent.iter().position(|(_, it)| *it == 41).unwrap();
    assert!(place <= before + 2, "{place} of {before}: {sent:?}");
}

#[test]
fn a_live_row_overtakes_none_of_a_higher_priority() {
    let mut bench = bench(2, 50);
    bench.store((1..=40).map(|n| at("big", if n <= 20 { 3 } else { 10 }, n)));
    bench.run(&Connect);
    bench.run(&Read);
    bench.store([at("low", 10, 41), at("high", 3, 42)]);
    let sent = drain(&mut bench);
    let place = |offset| sent.iter().position(|(_, it)| *it == offset).unwrap();
    assert_eq!(place(42), 2, "{sent:?}");
    assert!((20..=24).contains(&place(41)), "when the backlog of its priority began: {sent:?}");
}

#[test]
fn live_rows_wait_when_the_parent_has_to_remember_too_many_gaps() {
    let live = LiveShare { percent: 50, backlog: 3, gaps: 4 };
    let (share, pace) = (Share::NONE, None);
    let mut bench = Bench::with(Config { window: 1, max_bytes: 1 << 20, pace, share, live });
    bench.store((1..=20).map(|n| at("big", 10, n)));
    bench.run(&Connect);
    bench.run(&Read);
    bench.store((21..=25).map(|n| at("big", 10, n)).chain([at("alarm", 10, 26)]));
    assert_eq!(accept(&mut bench), [("big".into(), 1)]);
    bench.run(&Read);
    assert_eq!(accept(&mut bench), [("alarm".into(), 26)], "read with the fifth gap");
    bench.store([at("alarm", 10, 27)]);
    let sent = drain(&mut bench);
    assert!(sent.iter().map(|(_, offset)| *offset).eq((2..=25).chain([27])), "{sent:?}");
}

#[test]
fn a_live_sender_that_is_throttled_or_cut_off_is_sent_again_in_order() {
    let mut bench = bench(2, 50);
    bench.store((1..=9).map(|n| at("b", 5, n)));
    bench.run(&Connect);
    bench.run(&Read);
    bench.run(&Store("a10 a11 a12"));
    accept(&mut bench);
    while bench.wire.len() < 2 {
        bench.run(&Read);
    }
    let on_wire = std::mem::take(&mut bench.wire);
    assert!(on_wire.iter().map(|it| it.row.key.offset.0).eq([10, 11]));
    bench.run(&Refuse("a10", 429));
    bench.run(&Refuse("a11", 429));
    let mut sent = drain(&mut bench);
    assert!(sent.iter().all(|(sender, _)| sender == "b"), "{sent:?}");
    bench.run(&Wait(1));
    bench.run(&Read);
    assert_eq!(bench.wire.len(), 1, "a probe");
    bench.run(&Disconnect);
    bench.run(&Connect);
    sent.extend(drain(&mut bench));
    let of_a: Vec<_> = sent.iter().filter(|(sender, _)| sender == "a").map(|it| it.1).collect();
    assert_eq!(of_a, [10, 11, 12], "{sent:?}");
    assert!(bench.rows.is_empty());
}
