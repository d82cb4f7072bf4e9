//! Clients that ask for patches of their desired properties: from which document on.
//!
//! The parent knows of it already and sends patches (`sessions` tell it first). So the twin that
//! is read now, before the SUBACK, is the one that later patches are told against. Without the
//! parent it is the local copy.

use std::time::Duration;

use actix::prelude::*;
use tokio::sync::oneshot;

use super::Twins;
use crate::domain::identity::Identity;
use crate::messages::twins::{DesiredTaken, WatchDesired};

/// A SUBACK waits no longer for the parent's twin.
const READ_DEADLINE: Duration = Duration::from_millis(1_900);

impl Handler<WatchDesired> for Twins {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, WatchDesired(who): WatchDesired, _: &mut Self::Context) -> Self::Result {
        let ready = self.when_loaded().into_actor(self);
        Box::pin(ready.then(move |(), this, ctx| {
            this.entry(&who).twin.on_connected();
            let read = this.read_for(&who, ctx);
            let read = async move {
                let _ = tokio::time::timeout(READ_DEADLINE, read).await;
            };
            read.into_actor(this).map(move |(), this, ctx| this.watch(&who, ctx))
        }))
    }
}

impl Handler<DesiredTaken> for Twins {
    type Result = ();

    fn handle(&mut self, taken: DesiredTaken, ctx: &mut Self::Context) {
        let DesiredTaken { identity, version } = taken;
        let entry = self.entries.get_mut(&identity);
        if entry.is_some_and(|entry| entry.twin.on_taken(version)) {
            self.save_and_tell(&identity, None, ctx);
        }
    }
}

impl Twins {
    /// Ends when the parent's twin was read, or cannot be.
    fn read_for(&mut self, who: &Identity, ctx: &mut Context<Self>) -> oneshot::Receiver<()> {
        let (done, read) = oneshot::channel();
        if self.is_up {
            let entry = self.entry(who);
            entry.is_stale = true;
            entry.watching.push(done);
            self.schedule(who.clone(), ctx);
        } // else `done` is gone, and that is heard at once
        read
    }

    /// From now on the client hears of what differs from what it has.
    fn watch(&mut self, who: &Identity, ctx: &mut Context<Self>) {
        let (missed, is_other) = self.entry(who).twin.on_watched();
        if is_other {
            self.save_and_tell(who, missed, ctx);
        }
    }

    /// Its twin was read: who waits for that goes on, and hears of each later change.
    pub(super) fn on_read_for(&mut self, who: &Identity, ctx: &mut Context<Self>) {
        let watching = std::mem::take(&mut self.entry(who).watching);
        if watching.iter().any(|done| !done.is_closed()) {
            self.watch(who, ctx);
        }
        for done in watching {
            let _ = done.send(()); // it may have waited long enough
        }
    }
}
