//! How much of the log is kept: the oldest goes first.

use std::time::Duration;

use actix::prelude::*;

use super::{Telemetry, item};
use crate::actors::clock;
use crate::actors::supervision::Supervised;
use crate::localhub::tables::{self, TELEMETRY};
use crate::messages::state::{Change, Pairs, Scan, StoreError};

/// How often ages are looked at.
pub(super) const PERIOD: Duration = Duration::from_secs(60);
/// Items removed in one transaction.
const PAGE: usize = 100;

/// Without a limit everything is kept.
#[derive(Clone, Copy, Debug, Default)]
pub struct Retention {
    /// Bytes of items.
    pub bytes: Option<u64>,
    /// Since an item came.
    pub age: Option<Duration>,
}

impl Retention {
    pub(super) fn is_exceeded(&self, bytes: u64) -> bool {
        self.bytes.is_some_and(|most| bytes > most)
    }
}

impl Telemetry {
    /// Begins to remove what is too much, if it does not already.
    pub(super) fn trim(&mut self, ctx: &mut Context<Self>) {
        let is_limited = self.retention.bytes.is_some() || self.retention.age.is_some();
        let Some(log) = self.log.filter(|_| is_limited && !self.is_trimming) else { return };
        self.is_trimming = true;
        let from = tables::number(log.first).to_vec();
        let scan = Scan { table: TELEMETRY, prefix: Vec::new(), from, max: PAGE };
        let read = tables::scan(&self.ports.scan, scan).into_actor(self);
        let trimmed = read.then(|page, actor, _| {
            let saved = page.map(|page| actor.remove_oldest(&page));
            async move {
                let (removed, is_done) = saved?;
                removed.await.map(|()| is_done)
            }
            .into_actor(actor)
        });
        ctx.spawn(trimmed.map(|trimmed: Result<bool, StoreError>, actor, ctx| {
            actor.is_trimming = false;
            match trimmed {
                Ok(true) => {}
                Ok(false) => actor.trim(ctx),
                Err(error) => actor.fail(&error, ctx),
            }
        }));
    }

    /// Removes those of a page that are too much, and tells whether that was all.
    fn remove_oldest(
        &mut self,
        page: &Pairs,
    ) -> (impl Future<Output = Result<(), StoreError>> + use<>, bool) {
        let now = clock::unix_time();
        let mut changes = Vec::new();
        if let Some(log) = &mut self.log {
            for (key, value) in page.iter() {
                let age = item::enqueued(value).map(|at| now.saturating_sub(at));
                let is_old =
                    self.retention.age.is_some_and(|most| age.is_none_or(|age| age > most));
                if !is_old && !self.retention.is_exceeded(log.bytes) {
                    break;
                }
                log.bytes = log.bytes.saturating_sub(value.len() as u64);
                log.first = tables::read_number(key).map_or(log.first, |offset| offset + 1);
                changes.push(Change::delete(TELEMETRY, key.clone()));
            }
            if !changes.is_empty() {
                changes.push(log.to_change());
            }
        }
        let is_done = changes.len() <= PAGE; // not the whole page, with the log's own change
        (tables::save(&self.ports.save, changes), is_done)
    }
}
