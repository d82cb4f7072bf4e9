//! Identities that are no more, or are others now under the same id: nothing of theirs is kept,
//! nor sent in the name of those who come after them. Changes that routes are owed are messages
//! of `$edgeHub`, and stay.

use actix::prelude::*;

use super::{Early, Twins};
use crate::domain::identity::Identity;
use crate::messages::registry::Forget;

impl Handler<Forget> for Twins {
    type Result = ResponseFuture<()>;

    /// At once: what comes next may be sent to the parent.
    fn handle(&mut self, Forget(gone): Forget, ctx: &mut Self::Context) -> Self::Result {
        let is_loaded = *self.is_loaded.borrow();
        match is_loaded {
            true => self.forget(gone, ctx),
            false => self.early.push(Early::Gone(gone)),
        }
        Box::pin(self.when_loaded())
    }
}

impl Twins {
    pub(super) fn forget(&mut self, gone: Vec<Identity>, ctx: &mut Context<Self>) {
        let mut changes = Vec::new();
        for identity in gone {
            if let Some(entry) = self.entries.remove(&identity) {
                changes.extend(entry.all_gone(&identity));
                self.due.retain(|due| *due != identity);
            }
        }
        if !changes.is_empty() {
            self.save(changes).map(|_, _, _| ()).spawn(ctx);
        }
    }
}
