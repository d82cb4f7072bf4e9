//! One module: supervises the worker that runs its container, and says how the module does.
//!
//! Started by `modules`. The worker's exit is the container's; `domain/agent/restarts` decides what
//! follows, by the policy of the manifest. A worker that panics is replaced by one that adopts the
//! container: restarting an actor restarts no container.
//! next: `reports.rs` (what the worker tells), `update.rs` (what is to replace what runs), `kept.rs` (what outlives
//! us), `halt.rs` (stop, restart, remove).

mod halt;
mod kept;
mod reports;
mod update;

use std::time::Duration;

use actix::prelude::*;

use self::update::Updating;
use super::container::{Container, RunReport, Task};
use super::{AgentPorts, Registrar};
use crate::actors::clock;
use crate::actors::supervision::{Obituary, Running, Supervised, panic_below, snapshot_of};
use crate::domain::agent::observed::Observed;
use crate::domain::agent::plan::Want;
use crate::domain::agent::restarts::{Kept, Next, Restarts};
use crate::domain::agent::state::{Applied, ModuleState};
use crate::domain::agent::words::ModuleStatus;
use crate::domain::identity::Identity;
use crate::domain::restart::{Intensity, RestartLog, RestartPolicy, Verdict};
use crate::messages::modules::{Adapt, Assignment, Look, ModuleChanged};
use crate::messages::supervision::{ChildExited, Health, PanicAt, Snapshot, TakeSnapshot};

/// See the module documentation.
pub struct Module {
    pub(super) name: String,
    device: Identity,
    ports: AgentPorts,
    registrar: Registrar,
    /// None: it has no desired properties, and is there to be removed.
    assignment: Option<Assignment>,
    worker: Option<Worker>,
    /// Number of the present worker.
    birth: u64,
    worker_log: RestartLog,
    worker_restarts: u64,
    worker_error: Option<String>,
    restarts: Restarts,
    /// Of the first restart.
    restart_backoff: Duration,
    /// This boot of the machine.
    boot: String,
    /// The run that was seen last: its container, and when it began by the engine's clock.
    run: Option<(String, Option<Duration>)>,
    /// What outlives the runtime, as it is, and as it is on disk.
    kept: Kept,
    saved: Option<Kept>,
    /// What is to replace the container that runs.
    updating: Updating,
    /// The timer of the next start; or, of what is not wanted any more, of its removal.
    timer: Option<SpawnHandle>,
    /// What happened to the container while nobody looked: since our start, or the engine's.
    is_unwatched: bool,
    /// What the worker told last of its end.
    ending: Option<Ending>,
    /// Stopped, or being removed, by will: nothing is started.
    is_halted: bool,
    state: ModuleState,
    changed: Recipient<ModuleChanged>,
    obituary: Obituary,
}

struct Worker {
    running: Running,
    look: Recipient<Look>,
}

/// How a run ended, before its obituary comes.
enum Ending {
    Ended(Box<Observed>),
    Sick,
    NotStarted(String),
}

/// What a module is built from, each time anew.
#[derive(Clone)]
pub struct ModuleSeed {
    /// Its name.
    pub name: String,
    /// This device.
    pub device: Identity,
    /// Ways to the others.
    pub ports: AgentPorts,
    /// Makes identities.
    pub registrar: Registrar,
    /// The delay before its first restart.
    pub restart_backoff: Duration,
    /// This boot of the machine.
    pub boot: String,
    /// What it is to be; none: it is to be removed.
    pub assignment: Option<Assignment>,
    /// Who is told of changes.
    pub changed: Recipient<ModuleChanged>,
}

impl Module {
    /// A module that knows nothing of its container yet.
    pub fn new(seed: ModuleSeed, obituary: Obituary) -> Self {
        let policy = seed.assignment.as_ref().map(|it| it.spec.restart_policy);
        let version = seed.assignment.as_ref().map_or(0, |it| it.version);
        Module {
            state: ModuleState { name: seed.name.clone(), version, ..ModuleState::default() },
            name: seed.name,
            device: seed.device,
            ports: seed.ports,
            registrar: seed.registrar,
            assignment: seed.assignment,
            worker: None,
            birth: 0,
            worker_log: RestartLog::new(RestartPolicy::Always, Intensity::NEVER_ESCALATES),
            worker_restarts: 0,
            worker_error: None,
            restarts: Restarts::new(policy.unwrap_or(RestartPolicy::Never), seed.restart_backoff),
            restart_backoff: seed.restart_backoff,
            boot: seed.boot,
            run: None,
            kept: Kept::default(),
            saved: None,
            updating: Updating::default(),
            timer: None,
            is_unwatched: true,
            ending: None,
            is_halted: false,
            changed: seed.changed,
            obituary,
        }
    }

