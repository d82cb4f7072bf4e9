//! What is to replace the container that runs: its image is had beside it, and what failed is tried
//! again. The container that runs is looked after meanwhile, by its policy.

use std::time::Instant;

use actix::prelude::*;

use super::Module;
use crate::actors::agent::container::engine::pull;
use crate::actors::agent::container::{Doing, Update};
use crate::actors::clock;
use crate::domain::agent::observed::{Health, Observed};
use crate::domain::agent::restarts::retry_delay;
use crate::domain::agent::state::Applied;
use crate::messages::engine::{EngineError, PullProgress};
use crate::mutant;

/// See the module documentation.
#[derive(Default)]
pub(super) struct Updating {
    /// The download that is under way.
    pull: Option<SpawnHandle>,
    /// The image is here; with what there is to say of it.
    image: Option<String>,
    /// Tries that came to nothing.
    tries: u32,
    /// The next one: its timer, when, and why the last one failed.
    next: Option<(SpawnHandle, Instant, String)>,
}

impl Updating {
    /// For the worker, once.
    pub(super) fn image(&mut self) -> Option<String> {
        self.image.take()
    }
}

impl Module {
    /// Sets in motion what is due.
    pub(super) fn on_update(&mut self, update: &Update, ctx: &mut Context<Self>) {
        match update {
            Update::Done | Update::OnTrial | Update::Refused(_) => self.updating.tries = 0,
            Update::NeedsImage if self.updating.next.is_none() => self.fetch_image(ctx),
            Update::NeedsImage => {}
            Update::Held(why) => self.try_later(why.clone(), ctx),
        }
    }

    /// It is wanted otherwise.
    pub(super) fn forget_update(&mut self, ctx: &mut Context<Self>) {
        let Updating { pull, next, .. } = std::mem::take(&mut self.updating);
        let timers = pull.into_iter().chain(next.map(|(timer, ..)| timer));
        timers.for_each(|handle| _ = ctx.cancel_future(handle));
    }

    fn fetch_image(&mut self, ctx: &mut Context<Self>) {
        let Some(assignment) = self.assignment.clone() else { return };
        if self.updating.pull.is_some() {
            return;
        }
        let pulled = pull(self.ports.clone(), assignment, Some(ctx.address().recipient()));
        let pulled = pulled.into_actor(self).map(|pulled, this, ctx| {
            this.updating.pull = None;
            this.change(|state| state.progress.clear());
            match pulled {
                Ok(note) => {
                    mutant::point_of("update-fetched", &this.name);
                    this.updating.image = Some(note);
                    if !this.is_halted {
                        this.start_worker(false, ctx);
                    }
                }
                Err(EngineError::Away(_)) => {} // it is looked at when the engine is back
                Err(error) => {
                    this.try_later(error.to_string(), ctx);
                    let (why, next) = this.held();
                    this.change(|state| {
                        state.applied = Applied::Failed(why.clone());
                        if state.next_attempt.is_none() {
                            (state.why, state.next_attempt) = (why, next);
                        }
                    });
                }
            }
        });
        self.updating.pull = Some(ctx.spawn(pulled));
    }

    fn try_later(&mut self, why: String, ctx: &mut Context<Self>) {
        if self.updating.next.is_some() {
            return;
        }
        let seed = format!("{}/{}", self.device, self.name);
        let delay = retry_delay(self.restart_backoff, self.updating.tries, &seed);
        self.updating.tries = self.updating.tries.saturating_add(1);
        let timer = ctx.run_later(delay, |this, ctx| {
            this.updating.next = None;
            if this.timer.is_none() {
                this.change(|state| state.next_attempt = None); // that is now
            }
            this.fetch_image(ctx);
        });
        self.updating.next = Some((timer, clock::now() + delay, why));
    }

    /// Why the last try failed, and when the next one is.
    fn held(&self) -> (String, Option<Instant>) {
        let next = self.updating.next.as_ref();
        let why = next.map(|(_, _, why)| why.as_str()).unwrap_or_default();
        let why = format!("its update failed, and is tried again: {why}");
        (why, next.map(|(_, at, _)| *at))
    }

    /// How far the deployment is carried out while something else than the wanted container runs.
    pub(super) fn applied_meanwhile(&self) -> Applied {
        match (&self.updating.pull, &self.updating.next) {
            (_, Some(_)) => Applied::Failed(self.held().0),
            (Some(_), None) => Applied::Pending,
            (None, None) => Applied::Done,
        }
    }

    /// How an update stands, in words; whether the module is what was asked for; the next try.
    pub(super) fn told(
        &self,
        update: &Update,
        observed: &Observed,
    ) -> (String, Applied, Option<Instant>) {
        match update {
            Update::Done => (String::new(), Applied::Done, None),
            Update::OnTrial => {
                let why = "its update is on trial: what ran before is kept for now".into();
                let is_starting = matches!(observed.health, Health::Starting | Health::Unhealthy);
                (why, if is_starting { Applied::Pending } else { Applied::Done }, None)
            }
            Update::NeedsImage if self.updating.next.is_none() => {
                ("its new image is being downloaded".into(), Applied::Pending, None)
            }
            Update::NeedsImage | Update::Held(_) => {
                let (why, next) = self.held();
                (why.clone(), Applied::Failed(why), next)
            }
            Update::Refused(why) => {
                let why = format!(
                    "its update was undone, until the deployment changes it: the new container \
                     {why}"
                );
                (why.clone(), Applied::Failed(why), None)
            }
        }
    }
}

impl Handler<PullProgress> for Module {
    type Result = ();

    fn handle(&mut self, progress: PullProgress, _: &mut Self::Context) {
        if self.updating.pull.is_some() {
            self.on_doing(Doing::Progress(progress));
        }
    }
}
