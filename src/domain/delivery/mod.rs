//! Delivery of one endpoint's rows: what is sent, what has ended, and what is still owed.
//!
//! The rows in the store are all that is owed; what is kept here may be lost at any time. Every
//! row that was read is in flight, held by its sender's lane, or gone from the store. So to read
//! from an earlier place again is always right, and is all that a reconnect or a lane needs.
//!
//! ```text
//!  store ──rows──► in flight ──accepted, rejected──► ending ──committed──► gone
//!    ▲                 └──throttled──► lane, until its delay is over ──┐
//!    └──────────────────── read again ◄──── link lost ─────────────────┘
//! ```
//!
//! Promises: per sender and priority rows are sent in order; `window` bounds in flight and
//! ending together; a refused row holds up its sender at most.
//!
//! Needs: a parent that throttles a row refuses whatever else that sender has in flight. Else a
//! later row overtakes the refused one, and only a window of one per sender would prevent it.
//!
//! next: `actors/upstream.rs`, which carries the effects out.

mod in_flight;
mod lanes;
mod position;

use std::time::Instant;

use self::in_flight::InFlight;
use self::lanes::Lanes;
pub use self::position::Position;
use super::identity::Identity;
use super::row::{End, Key, Offset, Row};

/// What the endpoint answered to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It has it on disk.
    Accepted,
    /// It will never take this row.
    Rejected(u16),
    /// It takes nothing from this sender for now.
    Throttled(u16),
}

impl Answer {
    /// The meaning of a `refused/{status}`. An unknown status must not hold up a lane for ever.
    pub fn of_refusal(status: u16) -> Self {
        match status {
            429 | 500..=599 => Answer::Throttled(status),
            _ => Answer::Rejected(status),
        }
    }
}

/// What the shell is to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Read up to `max` rows.
    Load {
        /// Where to begin.
        from: Position,
        /// Free slots in the window.
        max: usize,
    },
    /// Send the row to the endpoint.
    Publish(Row),
    /// Record the end of a row and delete it, in one transaction.
    End {
        /// Which row.
        key: Key,
        /// Its named end.
        how: End,
    },
    /// Call `on_wake` at this time.
    WakeAt(Instant),
}

/// See the module documentation.
#[derive(Debug)]
pub struct Delivery {
    window: usize,
    is_connected: bool,
    position: Position,
    in_flight: InFlight,
    lanes: Lanes,
    /// There may be rows that were not read yet. Notices that overtake an answer stay noted here.
    has_news: bool,
    loading: Loading,
}

/// Whether an answer of the store is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loading {
    No,
    Yes,
    /// Yes, but the position was rewound since: the answer is void.
    Stale,
}

impl Delivery {
    /// Nothing read, nothing sent, no connection.
    pub fn new(window: usize) -> Self {
        Delivery {
            window,
            is_connected: false,
            position: Position::default(),
            in_flight: InFlight::default(),
            lanes: Lanes::default(),
            has_news: true,
            loading: Loading::No,
        }
    }

    /// The endpoint can be reached.
    pub fn on_connected(&mut self, now: Instant) -> Vec<Effect> {
        self.is_connected = true;
        self.pull(now)
    }

    /// The endpoint is gone: everything in flight is owed again. Delays go on.
    pub fn on_disconnected(&mut self) {
        self.is_connected = false;
        if let Some(first) = self.in_flight.take_back() {
            self.rewind(first);
        }
    }

    /// The store has rows that were not there before.
    pub fn on_stored(&mut self, now: Instant) -> Vec<Effect> {
        self.has_news = true;
        self.pull(now)
    }

    /// The store answered a `Load`. No rows means: there were none then.
    pub fn on_loaded(&mut self, rows: Vec<Row>, now: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.loading == Loading::Yes {
            self.has_news |= !rows.is_empty();
            effects.extend(rows.into_iter().filter_map(|row| self.send(row)));
        }
        self.loading = Loading::No;
        debug_assert!(self.in_flight.len() <= self.window, "the store answers what was asked");
        effects.extend(self.pull(now));
        effects
    }

    /// The endpoint answered a row.
    pub fn on_answered(&mut self, key: Key, answer: Answer, now: Instant) -> Vec<Effect> {
        let Some(sender) = self.in_flight.sender_of(key) else {
            return Vec::new(); // late: the link was lost after it was sent
        };
        let mut effects = match answer {
            Answer::Accepted => self.end(key, End::Delivered, &sender),
            Answer::Rejected(status) => {
                self.end(key, End::DeadLettered(status.to_string()), &sender)
            }
            Answer::Throttled(_) => self.back_off(key, &sender, now),
        };
        effects.extend(self.pull(now));
        effects
    }

    /// The store committed the end of a row.
    pub fn on_ended(&mut self, key: Key, now: Instant) -> Vec<Effect> {
        self.in_flight.on_ended(key);
        self.pull(now)
    }

    /// A lane's delay may be over.
    pub fn on_wake(&mut self, now: Instant) -> Vec<Effect> {
        self.pull(now)
    }

    /// Sends a row that was read, unless it is in flight since before a rewind, or held.
    fn send(&mut self, row: Row) -> Option<Effect> {
        self.position.pass(row.key);
        if self.in_flight.contains(row.key) || self.lanes.hold(&row.sender, row.key.offset) {
            return None;
        }
        self.in_flight.on_sent(&row);
        Some(Effect::Publish(row))
    }

    fn end(&mut self, key: Key, how: End, sender: &Identity) -> Vec<Effect> {
        self.in_flight.on_answered(key);
        self.lanes.close(sender);
        vec![Effect::End { key, how }]
    }

    fn back_off(&mut self, key: Key, sender: &Identity, now: Instant) -> Vec<Effect> {
        self.in_flight.remove(key);
        let until = self.lanes.back_off(sender, key.offset, now);
        until.map(Effect::WakeAt).into_iter().collect()
    }

    /// Asks for as much as there is room for, from where the lanes that are due begin.
    fn pull(&mut self, now: Instant) -> Vec<Effect> {
        let in_flight = &self.in_flight;
        if let Some(unsent) = self.lanes.resume(now, |sender| in_flight.has_sent(sender)) {
            self.rewind(unsent);
        }
        if self.loading != Loading::No {
            return Vec::new();
        }
        self.in_flight.forget_ended();
        let max = self.window - self.in_flight.len();
        if max == 0 || !self.is_connected || !self.has_news {
            return Vec::new();
        }
        self.has_news = false;
        self.loading = Loading::Yes;
        vec![Effect::Load { from: self.position.clone(), max }]
    }

    fn rewind(&mut self, offset: Offset) {
        self.position.rewind(offset);
        self.has_news = true;
        if self.loading != Loading::No {
            self.loading = Loading::Stale;
        }
    }
}
