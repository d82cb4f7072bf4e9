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
//! While there is a backlog, live messages may have a share: `live.rs`.
//!
//! Promises: per sender and priority rows are sent in order; the budget bounds in flight and
//! ending together; a refused row holds up its sender at most; what lies below `low` will never
//! be sent again.
//!
//! Needs: an endpoint that throttles a row refuses whatever else that sender has in flight with
//! the same `attempt`. Else a later row overtakes the refused one. Offsets rise with each commit.
//!
//! next: `actors/hub/upstream/mod.rs`, which carries the effects out for the parent, and
//! `actors/endpoint/`, which does so for a client.

mod budget;
mod in_flight;
mod lanes;
mod live;
mod position;
mod turns;
mod words;

use std::collections::BTreeMap;
use std::time::Instant;

use self::budget::Budget;
pub use self::budget::{Config, Pace};
use self::in_flight::{InFlight, Sent};
use self::lanes::Lanes;
use self::live::Live;
pub use self::live::{LiveShare, MOST_LIVE};
pub use self::position::Position;
use self::turns::Turns;
pub use self::turns::{MOST_SHARE, Share};
pub use self::words::{Answer, Effect, Loaded};
use super::identity::Identity;
use super::row::{End, Key, Offset, Priority, Row};

/// See the module documentation.
#[derive(Debug)]
pub struct Delivery {
    window: usize,
    budget: Budget,
    is_connected: bool,
    position: Position,
    turns: Turns,
    live: Live,
    in_flight: InFlight,
    lanes: Lanes,
    /// The highest offset that was ever read.
    highest: Offset,
    /// The lowest offset that was passed because its route is paused; void after a rewind.
    paused: Option<Offset>,
    /// How often rows were sent that are owed again.
    tries: BTreeMap<Key, u32>,
    /// Size of a row that found no room: to read again before there is would be in vain.
    awaited_room: usize,
    /// There may be rows that were not read yet. Notices that overtake an answer stay noted here.
    has_news: bool,
    loading: Loading,
}

/// Whether an answer of the store is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loading {
    No,
    Yes,
    /// Of live rows.
    Live,
    /// Yes, but the position was rewound, or the endpoint lost, since: the answer is void.
    Stale,
}

