//! Messages of a client on their way to the queue: one batch at a time, and PUBACK only when the
//! queue says that they are on disk. **INV** Acked means on disk.
//!
//! next: `actors/hub/queue.rs`

use actix::prelude::*;

use super::Connection;
use crate::messages::queue::{Telemetry, Verdict};

/// A message that is read and not acknowledged.
pub(super) struct Parked {
    pub(super) telemetry: Telemetry,
    /// Packet id, with `QoS` 1.
    pub(super) ack: Option<u16>,
    /// Bytes reserved for it.
    pub(super) reserved: usize,
}

impl Connection {
    /// Hands all that is parked to the queue, unless a batch is under way.
    pub(super) fn ingest(&mut self, ctx: &mut Context<Self>) {
        if self.is_ingesting || self.parked.is_empty() {
            return;
        }
        self.is_ingesting = true;
        let (batch, acks): (Vec<_>, Vec<_>) =
            self.parked.drain(..).map(|one| (one.telemetry, (one.ack, one.reserved))).unzip();
        let stored = self.backend.store(&self.budget, batch).into_actor(self);
        stored
            .map(move |stored, this, ctx| {
                this.is_ingesting = false;
                match stored {
                    Ok(verdicts) => this.on_stored(&verdicts, &acks, ctx),
                    Err(error) => {
                        this.close(&format!("messages cannot be stored: {error}"), ctx);
                    }
                }
            })
            .spawn(ctx);
    }

    fn on_stored(
        &mut self,
        verdicts: &[Verdict],
        acks: &[(Option<u16>, usize)],
        ctx: &mut Context<Self>,
    ) {
        debug_assert_eq!(verdicts.len(), acks.len(), "a verdict for each message");
        for (verdict, (ack, reserved)) in verdicts.iter().zip(acks) {
            match verdict {
                Verdict::Stored | Verdict::Unrouted => self.acknowledge(*ack, *reserved),
                // Over MQTT a hub has one way to refuse: to close (spec sdk.md 1.4).
                Verdict::Refused(status, why) => {
                    return self.close(&format!("message refused with {status}: {why}"), ctx);
                }
            }
        }
        self.ingest(ctx);
        self.hang_up_if_answered();
    }
}
