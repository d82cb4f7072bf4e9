//! What the worker tells of its container, and what a module makes of it.

use std::time::Duration;

use actix::prelude::*;

use super::{Ending, Module, RESTARTED, RunReport, TRIED_AGAIN, Verdict};
use crate::actors::agent::container::{Doing, Update};
use crate::actors::clock;
use crate::actors::supervision::report_end;
use crate::domain::agent::observed::{Health, Observed, Phase};
use crate::domain::agent::restarts::{Found, ago};
use crate::domain::agent::state::Applied;
use crate::domain::agent::words::{DesiredStatus, ModuleStatus, restart_policy_word};
use crate::domain::restart::{Exit, RestartPolicy};
use crate::messages::engine::PullProgress;
use crate::messages::supervision::ChildExited;

impl Handler<RunReport> for Module {
    type Result = ();

    fn handle(&mut self, report: RunReport, ctx: &mut Self::Context) {
        if self.worker.is_none() {
            return; // it was told to stop
        }
        match report {
            RunReport::Doing(doing) => self.on_doing(doing),
            RunReport::Seen { observed, note, update } => {
                self.on_update(&update, ctx);
                self.on_seen(&observed, note, &update);
            }
            RunReport::Ended(observed, update) => {
                self.on_update(&update, ctx);
                self.take_facts(&observed);
                self.ending = Some(Ending::Ended(observed));
            }
            RunReport::Sick(observed) => {
                self.take_facts(&observed);
                self.ending = Some(Ending::Sick);
            }
            RunReport::NotStarted(why, update) => {
                self.on_update(&update, ctx);
                self.ending = Some(Ending::NotStarted(why));
            }
            RunReport::EngineAway(why) => self.change(|state| {
                state.status = ModuleStatus::Unknown;
                state.why = why;
                state.progress.clear();
            }),
        }
    }
}

impl Module {
    pub(super) fn on_doing(&mut self, doing: Doing) {
        self.is_unwatched &= doing != Doing::Starting;
        self.change(|state| match doing {
            Doing::Downloading(true) => state.why = "its new image is being downloaded".into(),
            Doing::Downloading(false) => {
                state.status = ModuleStatus::Downloading;
                state.why.clear();
            }
            Doing::Progress(PullProgress { text, percent }) => {
                state.progress = text;
                state.percent = percent.map(|percent| percent / 10 * 10);
            }
            Doing::Replacing => state.progress.clear(),
            Doing::Starting => {}
        });
    }

    fn on_seen(&mut self, observed: &Observed, note: String, update: &Update) {
        let Some(assignment) = &self.assignment else { return };
        let (wanted, amqp) = (assignment.want.status, self.amqp());
        let own = assignment.spec.engine_policy_note();
        let ended = observed.why_ended();
        let phase = match (wanted, observed.phase) {
            (DesiredStatus::Running, Phase::Exited) if self.ran_once() => ended.as_str(),
            (DesiredStatus::Running, Phase::Created) if self.ran_once() => {
                "ran once, and its container was removed by somebody"
            }
            (DesiredStatus::Running, Phase::Paused) => "paused by somebody",
            (DesiredStatus::Running, Phase::Restarting) => "the engine's own policy restarts it",
            (DesiredStatus::Stopped, Phase::Exited | Phase::Created) => "stopped, as is wanted",
            _ => "",
        };
        let sick = match observed.status() {
            ModuleStatus::Unhealthy => "fails its health check; its policy does not restart it",
            _ => "",
        };
        let rests = self.ran_once() && matches!(observed.phase, Phase::Exited | Phase::Created);
        let once = if rests { self.not_again() } else { String::new() };
        let news = update.clone();
        let (update, applied, next) = self.told(update, observed);
        let parts = [
            update,
            phase.to_owned(),
            once,
            sick.to_owned(),
            note,
            amqp.unwrap_or_default(),
            own.unwrap_or_default(),
        ];
        let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        let status = match (wanted, observed.phase) {
            (DesiredStatus::Stopped, Phase::Exited) => ModuleStatus::Stopped,
            _ => observed.status(),
        };
        self.watch_run(observed, news == Update::Done);
        self.is_unwatched = false;
        self.take_facts(observed);
        let restarts = self.restarts.in_a_row();
        let runs_well = observed.phase == Phase::Running
            && matches!(observed.health, Health::None | Health::Healthy);
        self.change(|state| {
            state.status = status;
            state.is_done = rests && status == ModuleStatus::Stopped;
            state.is_up = runs_well || wanted != DesiredStatus::Running;
            state.restarts = restarts;
            state.why = parts.join("; ");
            if applied != Applied::Pending {
                state.progress.clear();
            }
            state.applied = applied;
            state.next_attempt = next;
        });
        self.keep();
    }

