//! Changes of reported properties, as messages of `{edge}/$edgeHub` for routes with the source
//! `/twinChangeNotifications`.
//!
//! A change is written with the patch, in one transaction, and deleted when the queue has it: it
//! is routed at least once, also over a restart.

use std::collections::VecDeque;
use std::time::Duration;

use actix::prelude::*;
use bytes::Bytes;

use super::Twins;
use super::disk::{delete_change, put_change};
use crate::domain::identity::Identity;
use crate::domain::route::twin_change;
use crate::messages::queue::{Ingest, Telemetry};
use crate::messages::state::Change;

/// Handed to the queue at once.
const BATCH: usize = 64;
/// While there is no queue; more are not kept, and that is logged.
const MOST: usize = 10_000;
const DEADLINE: Duration = Duration::from_secs(60);
/// After a try in vain.
const AGAIN: Duration = Duration::from_secs(5);

/// What the queue has not got yet.
#[derive(Debug, Default)]
pub(super) struct Changes {
    owed: VecDeque<Owed>,
    next: u64,
    is_running: bool,
}

#[derive(Clone, Debug)]
struct Owed {
    number: u64,
    whose: Identity,
    patch: Bytes,
}

impl Changes {
    pub(super) fn len(&self) -> usize {
        self.owed.len()
    }

    /// As it was kept on disk.
    pub(super) fn restore(&mut self, number: u64, whose: Identity, patch: Bytes) {
        self.next = self.next.max(number + 1);
        self.owed.push_back(Owed { number, whose, patch });
    }
}

impl Twins {
    /// To be written with the patch.
    pub(super) fn owe_change(&mut self, whose: &Identity, patch: &Bytes) -> Option<Change> {
        if *whose == self.edge_hub || *whose == self.edge_agent {
            return None; // they are no clients
        }
        if self.changes.len() >= MOST {
            tracing::warn!(%whose, "no queue takes changes of reported properties: one is not routed");
            return None;
        }
        let number = self.changes.next;
        self.changes.restore(number, whose.clone(), patch.clone());
        Some(put_change(number, whose, patch))
    }

    /// Hands over what is owed, a batch after the other, in order. Only what is on disk: to be
    /// called after a commit.
    pub(super) fn route_changes(&mut self, ctx: &mut Context<Self>) {
        if self.changes.is_running || self.changes.owed.is_empty() {
            return;
        }
        self.changes.is_running = true;
        let batch: Vec<Owed> = self.changes.owed.iter().take(BATCH).cloned().collect();
        let sender = &self.edge_hub;
        let messages = batch.iter().map(|owed| Telemetry {
            sender: sender.clone(),
            bag: twin_change(&owed.whose),
            body: owed.patch.clone(),
            link: None,
            transmission: None,
        });
        let stored = self.ports.ingest.ask(Ingest(messages.collect(), None), DEADLINE);
        let stored = stored.into_actor(self).map(move |stored, this, ctx| {
            this.changes.is_running = false;
            if !matches!(stored, Ok(Ok(_))) {
                ctx.run_later(AGAIN, Self::route_changes);
                return;
            }
            let is_done = |number| batch.iter().any(|owed| owed.number == number);
            this.changes.owed.retain(|owed| !is_done(owed.number));
            let deleted = batch.iter().map(|owed| delete_change(owed.number)).collect();
            this.save(deleted).map(|_, _, _| ()).spawn(ctx);
            this.route_changes(ctx);
        });
        stored.spawn(ctx);
    }
}
