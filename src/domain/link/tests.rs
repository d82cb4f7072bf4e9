//! Topics there and back, and the memory of what has come against a plain set.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::down::LinkDown;
use super::intervals::{Arrival, FORGET_AFTER_SECONDS, Seen};
use super::stamp::{self, Stamps};
use super::up::LinkUp;
use crate::domain::bag::Bag;
use crate::domain::identity::Identity;
use crate::domain::row::Stamp;

fn identity() -> impl Strategy<Value = Identity> {
    let id = "[A-Za-z0-9.%_*?!(),:=@$'-]{1,12}";
    (id, prop::option::of(id)).prop_map(|(device, module)| match module {
        Some(module) => Identity::module(&device, &module).unwrap(),
        None => Identity::device(&device).unwrap(),
    })
}

fn bag() -> impl Strategy<Value = Bag> {
    let pair = ("[a-zü =&/?.$]{1,6}", prop::option::of("[a-zü =&/?]{0,6}"));
    prop::collection::vec(pair, 0..4).prop_map(|pairs| {
        let pairs = pairs.iter().map(|(k, v)| (k.as_str(), v.as_deref()));
        Bag::parse(Bag::from_pairs(pairs).as_str()).unwrap()
    })
}

fn up() -> impl Strategy<Value = LinkUp> {
    (identity(), any::<u64>(), bag(), any::<i32>(), prop::option::of(any::<u64>()), 0..10usize)
        .prop_map(|(i, rid, bag, status, since, kind)| match kind {
            0 => LinkUp::Attach(i, rid),
            1 => LinkUp::Detach(i, rid),
            2 => LinkUp::Token(i, rid),
            3 => LinkUp::Scope(i, rid, since),
            4 => LinkUp::Telemetry(i, bag),
            5 => LinkUp::TwinGet(i, rid),
            6 => LinkUp::TwinPatch(i, rid),
            7 => LinkUp::MethodAnswer(i, status, rid),
            8 => LinkUp::MethodError(i, 504, rid),
            _ => LinkUp::Settle(i, rid.to_string()),
        })
}

fn down() -> impl Strategy<Value = LinkDown> {
    let numbers = (any::<u64>(), any::<u64>(), 100..600u16, any::<bool>());
    (identity(), numbers, bag(), "[a-z ?/]{1,9}", 0..6usize).prop_map(
        |(identity, (rid, seq, status, flag), bag, name, kind)| match kind {
            0 => {
                let version = flag.then_some(seq);
                LinkDown::Answer { identity, is_twin: flag, status, rid, version }
            }
            1 => LinkDown::ScopePatch(identity, rid),
            2 => LinkDown::Refused(identity, status, Stamp { run: rid, seq }),
            3 => LinkDown::Desired(identity, rid),
            4 => LinkDown::Method(identity, name, rid),
            _ => LinkDown::CloudToDevice(identity, rid.to_string(), bag),
        },
    )
}

proptest! {
    #[test]
    fn what_an_edge_sends_is_read_as_it_was_meant(up in up()) {
        prop_assert_eq!(LinkUp::parse(&up.to_string()), Ok(up));
    }

    #[test]
    fn what_a_parent_sends_is_read_as_it_was_meant(down in down()) {
        prop_assert_eq!(LinkDown::parse(&down.to_string()), Ok(down));
    }

    #[test]
    fn no_topic_makes_the_parsers_panic(topic in "(\\$iothub/devices/)?[a-z$?=&/é#]{0,40}") {
        let _ = LinkUp::parse(&topic);
        let _ = LinkDown::parse(&topic);
    }

    #[test]
    fn a_message_is_new_once_whatever_the_order(seqs in prop::collection::vec(0..40u64, 0..200)) {
        let (mut seen, mut model) = (Seen::default(), BTreeSet::new());
        for seq in seqs {
            let arrival = seen.on_arrival(Stamp { run: 1, seq }, 0, 0);
            let wanted = if model.insert(seq) { Arrival::New } else { Arrival::Duplicate };
            prop_assert_eq!(arrival, wanted);
        }
        let starts = model.iter().filter(|seq| **seq == 0 || !model.contains(&(**seq - 1))).count();
        prop_assert_eq!(seen.len(), starts, "intervals do not touch");
    }
}

#[test]
fn what_lies_below_low_is_a_duplicate_of_its_own_run_only() {
    let mut seen = Seen::default();
    let mut arrive = |run, seq, low| seen.on_arrival(Stamp { run, seq }, low, 0);
    assert_eq!(arrive(1, 5, 1), Arrival::New);
    assert_eq!(arrive(1, 9, 8), Arrival::New);
    assert_eq!(arrive(1, 5, 1), Arrival::Duplicate, "forgotten, and below the highest low");
    assert_eq!(arrive(1, 8, 1), Arrival::New);
    assert_eq!(arrive(2, 5, 1), Arrival::New, "another run");
}

#[test]
fn the_largest_number_is_a_number_like_others() {
    let mut seen = Seen::default();
    let mut arrive = |seq| seen.on_arrival(Stamp { run: 1, seq }, 0, 0);
    assert_eq!((arrive(u64::MAX), arrive(u64::MAX)), (Arrival::New, Arrival::Duplicate));
    assert_eq!((arrive(u64::MAX - 1), arrive(0)), (Arrival::New, Arrival::New));
    assert_eq!(seen.len(), 2);
}

#[test]
fn a_run_not_heard_of_is_forgotten_in_the_end() {
    let mut seen = Seen::default();
    seen.on_arrival(Stamp { run: 1, seq: 1 }, 1, 0);
    seen.on_arrival(Stamp { run: 2, seq: 1 }, 1, FORGET_AFTER_SECONDS);
    assert_eq!(seen.len(), 2);
    seen.on_arrival(Stamp { run: 2, seq: 2 }, 1, FORGET_AFTER_SECONDS + 1);
    assert_eq!(seen.len(), 1);
}

#[test]
fn stamps_are_added_and_taken_off_again() {
    let bag = Bag::parse("a=1&%24.ct=x").unwrap();
    let stamps = Stamps { stamp: Stamp { run: 7, seq: 8 }, low: 3, attempt: 2 };
    let sent = stamp::add(&bag, stamps);
    assert_eq!(sent.as_str(), "a=1&%24.ct=x&%24.run=7&%24.seq=8&%24.low=3&%24.try=2");
    assert_eq!(stamp::take(&sent), (bag.clone(), Some(stamps)));
    assert_eq!(stamp::take(&bag), (bag.clone(), None));
    let first = Stamps { attempt: 0, ..stamps };
    assert_eq!(stamp::take(&stamp::add(&bag, first)), (bag, Some(first)));
}