    /// How long a run lasts is counted from when it was first seen, by our own clock: the engine's may
    /// be set meanwhile.
    fn watch_run(&mut self, observed: &Observed, is_wanted: bool) {
        match observed.phase {
            Phase::Running => {
                let run = Some((observed.id.clone(), observed.started));
                let is_healthy = observed.status() == ModuleStatus::Running;
                if self.run != run || !is_healthy {
                    self.run = run;
                    self.restarts.on_started(clock::now());
                }
                self.restarts.on_running(clock::now());
                self.kept.boot.clone_from(&self.boot);
                self.kept.has_run |= is_wanted; // nothing before it, nor on trial, counts for `never`
            }
            Phase::Exited => self.kept.has_run |= is_wanted,
            _ => {}
        }
    }

    /// Why it reaches no hub: it is told to speak what is not served.
    fn amqp(&self) -> Option<String> {
        self.assignment.as_ref()?.spec.amqp_note()
    }

    /// What its policy makes of an end.
    pub(super) fn not_again(&self) -> String {
        let policy = self.assignment.as_ref().map(|it| it.spec.restart_policy);
        let word = restart_policy_word(policy.unwrap_or(RestartPolicy::Never));
        format!("restartPolicy {word}: not started again")
    }

    /// A module that ends may do so for want of a hub.
    fn why_ended(&self, why: String) -> String {
        self.amqp().map_or(why.clone(), |amqp| format!("{why}; {amqp}"))
    }

    fn take_facts(&mut self, observed: &Observed) {
        let is_over = observed.phase == Phase::Exited;
        self.change(|state| {
            state.exit_code = observed.exit_code.filter(|_| observed.finished.is_some() || is_over);
            state.started = observed.started;
            state.finished = observed.finished;
            state.image = observed.image.clone();
            state.image_id = observed.image_id.clone();
        });
    }

    /// The worker is gone: with its container, or because it panicked.
    pub(super) fn on_worker_gone(&mut self, exited: ChildExited, ctx: &mut Context<Self>) {
        let now = clock::now();
        match (self.ending.take(), exited.exit) {
            (_, Exit::Panicked) | (None, _) => self.replace_worker(exited, ctx),
            (Some(Ending::Ended(observed)), exit) => {
                let was_unwatched = std::mem::take(&mut self.is_unwatched);
                let is_counted = self.count_end(&observed);
                let wanted = self.assignment.as_ref().map(|it| it.want.hash.as_str());
                self.kept.has_run |= wanted == Some(observed.spec_hash.as_str());
                let next = if was_unwatched {
                    let ago = ago(observed.finished, clock::unix_time());
                    let is_before_boot = self.is_of_another_boot();
                    let found = Found { ago, is_counted, is_before_boot };
                    self.restarts.on_found_ended(exit, found, now)
                } else {
                    self.restarts.on_ended(exit, now)
                };
                let applied = self.applied_meanwhile();
                self.change(|state| state.applied = applied);
                self.go_on(next, self.why_ended(observed.why_ended()), RESTARTED, ctx);
            }
            (Some(Ending::Sick), exit) => {
                let next = self.restarts.on_ended(exit, now);
                let why = self.why_ended("failed its health check, and was stopped".into());
                self.go_on(next, why, RESTARTED, ctx);
            }
            (Some(Ending::NotStarted(why)), _) => {
                let next = self
                    .restarts
                    .on_not_started(now)
                    .spread(&format!("{}/{}", self.device, self.name));
                let text = why.clone();
                self.change(|state| {
                    state.applied = Applied::Failed(text);
                    state.progress.clear();
                    state.image.clear();
                });
                self.go_on(next, why, TRIED_AGAIN, ctx);
            }
        }
    }

    /// A new worker adopts what is there.
    fn replace_worker(&mut self, exited: ChildExited, ctx: &mut Context<Self>) {
        self.worker = None;
        self.worker_restarts += 1;
        let verdict = self.worker_log.on_exit(Exit::Panicked, clock::now());
        self.worker_error = Some(report_end(&self.obituary.path(), &exited, verdict));
        let delay = match verdict {
            Verdict::Restart(delay) => delay,
            Verdict::Leave | Verdict::Escalate => Duration::from_secs(60),
        };
        self.timer = Some(ctx.run_later(delay, |this, ctx| {
            this.timer = None;
            this.start_worker(false, ctx);
        }));
        self.change(|state| state.next_attempt = Some(clock::now() + delay));
    }
}
