//! Turns: a few references at a time go into the router, of one batch after the other; and what
//! comes out of it.

use std::sync::Arc;

use super::seat::{Link, Receivers};
use super::{Effect, Exchange, IN_ROUTER, IN_ROUTER_BYTES};
use crate::domain::local_topics::Delivery;
use crate::domain::local_topics::tree::Slot;

/// References, or messages that nobody wants, in a turn: so long does nobody else have the
/// thread.
const TURN: usize = 32;
/// … and of one client in it.
const SHARE: usize = 16;

impl Exchange {
    fn has_room(&self) -> bool {
        self.in_router < IN_ROUTER && self.in_router_bytes < IN_ROUTER_BYTES
    }

    /// Asks for a turn if there is something to do in it.
    pub(super) fn turn(&mut self) -> Option<Effect> {
        let is_due = !self.is_turning && !self.ready.is_empty() && self.has_room();
        self.is_turning |= is_due;
        is_due.then_some(Effect::Turn)
    }

    pub(super) fn left_router(&mut self, deliveries: &[Delivery]) {
        self.in_router -= deliveries.len();
        self.in_router_bytes -= deliveries.iter().map(|it| it.message.cost()).sum::<usize>();
    }

    /// As asked for.
    pub fn on_turn(&mut self) -> Vec<Effect> {
        self.is_turning = false;
        let (mut effects, mut left) = (Vec::new(), TURN);
        while left > 0 && self.has_room() {
            let Some(slot) = self.ready.pop_front() else { break };
            left -= self.advance(slot, left.min(SHARE), &mut effects);
        }
        effects.extend(self.turn());
        effects
    }

    /// Goes on with the first batch of a client; answers how much of the turn it took.
    fn advance(&mut self, slot: Slot, share: usize, effects: &mut Vec<Effect>) -> usize {
        let Some(seat) = self.seat_mut(slot) else { return 1 };
        let Some(mut batch) = seat.batches.pop_front() else { return 1 };
        let (mut used, mut to) = (0, Vec::new());
        while used < share && self.has_room() {
            if let Some((message, receivers)) = &mut batch.current {
                let Some((receiver, asked)) = receivers.pop_front() else {
                    batch.current = None;
                    continue;
                };
                used += 1;
                let is_at_least_once = asked && message.is_at_least_once;
                let message = Arc::clone(message);
                let delivery = Delivery { message, is_at_least_once, is_retained: false };
                self.hand_over(receiver, delivery, &mut to, effects);
            } else if let Some(message) = batch.messages.pop_front() {
                self.counts.published += 1;
                let message = Arc::new(message);
                if message.retain && !self.retained.set(&message) {
                    self.counts.unretained += 1;
                }
                let receivers: Receivers =
                    self.tree.receivers(&message.topic).into_iter().collect();
                used += usize::from(receivers.is_empty());
                batch.current = Some((message, receivers));
            } else {
                break;
            }
        }
        let is_current = batch.current.as_ref().is_some_and(|(_, left)| !left.is_empty());
        let is_last = !is_current && batch.messages.is_empty();
        batch.is_routed |= !to.is_empty();
        batch.is_sent = is_last && batch.is_routed;
        let is_taken = is_last && !batch.is_routed;
        if !to.is_empty() || batch.is_sent {
            effects.push(Effect::Push { from: slot, to, is_last });
        }
        if is_taken {
            effects.push(Effect::Taken(batch.number));
            effects.extend(self.next_batch(slot));
        } else {
            let is_to_go_on = !batch.is_sent;
            if let Some(seat) = self.seat_mut(slot) {
                seat.batches.push_front(batch);
            }
            if is_to_go_on {
                self.ready.push_back(slot);
            }
        }
        used.max(1)
    }

    /// By the router; to a client without a link at once.
    fn hand_over(
        &mut self,
        receiver: Slot,
        delivery: Delivery,
        to: &mut Vec<(Slot, u64)>,
        effects: &mut Vec<Effect>,
    ) {
        self.numbers += 1;
        let reference = self.numbers;
        let Some(seat) = self.seats.get_mut(receiver).and_then(Option::as_mut) else { return };
        if seat.link == Link::Open {
            self.in_router += 1;
            self.in_router_bytes += delivery.message.cost();
            seat.coming.insert(reference, delivery);
            to.push((receiver, reference));
        } else {
            self.counts.dropped += seat.outbox.push(delivery);
            effects.extend(seat.owed(receiver));
        }
    }

    /// These references came out of the router, for the client of this seat.
    pub fn on_arrived(&mut self, slot: Slot, references: &[u64]) -> Vec<Effect> {
        let Some(seat) = self.seats.get_mut(slot).and_then(Option::as_mut) else {
            return Vec::new();
        };
        let known = references.iter().filter_map(|reference| seat.coming.remove(reference));
        let came: Vec<_> = known.collect();
        let mut dropped = 0;
        if seat.is_wanted {
            dropped += came.iter().map(|it| seat.outbox.push(it.clone())).sum::<u64>();
        } else {
            dropped += came.len() as u64;
        }
        let mut effects: Vec<_> = seat.owed(slot).into_iter().collect();
        self.counts.dropped += dropped;
        self.left_router(&came);
        effects.extend(self.turn());
        effects
    }

    /// The router has all of the batch that this client sent last.
    pub fn on_taken(&mut self, slot: Slot) -> Vec<Effect> {
        let Some(seat) = self.seat_mut(slot) else { return Vec::new() };
        let Some(batch) = seat.batches.pop_front_if(|batch| batch.is_sent) else {
            return Vec::new();
        };
        let mut effects = vec![Effect::Taken(batch.number)];
        effects.extend(self.next_batch(slot));
        effects.extend(self.turn());
        effects
    }

    /// A batch is done: the next one, or the end of a client that is gone.
    fn next_batch(&mut self, slot: Slot) -> Vec<Effect> {
        let is_more = self.seat(slot).is_some_and(|seat| !seat.batches.is_empty());
        if is_more {
            self.ready.push_back(slot);
            return Vec::new();
        }
        self.retire(slot)
    }
}