    /// Replaces the worker, if there is one: its container goes on.
    fn start_worker(&mut self, start_ended: bool, ctx: &mut Context<Self>) {
        self.stop_worker();
        self.stop_timer(ctx);
        let Some(assignment) = self.task().filter(|_| self.is_restored()) else { return };
        if let Some(obstacle) = &assignment.obstacle {
            let why = obstacle.clone();
            self.change(|state| {
                state.status = ModuleStatus::Failed;
                state.applied = Applied::Failed(why.clone());
                state.is_up = true; // it never will be, on this device: nobody waits for it
                state.why = why;
            });
            return;
        }
        self.birth += 1;
        self.ending = None;
        self.worker_log.on_started(clock::now());
        let own = ctx.address();
        let worker = Container::new(
            Task { assignment, start_ended, image: self.updating.image() },
            self.device.clone(),
            self.ports.clone(),
            self.registrar.clone(),
            own.clone().recipient(),
            Obituary::new(self.obituary.path(), "container", self.birth, own.recipient()),
        );
        let worker = worker.start();
        let look = worker.clone().recipient();
        self.worker = Some(Worker { running: Running::worker(&worker), look });
    }

    fn stop_worker(&mut self) {
        self.birth += 1; // what it still tells is no news
        if let Some(worker) = self.worker.take() {
            worker.running.shutdown.do_send(crate::messages::supervision::Shutdown); // idempotent
        }
    }

    fn stop_timer(&mut self, ctx: &mut Context<Self>) {
        if let Some(timer) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        self.state.next_attempt = None;
    }

    /// Does what the rule says, and tells so; `again` says in the audit log what it is then.
    fn go_on(&mut self, next: Next, why: String, again: &'static str, ctx: &mut Context<Self>) {
        self.worker = None;
        self.stop_timer(ctx);
        match next {
            Next::Rest(status) => {
                let why = format!("{why}; {}", self.not_again());
                self.change(|state| {
                    state.status = status;
                    state.is_up = true;
                    state.is_done = status == ModuleStatus::Stopped;
                    state.why = why;
                });
            }
            Next::Again(delay, status) => {
                self.timer = Some(ctx.run_later(delay, move |this, ctx| {
                    this.timer = None;
                    let restarts = this.restarts.in_a_row();
                    let now = Some(clock::unix_time());
                    let (module, why) = (&this.name, &this.state.why);
                    tracing::info!(target: "audit", module, restarts, why, "{again}");
                    this.change(|state| {
                        state.restarts = restarts;
                        state.last_restart = now;
                        state.next_attempt = None;
                    });
                    this.kept.last_restart = now;
                    this.keep();
                    this.start_worker(true, ctx);
                }));
                self.change(|state| {
                    state.status = status;
                    (state.is_up, state.is_done) = (false, false);
                    state.why = why;
                    state.next_attempt = Some(clock::now() + delay);
                });
            }
        }
        self.keep();
    }

    /// Changes the state, and tells if it is another one then.
    fn change(&mut self, change: impl FnOnce(&mut ModuleState)) {
        let before = self.state.clone();
        change(&mut self.state);
        if self.state.status != before.status {
            self.state.since = Some(clock::unix_time());
            tracing::info!(module = self.name, status = %self.state.status, why = self.state.why, "module");
        }
        if self.state != before {
            self.tell();
        }
    }

    fn tell(&self) {
        self.changed.do_send(ModuleChanged(self.state.clone())); // the last one counts
    }
}

/// In the audit log: its run ended, and its policy wants another one.
const RESTARTED: &str = "restarted by its policy";
/// In the audit log: it could not be brought up.
const TRIED_AGAIN: &str = "tried again";

impl Actor for Module {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let read = kept::read(self.ports.clone(), self.name.clone()).into_actor(self);
        ctx.spawn(read.map(|kept, this, ctx| {
            this.restore(kept);
            if !this.is_halted {
                this.start_worker(false, ctx);
            }
        }));
    }
}

