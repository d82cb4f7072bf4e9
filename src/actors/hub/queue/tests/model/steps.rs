//! What may happen to routes and their messages, at random, and who delivers them.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::super::*;
use crate::domain::delivery::{Config, Delivery, Effect, LiveShare, Share};
use crate::domain::row::Offset;
use crate::store::queue::Fate;

pub(super) const READERS: [&str; 3] = ["$upstream", "gw/a", "gw/b"];
pub(super) const SINKS: [&str; 4] = [
    "$upstream",
    "BrokeredEndpoint(\"/modules/a/inputs/in\")",
    "BrokeredEndpoint(\"/modules/a/inputs/other\")",
    "BrokeredEndpoint(\"/modules/b/inputs/in\")",
];
pub(super) const ROUTES: usize = 3;

/// Sink, priority, whether it has a condition; `None`: there is no such route.
pub(super) type Shape = Option<(usize, Option<u8>, bool)>;

#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Senders, and whether the condition holds.
    Ingest(Vec<(u8, bool)>),
    Swap([Shape; ROUTES]),
    Pause(usize, bool),
    /// The reader comes, or goes.
    Connect(usize, bool),
    /// The store answers a load of the reader.
    Load(usize),
    /// The endpoint gets the next row, and answers; or its answer is lost.
    Arrive(usize, Choice),
    /// What ended is written.
    Commit(usize),
    Restart,
    Discard(usize, usize),
    Settle(Fate, usize),
    Wait,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Choice {
    Accept,
    AcceptUnheard,
    Reject,
    Throttle,
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let shape = || {
        let priority = prop::sample::select(vec![None, Some(0), Some(5)]);
        proptest::option::of((0..SINKS.len(), priority, any::<bool>()))
    };
    let choice = prop_oneof![
        8 => Just(Choice::Accept),
        2 => Just(Choice::AcceptUnheard),
        2 => Just(Choice::Reject),
        1 => Just(Choice::Throttle),
    ];
    let reader = || 0..READERS.len();
    prop_oneof![
        6 => prop::collection::vec((0..3u8, any::<bool>()), 1..5).prop_map(Step::Ingest),
        4 => [shape(), shape(), shape()].prop_map(Step::Swap),
        2 => (0..ROUTES, any::<bool>()).prop_map(|(route, is)| Step::Pause(route, is)),
        4 => (reader(), prop::bool::weighted(0.8)).prop_map(|(who, is)| Step::Connect(who, is)),
        8 => reader().prop_map(Step::Load),
        10 => (reader(), choice).prop_map(|(who, choice)| Step::Arrive(who, choice)),
        6 => reader().prop_map(Step::Commit),
        1 => Just(Step::Restart),
        1 => (reader(), 0..ROUTES).prop_map(|(who, route)| Step::Discard(who, route)),
        2 => (prop::sample::select(vec![Fate::Replay, Fate::Drop]), 0..ROUTES)
            .prop_map(|(fate, route)| Step::Settle(fate, route)),
        1 => Just(Step::Wait),
    ]
}

/// Who delivers to an endpoint, as its actor does.
pub(super) struct Reader {
    pub(super) delivery: Delivery,
    pub(super) load: Option<Pull>,
    pub(super) wire: VecDeque<(Row, u64, Offset)>,
    pub(super) ends: Vec<(Key, End)>,
    pub(super) is_connected: bool,
}

impl Reader {
    pub(super) fn new(share: u8) -> Self {
        let live = LiveShare { percent: 50 * (share % 2), backlog: 1, gaps: 10 };
        let share = Share::of_percent(share).unwrap();
        let config = Config { window: 4, max_bytes: 1 << 20, pace: None, share, live };
        Reader {
            delivery: Delivery::new(config),
            load: None,
            wire: VecDeque::new(),
            ends: Vec::new(),
            is_connected: false,
        }
    }

    pub(super) fn take(&mut self, endpoint: usize, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Load { from, max, max_bytes, without, live } => {
                    let endpoint = Endpoint(READERS[endpoint].into());
                    self.load = Some(Pull { endpoint, from, max, max_bytes, without, live });
                }
                Effect::Publish { row, attempt, low } => self.wire.push_back((row, attempt, low)),
                Effect::End { key, how } => self.ends.push((key, how)),
                Effect::WakeAt(_) => {}
            }
        }
    }
}
