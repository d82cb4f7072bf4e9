//! Tables of what may be in flight, by bytes and by what was acknowledged lately.

use std::time::Duration;

use super::bench::Step::{Accept, Commit, Connect, GiveUp, Narrow, Read, Rewind, Store, Wait};
use super::bench::{Bench, row};
use super::check;
use crate::domain::delivery::{Config, LiveShare, Pace, Share};
use crate::domain::row::Row;

/// A row that takes up `size` bytes of the budget.
fn sized(text: &str, size: usize) -> Row {
    Row { body: format!("{text:size$}", size = size - 64).into(), ..row(text) }
}

fn sent(bench: &mut Bench, step: super::Step) -> usize {
    let before = bench.wire.len();
    bench.run(&step);
    bench.wire.len() - before
}

#[test]
fn bytes_in_flight_are_bounded_but_one_row_goes_in_any_case() {
    let mut bench = Bench::with(Config {
        window: 10,
        max_bytes: 1_000,
        pace: None,
        share: Share::NONE,
        live: LiveShare::NONE,
    });
    bench.store([sized("a1", 5_000), sized("a2", 400), sized("a3", 500), sized("a4", 200)]);
    bench.run(&Connect);
    assert_eq!(sent(&mut bench, Read), 1, "larger than the budget, and alone");
    bench.run(&Accept("a1"));
    bench.run(&Commit);
    assert_eq!(sent(&mut bench, Read), 2, "the third would exceed it");
    assert!(bench.load.is_none(), "to read on would be in vain");
    bench.run(&Accept("a2"));
    bench.run(&Commit);
    assert_eq!(sent(&mut bench, Read), 1);
}

#[test]
fn no_more_is_in_flight_than_was_acknowledged_lately() {
    let pace = Pace { over: Duration::from_secs(5), at_least: 1_000 };
    let mut bench = Bench::with(Config {
        window: 10,
        max_bytes: 3_000,
        pace: Some(pace),
        share: Share::NONE,
        live: LiveShare::NONE,
    });
    bench.store((1..=9).map(|n| sized(&format!("a{n}"), 1_000)));
    bench.run(&Connect);
    assert_eq!(sent(&mut bench, Read), 1, "nothing was acknowledged");
    for row in ["a1", "a2"] {
        bench.run(&Accept(row));
        bench.run(&Commit);
        while bench.load.is_some() {
            bench.run(&Read);
        }
    }
    assert_eq!(bench.wire.len(), 4, "two were acknowledged: two are in flight");
    bench.run(&Wait(6));
    bench.run(&Accept("a3"));
    bench.run(&Commit);
    assert!(bench.load.is_none(), "one was acknowledged lately, and one is in flight");
}

#[test]
fn after_a_rewind_everything_owed_is_read_and_nothing_is_sent_twice() {
    check(
        3,
        &[
            (Store("a1 b2"), ""),
            (Connect, "load 3"),
            (Read, "send a1, send b2, load 1"),
            (Read, ""),
            (Rewind, "load 1"),
            (Read, "load 1"), // a1, in flight
            (Read, "load 1"),
            (Read, ""),
        ],
    );
}

#[test]
fn a_row_that_is_given_up_ends_once_and_is_not_sent_again() {
    check(
        2,
        &[
            (Store("a1 a2"), ""),
            (GiveUp("a1"), "end a1 dead-lettered poison tries 0"),
            (GiveUp("a1"), ""),
            (Connect, "load 1"),
            (Read, "load 1"), // a1, which is ending
            (Read, "send a2"),
            (Commit, "load 1"),
            (Read, ""),
        ],
    );
}

#[test]
fn a_narrowed_window_holds_for_what_is_being_read() {
    check(
        3,
        &[
            (Store("a1 a2 a3"), ""),
            (Connect, "load 3"),
            (Narrow(1), ""),
            (Read, "send a1"),
            (Accept("a1"), "end a1 delivered"),
            (Commit, "load 1"),
            (Read, "send a2"),
        ],
    );
}

#[test]
fn what_lies_below_low_is_never_sent_again() {
    let mut bench = Bench::new(4);
    bench.run(&Store("a1 b2! a3"));
    assert_eq!(bench.delivery.low().0, 0, "nothing is known yet");
    for step in [Connect, Read, Read] {
        bench.run(&step);
    }
    assert_eq!(bench.delivery.low().0, 1);
    bench.run(&Accept("a1"));
    assert_eq!(bench.delivery.low().0, 1, "its end may be lost");
    bench.run(&Commit);
    assert_eq!(bench.delivery.low().0, 2);
    for step in [Accept("a3"), Accept("b2!"), Commit, Commit] {
        bench.run(&step);
    }
    assert_eq!(bench.delivery.low().0, 4);
}
