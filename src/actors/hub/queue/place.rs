//! Brings the queue to where the twin of `$edgeHub` says that it should lie.

use std::sync::Arc;

use actix::prelude::*;
use tokio::sync::oneshot;

use super::Queue;
use crate::messages::queue::PlaceQueue;

/// Brings the store to a directory (`None`: that of the settings); says why it cannot. Blocks.
pub type Bring = Arc<dyn Fn(Option<&str>) -> Result<(), String> + Send + Sync>;

impl Handler<PlaceQueue> for Queue {
    type Result = ResponseFuture<Result<(), String>>;

    fn handle(&mut self, PlaceQueue(location): PlaceQueue, _: &mut Context<Self>) -> Self::Result {
        let bring = Arc::clone(&self.bring);
        let (reply, answer) = oneshot::channel();
        // A thread of its own: a stop of the process does not wait for it, and may end it at any
        // step.
        let moved = std::thread::Builder::new().name("store-mover".into()).spawn(move || {
            let _ = reply.send(bring(location.as_deref())); // nobody may wait any more
        });
        Box::pin(async move {
            moved.map_err(|error| format!("the queue cannot be moved: {error}"))?;
            answer.await.unwrap_or_else(|_| Err("moving the queue panicked: see the log".into()))
        })
    }
}
