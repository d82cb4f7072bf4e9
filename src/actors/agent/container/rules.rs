//! Whether the device's rules for images let a container run that runs: they may have changed since
//! it was made. It runs on, and is named: who changed them decides.

use std::time::Duration;

use actix::prelude::*;

use super::Container;
use super::finding::Finding;
use crate::domain::agent::observed::{Observed, Phase};
use crate::messages::engine::{EngineError, Run};

/// A registry may be asked for a signature.
const PATIENCE: Duration = Duration::from_secs(60);

impl Container {
    /// Asks once per run, and again at every look while it would be refused.
    pub(super) fn ask_rules(&mut self, observed: &Observed, ctx: &mut Context<Self>) {
        if observed.phase != Phase::Running {
            return;
        }
        let Some(before) = self.rules.ask() else { return };
        let credential = self.job.assignment.credential.clone();
        let judge = Run::Judge { id: observed.id.clone(), credential };
        let asked = self.job.ports.run.ask(judge, PATIENCE).into_actor(self);
        ctx.spawn(asked.map(move |answer, this, ctx| {
            this.rules = match answer {
                Ok(Ok(_)) => Finding::Good,
                Ok(Err(EngineError::Refused(why))) => {
                    Finding::Bad(advice(&this.job.assignment.secrets().hide(&why)))
                }
                _ => Finding::Unknown,
            };
            this.on_found(&this.rules.clone(), &before, "what the rules say of a container", ctx);
        }));
    }
}

fn advice(why: &str) -> String {
    format!(
        "runs on, but would not be started any more: {why}; remove it from the deployment, or \
         allow it in images.rules"
    )
}
