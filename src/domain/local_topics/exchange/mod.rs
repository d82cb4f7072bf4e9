//! Brings messages from one client to the others: who gets them is decided here, a router
//! carries references to them, and here they wait for clients that take them.
//!
//! ```text
//! publish ─► batch ─turn─► router ─► coming ─► outbox ─pull─► client
//!              └── taken: the router has the last reference of the batch
//! ```
//!
//! What keeps it from holding up others: a turn is short, batches take turns, and no more than
//! [`IN_ROUTER`] references are on their way at a time, so the router never forgets one.

mod seat;
#[cfg(test)]
mod tests;
mod turn;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use self::seat::{Batch, Link, Seat};
use super::retained::Retained;
use super::tree::{Slot, Tree};
use super::{Delivery, LocalMessage};
use crate::domain::identity::Identity;

/// References in the router at a time.
pub const IN_ROUTER: usize = 64;
/// Bodies behind them, but for the last one.
pub const IN_ROUTER_BYTES: usize = 4 << 20;

/// How much may be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Clients that use local topics.
    pub clients: usize,
    /// Subscriptions of one.
    pub filters: usize,
    /// What waits for one client.
    pub outbox: usize,
    /// Topics with a retained message …
    pub retained_topics: usize,
    /// … and their memory.
    pub retained: usize,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Open a link for this client; then `on_opened`.
    Open(Slot, Identity),
    /// Close it; then `on_closed`.
    Close(Slot),
    /// Send these references by the first's link to the others; `is_last`: and say `on_taken`
    /// once the router has them.
    Push {
        /// Whose link.
        from: Slot,
        /// To whom, which.
        to: Vec<(Slot, u64)>,
        /// The last of a batch.
        is_last: bool,
    },
    /// The batch of this number is done: acknowledge it.
    Taken(u64),
    /// Tell the client that something waits for it.
    Owed(Slot),
    /// `on_turn`, after others had theirs.
    Turn,
}

/// What was done since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages taken from clients.
    pub published: u64,
    /// Given to clients.
    pub delivered: u64,
    /// Not given: the client was too slow, or left.
    pub dropped: u64,
    /// Messages that were not retained for want of room.
    pub unretained: u64,
}

/// See the module documentation.
#[derive(Debug)]
pub struct Exchange {
    limits: Limits,
    tree: Tree,
    retained: Retained,
    seats: Vec<Option<Seat>>,
    slots: HashMap<Identity, Slot>,
    /// Seats with a batch that can go on, in turn.
    ready: VecDeque<Slot>,
    in_router: usize,
    in_router_bytes: usize,
    is_turning: bool,
    numbers: u64,
    counts: Counts,
}

impl Exchange {
    /// Nobody is there.
    pub fn new(limits: Limits) -> Self {
        Exchange {
            limits,
            tree: Tree::default(),
            retained: Retained::new(limits.retained_topics, limits.retained),
            seats: Vec::new(),
            slots: HashMap::new(),
            ready: VecDeque::new(),
            in_router: 0,
            in_router_bytes: 0,
            is_turning: false,
            numbers: 0,
            counts: Counts::default(),
        }
    }

    /// Batches and references get the numbers after this one.
    pub fn numbered_from(mut self, number: u64) -> Self {
        self.numbers = number;
        self
    }

    /// What was done.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Clients that have, or are about to have, a link.
    pub fn links(&self) -> usize {
        self.slots.len()
    }

    /// Topics with a retained message, and their memory.
    pub fn retained(&self) -> (usize, usize) {
        self.retained.size()
    }

    /// Memory of what waits for clients.
    pub fn waiting(&self) -> usize {
        self.seats.iter().flatten().map(|seat| seat.outbox.cost()).sum()
    }

    /// Who sits there.
    pub fn identity(&self, slot: Slot) -> Option<&Identity> {
        self.seat(slot).map(|seat| &seat.identity)
    }

    /// Copies that are on their way, or wait.
    pub fn undelivered(&self) -> u64 {
        let seats = self.seats.iter().flatten();
        seats.map(|seat| (seat.outbox.len() + seat.coming.len()) as u64).sum()
    }

    fn seat(&self, slot: Slot) -> Option<&Seat> {
        self.seats.get(slot).and_then(Option::as_ref)
    }

    fn seat_mut(&mut self, slot: Slot) -> Option<&mut Seat> {
        self.seats.get_mut(slot).and_then(Option::as_mut)
    }

