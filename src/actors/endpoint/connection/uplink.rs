//! Messages of a client on their way to the queue: two batches at a time, so that one is in line
//! while the one before it is written; and PUBACK only when the queue says that they are on disk.
//! **INV** Acked means on disk.
//!
//! next: `actors/hub/queue.rs`

use std::collections::VecDeque;

use actix::prelude::*;

use super::Connection;
use crate::messages::chain::Chain;
use crate::messages::queue::{Telemetry, Verdict};
use crate::messages::state::StoreError;

/// Batches under way.
const MOST: usize = 2;

/// A message that is read and not acknowledged.
pub(super) struct Parked {
    pub(super) telemetry: Telemetry,
    /// Packet id, with `QoS` 1.
    pub(super) ack: Option<u16>,
    /// Bytes reserved for it.
    pub(super) reserved: usize,
}

/// What acknowledges a message.
type Ack = (Option<u16>, usize);

type Stored = Result<Vec<Verdict>, StoreError>;

/// Batches under way, in order: each with its answer, if that came before the one of an earlier batch.
#[derive(Default)]
pub(super) struct Uplink {
    chain: Option<Chain>,
    batches: VecDeque<(Vec<Ack>, Option<Stored>)>,
    /// Batches handed over so far.
    handed: u64,
}

impl Uplink {
    pub(super) fn is_idle(&self) -> bool {
        self.batches.is_empty()
    }

    /// Whether a batch may be handed over now. Those before it must be in line: else it could overtake
    /// them.
    fn has_room(&self) -> bool {
        let is_in_line = || self.chain.as_ref().is_some_and(|it| it.in_line() == self.handed);
        self.batches.is_empty() || (self.batches.len() < MOST && is_in_line())
    }

    /// A batch is handed over; its number.
    fn on_handed(&mut self, acks: Vec<Ack>) -> u64 {
        self.batches.push_back((acks, None));
        self.handed += 1;
        self.handed
    }

    fn on_stored(&mut self, number: u64, stored: Stored) {
        let first = self.handed + 1 - self.batches.len() as u64;
        if let Some((_, answer)) = self.batches.get_mut((number - first) as usize) {
            *answer = Some(stored);
        }
    }

    /// The first batch, if it is answered.
    fn next(&mut self) -> Option<(Vec<Ack>, Stored)> {
        let (acks, answer) = self.batches.pop_front_if(|(_, answer)| answer.is_some())?;
        Some((acks, answer?))
    }
}

impl Connection {
    /// Hands all that is parked to the queue, if a batch more may be under way.
    pub(super) fn ingest(&mut self, ctx: &mut Context<Self>) {
        if self.parked.is_empty() || !self.uplink.has_room() {
            return;
        }
        let (batch, acks): (Vec<_>, Vec<_>) =
            self.parked.drain(..).map(|one| (one.telemetry, (one.ack, one.reserved))).unzip();
        let chain = self.uplink.chain.get_or_insert_default().clone();
        let number = self.uplink.on_handed(acks);
        let stored = self.backend.store(&self.budget, batch, Some(chain)).into_actor(self);
        stored.map(move |stored, this, ctx| this.on_stored(number, stored, ctx)).spawn(ctx);
    }

    fn on_stored(&mut self, number: u64, stored: Stored, ctx: &mut Context<Self>) {
        self.uplink.on_stored(number, stored);
        while let Some((acks, stored)) = self.uplink.next() {
            let verdicts = match stored {
                Ok(verdicts) => verdicts,
                Err(error) => {
                    return self.close(&format!("messages cannot be stored: {error}"), ctx);
                }
            };
            debug_assert_eq!(verdicts.len(), acks.len(), "a verdict for each message");
            for (verdict, (ack, reserved)) in verdicts.into_iter().zip(acks) {
                match verdict {
                    Verdict::Stored | Verdict::Unrouted => self.acknowledge(ack, reserved),
                    // Over MQTT a hub has one way to refuse: to close (spec sdk.md 1.4).
                    Verdict::Refused(status, why) => {
                        return self.close(&format!("message refused with {status}: {why}"), ctx);
                    }
                }
            }
        }
        self.ingest(ctx);
        self.hang_up_if_answered();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_batch_is_handed_over_once_the_first_is_in_line_and_answered_behind_it() {
        let mut uplink = Uplink::default();
        let chain = uplink.chain.get_or_insert_default().clone();
        let ack = |id| vec![(Some(id), 0)];
        assert_eq!(uplink.on_handed(ack(1)), 1);
        assert!(!uplink.has_room(), "the first is not in line yet");
        chain.on_in_line();
        assert!(uplink.has_room());
        assert_eq!(uplink.on_handed(ack(2)), 2);
        chain.on_in_line();
        assert!(!uplink.has_room(), "two are enough");
        uplink.on_stored(2, Ok(vec![Verdict::Stored]));
        assert!(uplink.next().is_none(), "PUBACKs go in order");
        uplink.on_stored(1, Ok(vec![Verdict::Stored]));
        let order: Vec<_> = std::iter::from_fn(|| uplink.next()).map(|(acks, _)| acks).collect();
        assert_eq!(order, [ack(1), ack(2)]);
        assert!(uplink.is_idle() && uplink.has_room());
        assert_eq!(uplink.on_handed(ack(3)), 3);
        uplink.on_stored(3, Err(StoreError::Unavailable));
        assert!(uplink.next().is_some_and(|(_, stored)| stored.is_err()));
    }
}
