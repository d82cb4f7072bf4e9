//! In the place of the queue while its store cannot be had: says why, looks for it, and when it is
//! there, ends, so that the supervisor starts the queue and all that hangs on it.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;

use crate::actors::endpoint::backend::Readiness;
use crate::actors::port::Port;
use crate::actors::supervision::{Obituary, Supervised};
use crate::messages::queue::{GetQueueStatus, QueueStatus};
use crate::messages::state::StoreError;
use crate::messages::supervision::Health;

/// Between two looks.
const AGAIN: Duration = Duration::from_secs(5);

/// Tries to open the store; `Err` says why it is not there. Blocks.
pub type Look = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// See the module documentation.
pub struct AbsentQueue {
    look: Look,
    why: String,
    readiness: Readiness,
    status: Port<GetQueueStatus>,
    obituary: Obituary,
}

impl AbsentQueue {
    /// The store is not there because of `why`: whoever asks for its `status` hears that.
    pub fn new(
        look: Look,
        why: String,
        readiness: Readiness,
        status: Port<GetQueueStatus>,
        obituary: Obituary,
    ) -> Self {
        AbsentQueue { look, why, readiness, status, obituary }
    }

    /// A damaged store is salvaged meanwhile, so a look may take long.
    fn look(&mut self, ctx: &mut Context<Self>) {
        self.readiness.waits("queue", self.why.as_str());
        let look = Arc::clone(&self.look);
        let looked = tokio::task::spawn_blocking(move || look()).into_actor(self);
        let looked = looked.map(|looked, this, ctx| match looked {
            Ok(Ok(())) => ctx.stop(),
            Ok(Err(why)) => {
                this.readiness.waits("queue", why.as_str());
                this.why = why;
                ctx.run_later(AGAIN, |this, ctx| this.look(ctx));
            }
            Err(error) => this.fail(&error, ctx),
        });
        looked.spawn(ctx);
    }
}

impl Actor for AbsentQueue {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.status.plug(&ctx.address());
        self.look(ctx);
    }
}

impl Handler<GetQueueStatus> for AbsentQueue {
    type Result = Result<QueueStatus, StoreError>;

    fn handle(&mut self, _: GetQueueStatus, _: &mut Context<Self>) -> Self::Result {
        Err(StoreError::Absent(self.why.clone()))
    }
}

impl Supervised for AbsentQueue {
    fn obituary(&mut self) -> &mut Obituary {
        &mut self.obituary
    }

    fn health(&self) -> Health {
        Health { state: format!("absent: {}", self.why) }
    }
}
crate::supervised!(AbsentQueue);

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[actix::test]
    async fn clients_are_turned_away_until_the_store_is_there_and_then_it_ends() {
        tokio::time::pause();
        let is_there = Arc::new(AtomicBool::new(false));
        let there = Arc::clone(&is_there);
        let look: Look = Arc::new(move || match there.load(Ordering::SeqCst) {
            true => Ok(()),
            false => Err("still unplugged".into()),
        });
        let readiness = Readiness::default();
        let obituary = Obituary::unsupervised();
        let (status, ready) = (Port::default(), readiness.clone());
        let absent = AbsentQueue::new(look, "unplugged".into(), ready, status.clone(), obituary);
        let absent = absent.start();
        tokio::time::sleep(AGAIN * 3).await;
        assert_eq!(readiness.missing().unwrap(), "queue: still unplugged");
        assert!(absent.connected());
        let answer = status.ask(GetQueueStatus, AGAIN).await.unwrap();
        assert_eq!(answer, Err(StoreError::Absent("still unplugged".into())));
        is_there.store(true, Ordering::SeqCst);
        tokio::time::sleep(AGAIN * 3).await;
        assert!(!absent.connected());
    }
}
