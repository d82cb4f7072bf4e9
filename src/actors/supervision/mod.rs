//! Supervision: our own, since actix's neither sees a panic nor waits before it restarts (ADR 1).
//!
//! `obituary` tells how a child ended, `domain/restart` decides, the supervisor builds it anew.

mod brood;
mod child;
mod estate;
mod obituary;
mod snapshot;
mod supervisor;
#[cfg(test)]
mod tests;

use std::fmt::Display;

use actix::prelude::*;

pub use self::brood::Brood;
pub use self::child::{Factory, Running};
pub use self::obituary::{Obituary, panics, remember_panics};
pub use self::snapshot::{panic_below, snapshot_of};
pub use self::supervisor::Supervisor;
use crate::domain::restart::{Exit, Verdict};
use crate::messages::supervision::{ChildExited, Health};

/// Says that the child of the actor at the path `above` ended, and what follows; one form for all.
/// Answers it in short, for who asks later.
pub fn report_end(above: &str, exited: &ChildExited, verdict: Verdict) -> String {
    let ChildExited { child, exit, why, .. } = exited;
    let actor = obituary::below(above, child);
    match (exit, verdict) {
        (Exit::Panicked, _) => tracing::error!(actor, ?exit, %why, next = %verdict, "actor ended"),
        (Exit::Normal, Verdict::Leave) => {
            tracing::debug!(actor, ?exit, %why, next = %verdict, "actor ended");
        }
        _ => tracing::warn!(actor, ?exit, %why, next = %verdict, "actor ended"),
    }
    format!("{exit:?}: {why}")
}

/// What an actor of the tree has in common with all others. Say `supervised!(Type);` beside it.
pub trait Supervised: Actor<Context = Context<Self>> {
    /// The notice of its end.
    fn obituary(&mut self) -> &mut Obituary;

    /// One line for an operator.
    fn health(&self) -> Health {
        Health::default()
    }

    /// Ordered stop. What must be finished first is finished here, within the deadline.
    fn shut_down(&mut self, ctx: &mut Context<Self>) {
        ctx.stop();
    }

    /// Gives up because of an error: the supervisor builds it anew from the store.
    fn fail(&mut self, why: &dyn Display, ctx: &mut Context<Self>) {
        tracing::error!(actor = std::any::type_name::<Self>(), %why, "actor fails");
        self.obituary().failed(why);
        ctx.stop();
    }
}

/// Makes a [`Supervised`] actor answer `Probe`, `Shutdown` and, in test builds, `Panic`.
#[macro_export]
macro_rules! supervised {
    ($actor:ty) => {
        impl actix::Handler<$crate::messages::supervision::Probe> for $actor {
            type Result = actix::MessageResult<$crate::messages::supervision::Probe>;
            fn handle(
                &mut self,
                _: $crate::messages::supervision::Probe,
                _: &mut Self::Context,
            ) -> Self::Result {
                actix::MessageResult($crate::actors::supervision::Supervised::health(self))
            }
        }
        impl actix::Handler<$crate::messages::supervision::Shutdown> for $actor {
            type Result = ();
            fn handle(
                &mut self,
                _: $crate::messages::supervision::Shutdown,
                ctx: &mut Self::Context,
            ) {
                $crate::actors::supervision::Supervised::shut_down(self, ctx);
            }
        }
        impl actix::Handler<$crate::messages::supervision::Panic> for $actor {
            type Result = ();
            fn handle(&mut self, _: $crate::messages::supervision::Panic, _: &mut Self::Context) {
                if cfg!(any(test, feature = "faults")) {
                    panic!("asked to panic");
                }
            }
        }
    };
}
