//! Makes the file of the queue small: when an operator says so, or by itself.

use std::sync::Arc;

use actix::prelude::*;
use tokio::sync::oneshot;

use super::Queue;
use crate::messages::queue::Compact;
use crate::messages::state::StoreError;
use crate::store::QueueStore;

type Answer = Result<(u64, u64), StoreError>;

/// On a thread of its own: a stop of the process does not wait for it, and may end it at any step.
fn compact(store: Arc<QueueStore>) -> impl Future<Output = Answer> {
    let (reply, answer) = oneshot::channel();
    let begun = std::thread::Builder::new().name("store-compact".into()).spawn(move || {
        let done = store.compact();
        match &done {
            Ok((before, after)) => {
                tracing::info!(before, after, "the queue's file was made smaller")
            }
            Err(error) => tracing::warn!(%error, "the queue's file cannot be made smaller"),
        }
        let _ = reply.send(done); // nobody may wait any more
    });
    async move {
        match begun {
            Ok(_) => answer.await.unwrap_or(Err(StoreError::Unavailable)),
            Err(error) => Err(StoreError::Broken(error.to_string())),
        }
    }
}

impl Queue {
    /// If it is worth it, and none is being made.
    pub(super) fn compact_if_due(&mut self, ctx: &mut Context<Self>) {
        if self.is_compacting || !self.store.waste().is_ok_and(|waste| waste.is_worth_it()) {
            return;
        }
        self.is_compacting = true;
        let done = compact(Arc::clone(&self.store)).into_actor(self);
        done.map(|_, queue, _| queue.is_compacting = false).spawn(ctx);
    }
}

impl Handler<Compact> for Queue {
    type Result = ResponseActFuture<Self, Answer>;

    fn handle(&mut self, _: Compact, _: &mut Context<Self>) -> Self::Result {
        if std::mem::replace(&mut self.is_compacting, true) {
            let why = "the queue is being compacted already".to_owned();
            return Box::pin(async { Err(StoreError::Broken(why)) }.into_actor(self));
        }
        let done = compact(Arc::clone(&self.store)).into_actor(self);
        Box::pin(done.map(|done, queue, _| {
            queue.is_compacting = false;
            done
        }))
    }
}