impl Supervised for Module {
    fn obituary(&mut self) -> &mut Obituary {
        &mut self.obituary
    }

    fn health(&self) -> Health {
        let line = self.state.line();
        let separator = if line.is_empty() { "" } else { ": " };
        Health { state: format!("{}{separator}{line}", self.state.status) }
    }

    fn shut_down(&mut self, ctx: &mut Context<Self>) {
        self.stop_worker();
        ctx.stop();
    }
}
crate::supervised!(Module);

/// Even a module that panics leaves no worker behind.
impl Drop for Module {
    fn drop(&mut self) {
        self.stop_worker();
    }
}

impl Handler<Adapt> for Module {
    type Result = ();

    fn handle(&mut self, Adapt(new): Adapt, ctx: &mut Self::Context) {
        let new = *new;
        let version = new.version;
        let before = self.assignment.replace(new.clone());
        if !self.is_restored() {
            self.state.version = version;
            return self.restarts.set_policy(new.spec.restart_policy); // it is started with this
        }
        if before.clone().is_some_and(|before| Assignment { version, ..before } == new) {
            self.state.version = version;
            self.tell(); // who assigns wants to know that it is settled
            return;
        }
        let is_same = before.as_ref().is_some_and(|it| is_same(&it.want, &new.want));
        let is_same = is_same && !self.is_halted;
        // What is wanted anew is started anew; what is replaced is not.
        let is_replaced = before.as_ref().is_some_and(|it| it.want.hash != new.want.hash);
        self.forget_update(ctx);
        self.is_halted = false;
        self.restarts.set_policy(new.spec.restart_policy);
        if is_same {
            self.change(|state| state.version = version);
        } else {
            self.restarts = Restarts::new(new.spec.restart_policy, self.restart_backoff);
            self.forget();
            self.change(|state| {
                state.version = version;
                state.applied = Applied::Pending;
                (state.is_up, state.is_done) = (false, false);
                state.restarts = 0;
                state.why = String::new();
            });
        }
        let has_same_log_in = before.as_ref().is_some_and(|it| it.credential == new.credential);
        let may_help = !has_same_log_in && matches!(self.state.applied, Applied::Failed(_));
        let is_waiting = self.timer.is_some() && is_same && !may_help;
        if !is_waiting {
            self.start_worker(!is_same && !is_replaced, ctx);
        }
    }
}

/// Whether the one is as good as the other for a container that is there: the order of modules
/// counts before that only.
fn is_same(before: &Want, new: &Want) -> bool {
    Want { startup_order: new.startup_order, ..before.clone() } == *new
}

impl Handler<Look> for Module {
    type Result = ();

    fn handle(&mut self, look: Look, ctx: &mut Self::Context) {
        self.is_unwatched |= look.was_away;
        if self.is_halted {
            return;
        }
        match &self.worker {
            Some(worker) => worker.look.do_send(look), // idempotent
            // It rests: somebody may have started it.
            None if self.timer.is_none() => self.start_worker(false, ctx),
            None => {}
        }
    }
}

impl Handler<ChildExited> for Module {
    type Result = ();

    fn handle(&mut self, exited: ChildExited, ctx: &mut Self::Context) {
        if exited.birth != self.birth || self.worker.is_none() {
            return; // an earlier worker
        }
        self.on_worker_gone(exited, ctx);
    }
}

impl Handler<TakeSnapshot> for Module {
    type Result = ResponseFuture<Vec<Snapshot>>;

    fn handle(&mut self, _: TakeSnapshot, _: &mut Self::Context) -> Self::Result {
        let running = self.worker.as_ref().map(|worker| worker.running.clone());
        let (restarts, error) = (self.worker_restarts, self.worker_error.clone());
        Box::pin(async move { snapshot_of("container".into(), running, restarts, error).await })
    }
}

impl Handler<PanicAt> for Module {
    type Result = ResponseFuture<bool>;

    fn handle(&mut self, PanicAt(path): PanicAt, _: &mut Self::Context) -> Self::Result {
        let is_there = path.first().is_some_and(|first| first == "container");
        let worker = self.worker.as_ref().filter(|_| is_there).map(|it| it.running.clone());
        panic_below(worker, path.into_iter().skip(1).collect())
    }
}
