//! Ends rows whose time is over at endpoints that nobody pulls from, a few at a time; and keeps
//! store time going while nothing is written.

use std::time::Duration;

use actix::prelude::*;

use super::{Queue, end};
use crate::domain::row::Endpoint;
use crate::messages::state::StoreError;
use crate::store::queue::Cursor;

/// Between two looks.
pub(super) const PAUSE: Duration = Duration::from_secs(2);
/// Searches (of a thousand rows) in one look.
const SEARCHES: usize = 4;
/// Looks between two writes of store time.
const TICK: u32 = 30;

/// How far the sweep has come.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    /// Endpoints still to be looked at in this round.
    left: Vec<Endpoint>,
    cursor: Option<Cursor>,
    looks: u32,
}

/// Looks now and then, from now on.
pub(super) fn begin(ctx: &mut Context<Queue>) {
    ctx.run_interval(PAUSE, |queue, ctx| {
        if let Err(error) = queue.look() {
            tracing::warn!(%error, "cannot look for rows whose time is over");
        }
        if queue.sweep.looks == 0 {
            queue.compact_if_due(ctx);
        }
    });
}

impl Queue {
    fn look(&mut self) -> Result<(), StoreError> {
        let Sweep { left, cursor, looks } = &mut self.sweep;
        if left.is_empty() {
            *left = self.store.endpoints()?;
        }
        *looks += 1;
        if *looks >= TICK {
            *looks = 0;
            if !left.is_empty() {
                drop(self.store.tick()); // in line; nobody waits for it
            }
        }
        for _ in 0..SEARCHES {
            let Some(endpoint) = left.last() else { break };
            let found = self.store.sweep(endpoint, *cursor)?;
            *cursor = found.rest;
            end(&self.store, endpoint, found);
            if cursor.is_none() {
                left.pop();
            }
        }
        Ok(())
    }
}
