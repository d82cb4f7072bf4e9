//! One run of one module's container: brought up, watched, and gone when the container is.
//!
//! Started by `module`. Its exit is the container's exit; it never restarts anything itself. It
//! finds out first what is there: a container that runs, and is the wanted one, is adopted.
//! next: `bring_up.rs`, then back to `actors/agent/module/mod.rs`.

mod bring_up;
mod firewall;

use std::time::Duration;

use actix::prelude::*;

use self::bring_up::{BringUp, Failure, Up};
use self::firewall::Way;
use super::{AgentPorts, Registrar};
use crate::actors::supervision::{Obituary, Supervised};
use crate::domain::agent::observed::{Health as ContainerHealth, Observed, Phase};
use crate::domain::agent::words::DesiredStatus;
use crate::domain::identity::Identity;
use crate::domain::restart::{Exit, RestartPolicy};
use crate::messages::engine::{EngineError, PullProgress};
use crate::messages::modules::{Assignment, Look};
use crate::messages::supervision::Health;

/// Without any notice of the engine, a look now and then.
const LOOK: Duration = Duration::from_secs(60);

/// What a container worker tells its module. Notices, in order; the obituary follows an ending.
#[derive(Clone, Debug, PartialEq, Message)]
#[rtype(result = "()")]
pub enum RunReport {
    /// What is being done.
    Doing(Doing),
    /// The container is the wanted one, and is so.
    Seen {
        /// How it was found.
        observed: Box<Observed>,
        /// What else there is to say.
        note: String,
    },
    /// It ended.
    Ended(Box<Observed>),
    /// It failed its health check, and was stopped.
    Sick(Box<Observed>),
    /// It could not be brought up.
    NotStarted(String),
    /// The engine is away: nobody knows.
    EngineAway(String),
}

/// See [`RunReport`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doing {
    /// The image is being pulled; `true`: while a container of the module runs.
    Downloading(bool),
    /// How far.
    Progress(PullProgress),
    /// The container is stopped, removed, created, started.
    Replacing,
    /// It is being started: what becomes of this run is watched from its first moment.
    Starting,
}

/// See the module documentation.
pub struct Container {
    job: BringUp,
    is_busy: bool,
    /// A look came while busy.
    look_again: bool,
    /// It was the wanted one once: from then on its absence is an end.
    was_up: bool,
    /// Whether EdgeHub can be reached from within: what is said of it.
    way: Way,
    report: Recipient<RunReport>,
    obituary: Obituary,
}

impl Container {
    /// For one run. `start_ended`: a container that has ended is to be started again.
    pub fn new(
        assignment: Assignment,
        start_ended: bool,
        device: Identity,
        ports: AgentPorts,
        registrar: Registrar,
        report: Recipient<RunReport>,
        obituary: Obituary,
    ) -> Self {
        let doing = report.clone();
        let job = BringUp {
            assignment,
            start_ended,
            device,
            ports,
            registrar,
            doing,
            progress: None,
            is_watching: false,
        };
        Container {
            job,
            is_busy: false,
            look_again: false,
            was_up: false,
            way: Way::Unknown,
            report,
            obituary,
        }
    }

    fn look(&mut self, ctx: &mut Context<Self>) {
        if self.is_busy {
            self.look_again = true;
            return;
        }
        self.is_busy = true;
        let job = BringUp { is_watching: self.was_up, ..self.job.clone() };
        ctx.spawn(job.run().into_actor(self).map(|result, this, ctx| {
            this.is_busy = false;
            this.on_looked(result, ctx);
            if std::mem::take(&mut this.look_again) {
                this.look(ctx);
            }
        }));
    }

    fn on_looked(&mut self, result: Result<Up, Failure>, ctx: &mut Context<Self>) {
        match result {
            Ok(Up { observed, note }) => self.on_seen(observed, note, ctx),
            Err(Failure::Engine(EngineError::Away(why))) => {
                self.tell(RunReport::EngineAway(why)); // it is told when the engine is back
            }
            Err(failure) => {
                self.tell(RunReport::NotStarted(failure.to_string()));
                self.end(Exit::Failed, failure.to_string(), ctx);
            }
        }
    }

    fn on_seen(&mut self, observed: Observed, note: String, ctx: &mut Context<Self>) {
        self.was_up = true;
        self.job.start_ended = false; // done, once
        let wants_run = self.job.assignment.want.status == DesiredStatus::Running;
        let policy = self.job.assignment.spec.restart_policy;
        let is_sick = observed.health == ContainerHealth::Unhealthy
            && observed.phase == Phase::Running
            && policy >= RestartPolicy::OnUnhealthy;
        match observed.exit() {
            Some(exit) if wants_run => {
                let why = observed.why_ended();
                self.tell(RunReport::Ended(Box::new(observed)));
                self.end(exit, why, ctx);
            }
            _ if wants_run && is_sick => self.stop_sick(observed, ctx),
            _ => {
                self.try_way(&observed, ctx);
                let note = self.way.added_to(note);
                self.tell(RunReport::Seen { observed: Box::new(observed), note });
            }
        }
    }

    /// A failed health check is an exit, for policies that restart after it.
    fn stop_sick(&mut self, observed: Observed, ctx: &mut Context<Self>) {
        self.is_busy = true;
        let stop = self.job.clone().stop(observed.id.clone());
        ctx.spawn(stop.into_actor(self).map(move |stopped, this, ctx| {
            this.is_busy = false;
            match stopped {
                Ok(()) => {
                    this.tell(RunReport::Sick(Box::new(observed)));
                    this.end(Exit::Unhealthy, "failed its health check".into(), ctx);
                }
                Err(error) => {
                    let note = format!("fails its health check, and cannot be stopped: {error}");
                    this.tell(RunReport::Seen { observed: Box::new(observed), note });
                }
            }
        }));
    }

    fn tell(&self, report: RunReport) {
        self.report.do_send(report); // to the supervisor; the last one told counts
    }

    fn end(&mut self, exit: Exit, why: String, ctx: &mut Context<Self>) {
        self.obituary.ended(exit, why);
        ctx.stop();
    }
}

impl Actor for Container {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.job.progress = Some(ctx.address().recipient());
        ctx.run_interval(LOOK, Self::look);
        self.look(ctx);
    }
}

impl Supervised for Container {
    fn obituary(&mut self) -> &mut Obituary {
        &mut self.obituary
    }

    fn health(&self) -> Health {
        let state = if self.is_busy { "busy" } else { "watching" };
        Health { state: state.into() }
    }
}
crate::supervised!(Container);

impl Handler<Look> for Container {
    type Result = ();

    fn handle(&mut self, _: Look, ctx: &mut Self::Context) {
        self.look(ctx);
    }
}

impl Handler<PullProgress> for Container {
    type Result = ();

    fn handle(&mut self, progress: PullProgress, _: &mut Self::Context) {
        if self.is_busy {
            self.tell(RunReport::Doing(Doing::Progress(progress)));
        }
    }
}