impl Delivery {
    /// Nothing read, nothing sent, no connection.
    pub fn new(config: Config) -> Self {
        Delivery {
            window: config.window,
            budget: Budget::new(config),
            turns: Turns::new(config.share),
            live: Live::new(config.live),
            is_connected: false,
            position: Position::default(),
            in_flight: InFlight::default(),
            lanes: Lanes::default(),
            highest: Offset::default(),
            paused: None,
            tries: BTreeMap::new(),
            awaited_room: 0,
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
        for (key, sender) in self.in_flight.take_back() {
            self.lanes.take_back(&sender, key, &mut self.position);
            *self.tries.entry(key).or_default() += 1;
        }
        self.note_rewind(); // also what is being read: there is nobody to send it to
    }

    /// The store has rows that were not there before.
    pub fn on_stored(&mut self, now: Instant) -> Vec<Effect> {
        self.has_news = true;
        self.live.on_stored();
        self.pull(now)
    }

    /// Rows that were passed may be there again, or be gone (a resumed route, a purge, a message
    /// that its holder gave back): everything is read again.
    pub fn on_rewound(&mut self, now: Instant) -> Vec<Effect> {
        self.position = Position::default();
        self.paused = None;
        self.lanes.forget_unsent();
        self.note_rewind();
        self.pull(now)
    }

    /// The store answered a `Load`. No rows means: there were none then.
    pub fn on_loaded(&mut self, loaded: Loaded, now: Instant) -> Vec<Effect> {
        let mut effects = match std::mem::replace(&mut self.loading, Loading::No) {
            Loading::Yes => self.send(loaded, false, now),
            Loading::Live => self.send(loaded, true, now),
            Loading::No | Loading::Stale => Vec::new(),
        };
        effects.extend(self.pull(now));
        effects
    }

    /// The store could not answer a `Load`. It is asked again at the next `on_wake`.
    pub fn on_not_loaded(&mut self) {
        self.loading = Loading::No;
        self.has_news = true;
        self.live.on_stored();
    }

    /// The endpoint answered a row.
    pub fn on_answered(&mut self, key: Key, answer: Answer, now: Instant) -> Vec<Effect> {
        if let Answer::Rejected(status) = answer {
            return self.on_rejected(key, status.to_string(), now);
        }
        let Some(sent) = self.in_flight.sent(key) else {
            return Vec::new(); // late: the link was lost after it was sent
        };
        let mut effects = match answer {
            Answer::Throttled(_) => self.back_off(key, &sent.sender, now),
            _ => self.end(key, End::Delivered, &sent, now),
        };
        effects.extend(self.pull(now));
        effects
    }

    /// The endpoint will never take this row, and says why.
    pub fn on_rejected(&mut self, key: Key, why: String, now: Instant) -> Vec<Effect> {
        let Some(sent) = self.in_flight.sent(key) else { return Vec::new() };
        let tries = self.tries(key) + 1;
        let mut effects = self.end(key, End::DeadLettered { why, tries }, &sent, now);
        effects.extend(self.pull(now));
        effects
    }

    /// The store committed the ends of rows.
    pub fn on_ended(&mut self, keys: &[Key], now: Instant) -> Vec<Effect> {
        keys.iter().for_each(|key| self.in_flight.on_ended(*key));
        self.pull(now)
    }

    /// A lane's delay may be over.
    pub fn on_wake(&mut self, now: Instant) -> Vec<Effect> {
        self.pull(now)
    }

    /// From now on so many rows may be in flight.
    pub fn set_window(&mut self, window: usize) {
        self.window = window;
    }

    /// The row that has waited longest for an answer, and its sender. Ask before
    /// `on_disconnected`.
    pub fn oldest(&self) -> Option<(Key, Identity)> {
        self.in_flight.oldest()
    }

    /// Ends a row that the endpoint cannot answer. Call it while there is no connection.
    pub fn give_up(&mut self, key: Key, sender: Identity, why: &str) -> Vec<Effect> {
        if self.in_flight.contains(key) {
            return Vec::new(); // it has ended, or was sent again
        }
        self.in_flight.on_given_up(key, sender);
        let how = End::DeadLettered { why: why.into(), tries: self.tries(key) };
        self.tries.remove(&key);
        vec![Effect::End { key, how }]
    }

    /// How often the row was sent, if it is owed again.
    fn tries(&self, key: Key) -> u32 {
        self.tries.get(&key).copied().unwrap_or_default()
    }

    /// The lowest offset that may still be sent, or be sent again.
    pub fn low(&self) -> Offset {
        let held = self.in_flight.lowest().into_iter().chain(self.lanes.lowest());
        held.chain(self.paused).fold(self.position.lowest(), Offset::min)
    }

    /// Rows sent and not answered, or answered and their end not committed.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Senders in backoff.
    pub fn lanes_in_backoff(&self) -> usize {
        self.lanes.waiting()
    }

    /// Sends what was read, as far as there is room, but for what is in flight since before a
    /// rewind, or held. `has_news` stays unless there was nothing.
    fn send(&mut self, loaded: Loaded, is_live: bool, now: Instant) -> Vec<Effect> {
        let Loaded { rows, read_to, paused, left_out } = loaded;
        let mut effects = Vec::new();
        self.paused = self.paused.into_iter().chain(paused).min();
        let is_turn = !is_live && self.turns.is_turn();
        let highest = rows.iter().map(|row| row.key.offset).max();
        self.highest = highest.unwrap_or_default().max(read_to).max(self.highest);
        if is_live {
            self.live.on_read(left_out, rows.is_empty(), read_to);
        } else if rows.is_empty() && !is_turn {
            self.position.exhaust(self.highest);
            self.live.on_nothing();
            return effects;
        } else {
            self.turns.on_read(rows.is_empty());
            self.has_news = true;
        }
        if let (false, false, Some(last)) = (is_live, is_turn, rows.last()) {
            let highest = highest.unwrap_or_default();
            self.live.on_backlog(last.key.priority, highest, self.highest);
        }
        let room = self.budget.bytes(now);
        let mut low: Option<(Priority, Offset)> = None;
        for row in rows {
            let is_in_flight = self.in_flight.contains(row.key);
            let size = size(&row);
            if !is_in_flight && self.in_flight.len() >= self.window {
                break; // it was narrowed since
            }
            if !is_in_flight && self.in_flight.len() > 0 && self.in_flight.bytes() + size > room {
                self.awaited_room = size;
                break;
            }
            match self.live.position().filter(|_| is_live) {
                Some(position) => position.pass(row.key),
                None => self.position.pass(row.key),
            }
            if !is_live && !is_turn {
                self.position.exhaust_above(row.key.priority, self.highest);
            }
            if is_in_flight || !self.lanes.admit(&row.sender, row.key, &self.position) {
                continue;
            }
            self.in_flight.on_sent(&row, size);
            self.live.on_sent(is_live);
            if !is_live {
                self.turns.on_sent(row.key.priority);
            }
            let attempt = self.lanes.attempt(&row.sender);
            // The rows before it of its priority are in flight, or held: it does not change.
            let low = match low {
                Some((priority, low)) if priority == row.key.priority => low,
                _ => low.insert((row.key.priority, self.low())).1,
            };
            effects.push(Effect::Publish { row, attempt, low });
        }
        effects
    }

    fn end(&mut self, key: Key, how: End, sent: &Sent, now: Instant) -> Vec<Effect> {
        self.in_flight.on_answered(key);
        self.budget.on_acked(sent.bytes, now);
        self.tries.remove(&key);
        if self.lanes.close(&sent.sender, key, &mut self.position) {
            self.note_rewind();
        }
        vec![Effect::End { key, how }]
    }

    fn back_off(&mut self, key: Key, sender: &Identity, now: Instant) -> Vec<Effect> {
        self.in_flight.remove(key);
        *self.tries.entry(key).or_default() += 1;
        let until = self.lanes.back_off(sender, key, &self.position, now);
        until.map(Effect::WakeAt).into_iter().collect()
    }

    /// Asks for as much as there is room for, from where the lanes that are due begin.
    fn pull(&mut self, now: Instant) -> Vec<Effect> {
        let in_flight = &self.in_flight;
        if self.lanes.resume(now, &mut self.position, |sender| in_flight.has_sent(sender)) {
            self.note_rewind();
        }
        if self.loading != Loading::No {
            return Vec::new();
        }
        self.in_flight.forget_ended();
        let max = self.window.saturating_sub(self.in_flight.len());
        let has_live = self.live.has_news();
        if max == 0 || !self.is_connected || !(self.has_news || has_live) {
            return Vec::new();
        }
        let room = self.budget.bytes(now);
        let max_bytes = room.saturating_sub(self.in_flight.bytes());
        if self.in_flight.len() > 0 && (max_bytes == 0 || max_bytes < self.awaited_room) {
            return Vec::new();
        }
        self.awaited_room = 0;
        let without = self.lanes.held().cloned().collect();
        let max = if has_live { max.min(self.live.left()) } else { max };
        if has_live
            && (self.live.is_turn() || !self.has_news)
            && let Some((from, mark)) = self.live.next()
        {
            self.loading = Loading::Live;
            return vec![Effect::Load { from, max, max_bytes, without, live: Some(mark) }];
        }
        self.has_news = false;
        self.live.on_backlog_asked();
        self.loading = Loading::Yes;
        let (from, max) = self.turns.next(&self.position, max);
        vec![Effect::Load { from, max, max_bytes, without, live: None }]
    }

    fn note_rewind(&mut self) {
        self.has_news = true;
        self.live.rewind();
        if self.loading != Loading::No {
            self.loading = Loading::Stale;
        }
    }
}

/// What a row takes up in the budget.
fn size(row: &Row) -> usize {
    row.body.len() + row.bag.len() + 64
}

#[cfg(test)]
mod tests;
