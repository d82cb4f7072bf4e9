//! What a module remembers over a restart of the runtime: its restarts so far, and, for `never`,
//! that it ran. In `state/`; without it a module goes on as one that never failed.

use std::time::Duration;

use super::Module;
use crate::actors::agent::{AgentPorts, TABLE};
use crate::domain::agent::observed::Observed;
use crate::domain::agent::restarts::{Kept, run_that_ended};
use crate::domain::agent::state::ModuleState;
use crate::domain::agent::words::{DesiredStatus, ModuleStatus};
use crate::domain::restart::RestartPolicy;
use crate::messages::modules::Assignment;
use crate::messages::state::{Change, Fetch, Save};

/// A look into the store.
const SHORT: Duration = Duration::from_secs(5);

fn key(module: &str) -> Vec<u8> {
    format!("restarts/{module}").into_bytes()
}

/// What there is; what cannot be read is as good as nothing.
pub(super) async fn read(ports: AgentPorts, module: String) -> Kept {
    let known = ports.fetch.ask(Fetch(TABLE, key(&module)), SHORT).await;
    let known = known.ok().and_then(Result::ok).flatten();
    known.and_then(|known| serde_json::from_slice(&known).ok()).unwrap_or_default()
}

/// Nothing is remembered of it any more. On disk, if that can be written.
pub(super) async fn forget(ports: &AgentPorts, module: &str) {
    let save = Save(vec![Change::delete(TABLE, key(module))]);
    if let Ok(Err(error)) = ports.save.ask(save, SHORT).await {
        tracing::debug!(module, %error, "what was remembered is not forgotten yet");
    }
}

impl Module {
    /// As it was when the runtime ended, if it is still the same container that is wanted.
    pub(super) fn restore(&mut self, kept: Kept) {
        self.saved = Some(kept.clone());
        let fresh = self.fresh();
        if kept.hash != fresh.hash {
            self.kept = fresh;
            return;
        }
        self.restarts.restore(kept.in_a_row);
        self.state = ModuleState {
            restarts: kept.restarts,
            last_restart: kept.last_restart,
            ..std::mem::take(&mut self.state)
        };
        self.kept = kept;
    }

    /// Until then nothing is started.
    pub(super) fn is_restored(&self) -> bool {
        self.saved.is_some()
    }

    /// Nothing is counted of what is wanted from now on.
    pub(super) fn forget(&mut self) {
        self.kept = self.fresh();
        self.keep();
    }

    fn fresh(&self) -> Kept {
        let hash = self.assignment.as_ref().map(|it| it.want.hash.clone()).unwrap_or_default();
        Kept { hash, ..Kept::default() }
    }

    /// Its run ended; whether that was counted already.
    pub(super) fn count_end(&mut self, observed: &Observed) -> bool {
        let ended = Some(run_that_ended(observed));
        let is_counted = self.kept.ended == ended;
        self.kept.ended = ended;
        is_counted
    }

    /// Writes it where it changed. The next change writes what could not be written now.
    pub(super) fn keep(&mut self) {
        self.kept.in_a_row = self.restarts.in_a_row();
        self.kept.restarts = self.state.restarts;
        if self.saved.as_ref() == Some(&self.kept) {
            return;
        }
        let Ok(value) = serde_json::to_vec(&self.kept) else { return };
        let save = Save(vec![Change::put(TABLE, key(&self.name), value)]);
        self.ports.save.tell(save); // in order; a full disk is told of by `state`
        self.saved = Some(self.kept.clone());
    }

    /// What its worker is to do. What ran once under `never` is looked at, and not started, even if
    /// its container was removed, or the machine was restarted.
    pub(super) fn task(&self) -> Option<Assignment> {
        let mut task = self.assignment.clone()?;
        if self.ran_once() {
            task.want.status = DesiredStatus::Other(ModuleStatus::Stopped);
        }
        Some(task)
    }

    /// The machine was restarted since it ran.
    pub(super) fn is_of_another_boot(&self) -> bool {
        let boots = [&self.kept.boot, &self.boot];
        boots.iter().all(|boot| !boot.is_empty()) && self.kept.boot != self.boot
    }

    /// It may not be started again.
    pub(super) fn ran_once(&self) -> bool {
        self.kept.has_run
            && self.assignment.as_ref().is_some_and(|it| {
                it.want.status == DesiredStatus::Running
                    && it.spec.restart_policy == RestartPolicy::Never
            })
    }
}
