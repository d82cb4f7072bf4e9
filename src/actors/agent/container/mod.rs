//! One run of one module's container: brought up, watched, and gone when the container is.
//!
//! Started by `module`. Its exit is the container's exit; it never restarts anything itself. It
//! finds out first what is there: a container that runs, and is the wanted one, is adopted. Until
//! an update has come up, what ran before is watched just the same.
//! next: `bring_up.rs`, then back to `actors/agent/module/mod.rs`.

mod bring_up;
pub(super) mod engine;
mod finding;
mod firewall;
pub(super) mod refusal;
mod rules;

use std::time::{Duration, Instant};

use actix::prelude::*;

pub use self::bring_up::Update;
use self::bring_up::{BringUp, Down, Failure, Up};
use self::finding::Finding;
use super::{AgentPorts, Registrar};
use crate::actors::clock;
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
    /// The container is the one to be run for now, and is so.
    Seen {
        /// How it was found.
        observed: Box<Observed>,
        /// What else there is to say.
        note: String,
        /// How its update stands.
        update: Update,
    },
    /// It ended.
    Ended(Box<Observed>, Update),
    /// It failed its health check, and was stopped.
    Sick(Box<Observed>),
    /// It could not be brought up.
    NotStarted(String, Update),
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

/// What is to be done in one run.
pub struct Task {
    /// What the container is to be.
    pub assignment: Assignment,
    /// One that has ended is to be started again.
    pub start_ended: bool,
    /// The image of an update is here; with what there is to say of it.
    pub image: Option<String>,
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
    way: Finding,
    /// What the device's rules say of its image.
    rules: Finding,
    /// Until when the timer of a trial runs.
    trial: Option<Instant>,
    report: Recipient<RunReport>,
    obituary: Obituary,
}

impl Container {
    /// For one run.
    pub fn new(
        Task { assignment, start_ended, image }: Task,
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
            image,
            refused: None,
            trial: None,
        };
        Container {
            job,
            is_busy: false,
            look_again: false,
            was_up: false,
            way: Finding::Unknown,
            rules: Finding::Unknown,
            trial: None,
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

    fn on_looked(&mut self, result: Result<Up, Down>, ctx: &mut Context<Self>) {
        match result {
            Ok(up) => self.on_up(up, ctx),
            Err(Down(Failure::Engine(EngineError::Away(why)), _)) => {
                self.tell(RunReport::EngineAway(why)); // it is told when the engine is back
            }
            Err(Down(failure, needs_image)) => {
                let update = if needs_image { Update::NeedsImage } else { Update::Done };
                self.tell(RunReport::NotStarted(failure.to_string(), update));
                self.end(Exit::Failed, failure.to_string(), ctx);
            }
        }
    }

    fn on_up(&mut self, up: Up, ctx: &mut Context<Self>) {
        let Up { observed, note, update, refused, trial } = up;
        self.job.refused = Some(refused);
        if let Some((_, since)) = &trial {
            let end = *since + self.job.assignment.update_deadline;
            if self.trial != Some(end) {
                self.trial = Some(end);
                ctx.run_later(end.saturating_duration_since(clock::now()), Self::look);
            }
        }
        self.job.trial = trial;
        if !matches!(update, Update::NeedsImage) {
            self.job.image = None; // it was made use of
        }
        self.on_seen(observed, note, update, ctx);
    }

    fn on_seen(
        &mut self,
        observed: Observed,
        note: String,
        update: Update,
        ctx: &mut Context<Self>,
    ) {
        self.was_up = true;
        self.job.start_ended = false; // done, once
        let wants_run = self.job.assignment.want.status == DesiredStatus::Running;
        let policy = self.job.assignment.spec.restart_policy;
        let is_sick = observed.health == ContainerHealth::Unhealthy
            && observed.phase == Phase::Running
            && policy >= RestartPolicy::OnUnhealthy
            && update != Update::OnTrial; // it has its time to become healthy
        match observed.exit() {
            Some(exit) if wants_run => {
                let why = observed.why_ended();
                self.tell(RunReport::Ended(Box::new(observed), update));
                self.end(exit, why, ctx);
            }
            _ if wants_run && is_sick => self.stop_sick(observed, update, ctx),
            _ => {
                self.try_way(&observed, ctx);
                self.ask_rules(&observed, ctx);
                let note = self.rules.added_to(self.way.added_to(note));
                self.tell(RunReport::Seen { observed: Box::new(observed), note, update });
            }
        }
    }

    /// A failed health check is an exit, for policies that restart after it.
    fn stop_sick(&mut self, observed: Observed, update: Update, ctx: &mut Context<Self>) {
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
                    this.tell(RunReport::Seen { observed: Box::new(observed), note, update });
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