    /// A client uses local topics, by the connection of this epoch: `filters` are all its
    /// subscriptions, `fresh` those that it has just made. `None`: there is no room for it.
    pub fn on_joined(
        &mut self,
        identity: &Identity,
        epoch: u64,
        filters: Vec<(String, bool)>,
        fresh: &[String],
    ) -> Option<(Slot, Vec<Effect>)> {
        let mut effects = Vec::new();
        let slot = match self.slots.get(identity) {
            Some(slot) => *slot,
            None => {
                let slot = self.free_slot()?;
                self.seats[slot] = Some(Seat::new(identity.clone(), self.limits.outbox));
                self.slots.insert(identity.clone(), slot);
                effects.push(Effect::Open(slot, identity.clone()));
                slot
            }
        };
        let seat = self.seats[slot].as_mut()?;
        if seat.epoch != epoch {
            self.counts.dropped += seat.leave_behind();
            seat.epoch = epoch;
        }
        seat.is_wanted = true;
        for filter in std::mem::take(&mut seat.filters).into_keys() {
            self.tree.remove(&filter, slot);
        }
        seat.filters = filters.into_iter().take(self.limits.filters).collect();
        for (filter, is_at_least_once) in &seat.filters {
            self.tree.insert(filter, slot, *is_at_least_once);
        }
        for filter in fresh {
            let Some(asked) = seat.filters.get(filter) else { continue };
            for message in self.retained.of(filter) {
                let is_at_least_once = *asked && message.is_at_least_once;
                let message = Arc::clone(message);
                let delivery = Delivery { message, is_at_least_once, is_retained: true };
                self.counts.dropped += seat.outbox.push(delivery);
            }
        }
        effects.extend(seat.owed(slot));
        Some((slot, effects))
    }

    fn free_slot(&mut self) -> Option<Slot> {
        if let Some(slot) = self.seats.iter().position(Option::is_none) {
            return Some(slot);
        }
        (self.seats.len() < self.limits.clients).then(|| {
            self.seats.push(None);
            self.seats.len() - 1
        })
    }

    /// The connection of this epoch is gone; what it published goes on its way.
    pub fn on_left(&mut self, identity: &Identity, epoch: u64) -> Vec<Effect> {
        let Some(slot) = self.slots.get(identity).copied() else { return Vec::new() };
        let Some(seat) = self.seats[slot].as_mut().filter(|seat| seat.epoch == epoch) else {
            return Vec::new();
        };
        seat.is_wanted = false;
        self.counts.dropped += seat.leave_behind();
        for filter in std::mem::take(&mut seat.filters).into_keys() {
            self.tree.remove(&filter, slot);
        }
        self.retire(slot)
    }

    /// Closes the link of a client that is gone, once all it published is taken.
    fn retire(&mut self, slot: Slot) -> Vec<Effect> {
        let Some(seat) = self.seat_mut(slot) else { return Vec::new() };
        let is_done = !seat.is_wanted && seat.batches.is_empty() && seat.link == Link::Open;
        if !is_done {
            return Vec::new();
        }
        seat.link = Link::Closing;
        let lost = seat.forget_coming();
        self.left_router(&lost);
        self.counts.dropped += lost.len() as u64;
        let mut effects = vec![Effect::Close(slot)];
        effects.extend(self.turn());
        effects
    }

    /// The link is there.
    pub fn on_opened(&mut self, slot: Slot) -> Vec<Effect> {
        let Some(seat) = self.seat_mut(slot) else { return Vec::new() };
        seat.link = Link::Open;
        if seat.batches.is_empty() {
            return self.retire(slot);
        }
        self.ready.push_back(slot);
        self.turn().into_iter().collect()
    }

    /// The link is gone.
    pub fn on_closed(&mut self, slot: Slot) -> Vec<Effect> {
        let Some(seat) = self.seat_mut(slot) else { return Vec::new() };
        if seat.is_wanted {
            seat.link = Link::Opening; // the client came back meanwhile
            return vec![Effect::Open(slot, seat.identity.clone())];
        }
        if let Some(seat) = self.seats[slot].take() {
            self.slots.remove(&seat.identity);
        }
        Vec::new()
    }

    /// A client publishes; answers the number of the batch, unless it has no seat.
    pub fn on_published(
        &mut self,
        identity: &Identity,
        messages: Vec<LocalMessage>,
    ) -> Option<(u64, Vec<Effect>)> {
        let slot = *self.slots.get(identity)?;
        self.numbers += 1;
        let number = self.numbers;
        let seat = self.seat_mut(slot)?;
        seat.batches.push_back(Batch::new(number, messages));
        let mut effects = Vec::new();
        if seat.batches.len() == 1 && seat.link == Link::Open {
            self.ready.push_back(slot);
            effects.extend(self.turn());
        }
        Some((number, effects))
    }

    /// A client takes what waits for it: `most` at most, of these bytes together. Once it got
    /// nothing it is told when there is something again.
    pub fn on_pulled(&mut self, identity: &Identity, most: usize, bytes: usize) -> Vec<Delivery> {
        let slot = self.slots.get(identity).copied();
        let Some(seat) = slot.and_then(|slot| self.seat_mut(slot)) else { return Vec::new() };
        let pulled = seat.outbox.pull(most, bytes);
        if pulled.is_empty() {
            seat.is_told = false;
        }
        self.counts.delivered += pulled.len() as u64;
        pulled
    }
}
