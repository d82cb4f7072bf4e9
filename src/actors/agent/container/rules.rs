//! Whether the device's rules for images let a container run that runs: they may have changed since
//! it was made. It runs on, and is named: who changed them decides.

use std::time::Duration;

use actix::prelude::*;

use super::Container;
use crate::domain::agent::observed::{Observed, Phase};
use crate::messages::engine::{EngineError, Run};

/// A registry may be asked for a signature.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Rules {
    /// Not asked, or nobody could say.
    Unknown,
    /// Being asked.
    Asking,
    /// It may run.
    Allowed,
    /// It would not be started any more, and why.
    Against(String),
}

impl Rules {
    /// A note, with what is to be said of them.
    pub(super) fn added_to(&self, note: String) -> String {
        let Rules::Against(why) = self else { return note };
        let said = format!(
            "runs on, but would not be started any more: {why}; remove it from the deployment, or \
             allow it in images.rules"
        );
        if note.is_empty() { said } else { format!("{note}; {said}") }
    }
}

impl Container {
    /// Asks once per run, and again at every look while it would be refused.
    pub(super) fn ask_rules(&mut self, observed: &Observed, ctx: &mut Context<Self>) {
        let is_known = matches!(self.rules, Rules::Asking | Rules::Allowed);
        if is_known || observed.phase != Phase::Running {
            return;
        }
        let before = self.rules.clone();
        if before == Rules::Unknown {
            self.rules = Rules::Asking; // what is refused is said until it is known to be otherwise
        }
        let credential = self.job.assignment.credential.clone();
        let judge = Run::Judge { id: observed.id.clone(), credential };
        let asked = self.job.ports.run.ask(judge, PATIENCE).into_actor(self);
        ctx.spawn(asked.map(move |answer, this, ctx| {
            this.rules = match answer {
                Ok(Ok(_)) => Rules::Allowed,
                Ok(Err(EngineError::Refused(why))) => {
                    Rules::Against(this.job.assignment.secrets().hide(&why))
                }
                _ => Rules::Unknown,
            };
            let is_said = |rules: &Rules| matches!(rules, Rules::Against(_));
            if this.rules != before && (is_said(&this.rules) || is_said(&before)) {
                let module = &this.job.assignment.spec.name;
                tracing::warn!(module, rules = ?this.rules, "what the rules say of a container");
                this.look(ctx);
            }
        }));
    }
}
