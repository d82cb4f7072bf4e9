//! The lanes that were refused: senders whose rows the endpoint does not take for now.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::Position;
use crate::domain::backoff::Backoff;
use crate::domain::identity::Identity;
use crate::domain::row::{Key, Offset};

const BACKOFF: Backoff = Backoff { first: Duration::from_secs(1), max: Duration::from_secs(60) };

/// A sender without a lane here is sent as its rows come.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    lanes: BTreeMap<Identity, Lane>,
    /// Those that wait, by when their delay is over.
    waiting: BTreeSet<(Instant, Identity)>,
    /// Those that are left out of a read: they wait, or their probe is not answered.
    held: BTreeSet<Identity>,
}

#[derive(Debug)]
struct Lane {
    /// Refusals in a row; those of one burst count once.
    refusals: u32,
    /// Probes since the beginning: `$.try` of link.md. It never falls, so the lane is kept.
    attempt: u64,
    state: State,
    /// What was not read, or not sent, of this sender when it was held.
    unsent: Position,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Sent as its rows come.
    Open,
    /// Nothing is sent until then, and until what is in flight is answered.
    Waiting(Instant),
    /// One row is sent; the others wait for its answer.
    Probing(Option<Key>),
}

impl Lanes {
    /// Puts `sender` into backoff and answers until when; `None` if it was there already.
    pub(super) fn back_off(
        &mut self,
        sender: &Identity,
        key: Key,
        position: &Position,
        now: Instant,
    ) -> Option<Instant> {
        let lane = self.lanes.entry(sender.clone()).or_insert_with(|| Lane {
            refusals: 0,
            attempt: 0,
            state: State::Open,
            unsent: Position::default(),
        });
        match lane.state {
            State::Waiting(_) => {
                lane.unsent.rewind(key);
                return None;
            }
            State::Open => lane.unsent = position.clone(),
            State::Probing(_) => {}
        }
        lane.unsent.rewind(key);
        let until = now + BACKOFF.delay(lane.refusals);
        lane.refusals += 1;
        lane.state = State::Waiting(until);
        self.waiting.insert((until, sender.clone()));
        self.held.insert(sender.clone());
        Some(until)
    }

    /// Whether the row that was read is to be sent now. `position` has passed it.
    pub(super) fn admit(&mut self, sender: &Identity, key: Key, position: &Position) -> bool {
        let Some(lane) = self.lanes.get_mut(sender) else { return true };
        match lane.state {
            State::Open => true,
            State::Probing(None) => {
                lane.state = State::Probing(Some(key));
                lane.unsent = position.clone();
                self.held.insert(sender.clone());
                true
            }
            State::Waiting(_) | State::Probing(Some(_)) => {
                lane.unsent.rewind(key);
                false
            }
        }
    }

    /// Ends the delays that are over: the position goes back to what these lanes have not sent.
    /// Answers whether there was one.
    ///
    /// A sender with rows in flight waits on: these may be refused too, and what is sent now
    /// would overtake them.
    pub(super) fn resume(
        &mut self,
        now: Instant,
        position: &mut Position,
        is_in_flight: impl Fn(&Identity) -> bool,
    ) -> bool {
        let over = self.waiting.iter().take_while(|(until, _)| *until <= now);
        let due: Vec<_> = over.filter(|(_, sender)| !is_in_flight(sender)).cloned().collect();
        for entry in &due {
            self.waiting.remove(entry);
            self.held.remove(&entry.1);
            if let Some(lane) = self.lanes.get_mut(&entry.1) {
                lane.state = State::Probing(None);
                lane.attempt += 1;
                position.rewind_to(&lane.unsent);
            }
        }
        !due.is_empty()
    }

    /// A row of `sender` has ended: if it was the probe, the lane is open again. Answers whether
    /// it was; the position is then back at what the lane has not sent.
    pub(super) fn close(&mut self, sender: &Identity, key: Key, position: &mut Position) -> bool {
        let is_probe = |lane: &&mut Lane| lane.state == State::Probing(Some(key));
        let Some(lane) = self.lanes.get_mut(sender).filter(is_probe) else { return false };
        lane.state = State::Open;
        lane.refusals = 0;
        position.rewind_to(&lane.unsent);
        self.held.remove(sender);
        true
    }

    /// The row was in flight when the endpoint went away.
    pub(super) fn take_back(&mut self, sender: &Identity, key: Key, position: &mut Position) {
        position.rewind(key);
        let Some(lane) = self.lanes.get_mut(sender) else { return };
        match lane.state {
            State::Open => {}
            State::Waiting(_) => lane.unsent.rewind(key),
            State::Probing(_) => {
                lane.state = State::Probing(None);
                position.rewind_to(&lane.unsent);
                position.rewind(key);
                self.held.remove(sender);
            }
        }
    }

    /// Everything is to be read again, whatever was read before.
    pub(super) fn forget_unsent(&mut self) {
        self.lanes.values_mut().for_each(|lane| lane.unsent = Position::default());
    }

    /// The number of tries of `sender`, for what is sent now.
    pub(super) fn attempt(&self, sender: &Identity) -> u64 {
        self.lanes.get(sender).map_or(0, |lane| lane.attempt)
    }

    /// The senders to leave out of a read.
    pub(super) fn held(&self) -> impl Iterator<Item = &Identity> {
        self.held.iter()
    }

    /// Those in backoff.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The lowest offset that a lane may have held.
    pub(super) fn lowest(&self) -> Option<Offset> {
        let held = self.held.iter().filter_map(|sender| self.lanes.get(sender));
        held.map(|lane| lane.unsent.lowest()).min()
    }
}
