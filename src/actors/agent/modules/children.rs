//! The children of `modules`: started, replaced when they panic, removed when nobody wants them.

use std::time::Duration;

use actix::prelude::*;

use super::Modules;
use crate::actors::agent::module::{Module, ModuleSeed};
use crate::actors::clock;
use crate::actors::supervision::{Obituary, Running, report_end};
use crate::domain::agent::state::ModuleState;
use crate::domain::restart::{Exit, Intensity, RestartLog, RestartPolicy, Verdict};
use crate::messages::modules::{Adapt, Assignment, Halt, Look, ModuleGone};
use crate::messages::supervision::ChildExited;

/// What the name of each in the tree begins with.
const KIND: &str = "module ";

/// Name in the tree of the module of this name.
pub(super) fn kind_and(name: &str) -> String {
    format!("{KIND}{name}")
}

/// One module, across the lives of its actor.
pub(super) struct Child {
    pub(super) running: Option<Running>,
    pub(super) links: Option<Links>,
    /// None: it is to be removed.
    pub(super) assignment: Option<Assignment>,
    /// What it said last of how it does.
    pub(super) last: Option<ModuleState>,
    birth: u64,
    log: RestartLog,
    pub(super) restarts: u64,
    pub(super) last_error: Option<String>,
}

/// The ways to a module.
pub(super) struct Links {
    pub(super) adapt: Recipient<Adapt>,
    pub(super) look: Recipient<Look>,
    pub(super) halt: Recipient<Halt>,
}

impl Child {
    fn new(assignment: Option<Assignment>) -> Self {
        Child {
            running: None,
            links: None,
            assignment,
            last: None,
            birth: 0,
            log: RestartLog::new(RestartPolicy::Always, Intensity::NEVER_ESCALATES),
            restarts: 0,
            last_error: None,
        }
    }
}

impl Modules {
    /// A module is to be like this: told so, or started.
    pub(super) fn adapt(&mut self, assignment: Assignment, ctx: &mut Context<Self>) {
        let name = assignment.spec.name.clone();
        let child = self.children.entry(name.clone()).or_insert_with(|| Child::new(None));
        let was_removing = child.assignment.is_none();
        child.assignment = Some(assignment.clone());
        match &child.links {
            Some(links) if !was_removing => links.adapt.do_send(Adapt(Box::new(assignment))),
            Some(_) => {} // it is being removed: it is started anew when it is gone
            None => self.start_child(&name, ctx),
        }
    }

    /// Nobody wants it any more.
    pub(super) fn remove(&mut self, name: &str, ctx: &mut Context<Self>) {
        self.unsettled.remove(name);
        let child = self.children.entry(name.to_owned()).or_insert_with(|| Child::new(None));
        child.assignment = None;
        if child.links.is_none() {
            self.start_child(name, ctx);
        } else if let Some(links) = &child.links {
            links.halt.do_send(Halt::Remove); // idempotent
        }
    }

    pub(super) fn start_child(&mut self, name: &str, ctx: &mut Context<Self>) {
        let own = ctx.address();
        let Some(child) = self.children.get_mut(name) else { return };
        child.birth += 1;
        child.log.on_started(clock::now());
        let seed = ModuleSeed {
            name: name.to_owned(),
            device: self.config.device.clone(),
            ports: self.ports.clone(),
            registrar: self.registrar.clone(),
            restart_backoff: self.config.restart_backoff,
            boot: self.config.boot.clone(),
            assignment: child.assignment.clone(),
            changed: own.clone().recipient(),
        };
        let (above, kind) = (self.obituary.path(), kind_and(name));
        let obituary = Obituary::new(above, &kind, child.birth, own.recipient());
        let module = Module::new(seed, obituary).start();
        child.running = Some(Running::owner(&module));
        let links = Links {
            adapt: module.clone().recipient(),
            look: module.clone().recipient(),
            halt: module.recipient(),
        };
        if child.assignment.is_none() {
            links.halt.do_send(Halt::Remove); // idempotent
        }
        child.links = Some(links);
    }

    pub(super) fn on_child_gone(&mut self, exited: ChildExited, ctx: &mut Context<Self>) {
        let Some(name) = exited.child.strip_prefix(KIND).map(str::to_owned) else { return };
        let Some(child) = self.children.get_mut(&name) else { return };
        if child.birth != exited.birth {
            return; // an earlier life
        }
        child.running = None;
        child.links = None;
        if self.is_leaving {
            if self.children.values().all(|child| child.running.is_none()) {
                ctx.stop();
            }
            return;
        }
        let is_removed = exited.exit == Exit::Normal;
        if is_removed && child.assignment.is_none() {
            self.children.remove(&name);
            self.ports.module_gone.tell(ModuleGone(name));
            return;
        }
        let delay = if is_removed {
            Duration::ZERO // removed, and wanted again meanwhile
        } else {
            child.restarts += 1;
            let verdict = child.log.on_exit(exited.exit, clock::now());
            child.last_error = Some(report_end(&self.obituary.path(), &exited, verdict));
            match verdict {
                Verdict::Restart(delay) => delay, // its container runs on
                Verdict::Leave | Verdict::Escalate => Duration::from_secs(60),
            }
        };
        ctx.run_later(delay, move |this, ctx| {
            let is_down = this.children.get(&name).is_some_and(|child| child.links.is_none());
            if is_down && !this.is_leaving {
                this.start_child(&name, ctx);
            }
        });
    }
}
