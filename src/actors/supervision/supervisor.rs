//! A supervisor: starts its children top to bottom, watches them, restarts them by the rule of
//! the tree, escalates, and stops them bottom to top. It does nothing else.
//!
//! ```text
//!  child dies ─► ChildExited ─► domain/restart ─► leave │ restart after a delay │ escalate
//!                                                          │                        │
//!        younger siblings stop (rest_for_one) ◄────────────┘   all stop, then fail ◄┘
//! ```

use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::oneshot;

use super::child::{Child, Factory, Running};
use super::estate::{Estate, executor};
use super::{Obituary, Supervised, report_end};
use crate::actors::clock;
use crate::domain::restart::{Exit, RestartLog, Verdict};
use crate::domain::tree::{Node, Strategy, restarted_with};
use crate::messages::supervision::{ChildExited, Health, PanicAt};

/// See the module documentation.
pub struct Supervisor {
    strategy: Strategy,
    pub(super) children: Vec<Child>,
    /// All are to stop, bottom to top, and then this supervisor.
    is_stopping: bool,
    /// Who takes care of the children if it panics.
    executor: Option<oneshot::Sender<Estate>>,
    obituary: Obituary,
}

impl Supervisor {
    /// Starts the tree below `node`, which must be a supervisor.
    pub fn start_tree(
        node: &'static Node,
        factory: &Rc<dyn Factory>,
        obituary: Obituary,
    ) -> Running {
        let Node::Supervisor(_, strategy, _, nodes) = node else {
            unreachable!("the root of a tree is a supervisor");
        };
        let children = nodes.iter().map(|node| child_of(node, factory)).collect();
        let (strategy, is_stopping, executor) = (*strategy, false, Some(executor()));
        let supervisor = Supervisor { strategy, children, is_stopping, executor, obituary };
        Running::owner(&supervisor.start())
    }

    fn start_child(&mut self, index: usize, ctx: &mut Context<Self>) {
        let supervisor = ctx.address().recipient();
        let child = &mut self.children[index];
        child.birth += 1;
        child.is_leaving = false;
        child.due = None;
        child.log.on_started(clock::now());
        let above = self.obituary.path();
        let obituary = Obituary::new(above, &child.name, child.birth, supervisor);
        child.running = Some((child.start)(obituary));
    }

    fn on_unexpected(&mut self, index: usize, exited: &ChildExited, ctx: &mut Context<Self>) {
        let child = &mut self.children[index];
        let verdict = child.log.on_exit(exited.exit, clock::now());
        let words = report_end(&self.obituary.path(), exited, verdict);
        match verdict {
            Verdict::Leave => {}
            Verdict::Restart(delay) => {
                let range = restarted_with(self.strategy, index, self.children.len());
                self.restart(range, delay, ctx);
            }
            Verdict::Escalate => {
                let why = format!("{} failed too often: {words}", exited.child);
                tracing::error!(supervisor = self.obituary.path(), %why, "supervisor gives up");
                self.obituary.failed(why);
                self.stop_next(ctx);
            }
        }
        self.children[index].last_error = Some(words);
    }

    fn restart(&mut self, range: Range<usize>, delay: Duration, ctx: &mut Context<Self>) {
        let due = clock::now() + delay;
        for index in range.rev() {
            let child = &mut self.children[index];
            child.restarts += 1;
            child.due = child.due.max(Some(due)); // one that failed itself waits for its own, too
            child.tell_to_stop();
            self.leave_behind_later(index, ctx);
        }
        ctx.run_later(delay, Self::go_on);
    }

    /// Goes on once nobody is expected to leave any more: stops, or starts those whose time has
    /// come, in their order.
    fn go_on(&mut self, ctx: &mut Context<Self>) {
        if self.children.iter().any(|child| child.is_leaving) {
            return; // called again when it is gone
        }
        if self.is_stopping {
            return self.stop_next(ctx);
        }
        let now = clock::now();
        for index in 0..self.children.len() {
            match self.children[index].due {
                None => {}
                Some(due) if due <= now => self.start_child(index, ctx),
                // Those below may hold its address: they wait for it.
                Some(_) if self.strategy == Strategy::RestForOne => return,
                Some(_) => {}
            }
        }
    }

    /// Stops the youngest child that runs; when none does, itself.
    fn stop_next(&mut self, ctx: &mut Context<Self>) {
        self.is_stopping = true;
        match self.children.iter().rposition(|child| child.running.is_some()) {
            Some(index) => {
                self.children[index].tell_to_stop();
                self.leave_behind_later(index, ctx);
            }
            None => ctx.stop(),
        }
    }

    fn leave_behind_later(&mut self, index: usize, ctx: &mut Context<Self>) {
        let child = &self.children[index];
        let Some(deadline) = child.running.as_ref().map(Running::deadline) else { return };
        let birth = child.birth;
        ctx.run_later(deadline, move |this, ctx| {
            let child = &mut this.children[index];
            if child.birth == birth && child.is_leaving {
                let supervisor = this.obituary.path();
                tracing::error!(supervisor, child = child.name, "left behind");
                child.running = None;
                child.is_leaving = false;
                this.go_on(ctx);
            }
        });
    }
}

fn child_of(node: &'static Node, factory: &Rc<dyn Factory>) -> Child {
    let (policy, intensity) = node.rule().expect("a fixed child has a rule of its own");
    let factory = Rc::clone(factory);
    let is_static = |nodes: &[Node]| !nodes.iter().any(|node| matches!(node, Node::Each(..)));
    let start: super::child::Start = match node {
        Node::Supervisor(_, _, _, nodes) if is_static(nodes) => {
            Rc::new(move |obituary| Supervisor::start_tree(node, &factory, obituary))
        }
        _ => Rc::new(move |obituary| factory.start(node.name(), obituary)),
    };
    Child::new(node.name(), start, RestartLog::new(policy, intensity))
}

impl Actor for Supervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        for index in 0..self.children.len() {
            self.start_child(index, ctx);
        }
    }
}

impl Supervised for Supervisor {
    fn obituary(&mut self) -> &mut Obituary {
        &mut self.obituary
    }

    fn health(&self) -> Health {
        let down = self.children.iter().filter(|child| child.running.is_none());
        let down: Vec<_> = down.map(|child| child.name.as_str()).collect();
        Health { state: if down.is_empty() { String::new() } else { format!("down: {down:?}") } }
    }

    fn shut_down(&mut self, ctx: &mut Context<Self>) {
        self.stop_next(ctx);
    }
}
crate::supervised!(Supervisor);

/// Even a supervisor that panics leaves nobody running without supervision.
impl Drop for Supervisor {
    fn drop(&mut self) {
        let children = self.children.iter_mut().rev().filter_map(|child| child.running.take());
        let children: Vec<_> = children.collect();
        if let Some(executor) = self.executor.take().filter(|_| !children.is_empty()) {
            let mut obituary = std::mem::replace(&mut self.obituary, Obituary::unsupervised());
            obituary.note_panic();
            let _ = executor.send(Estate { children, obituary }); // gone only with everything
        }
    }
}

impl Handler<ChildExited> for Supervisor {
    type Result = ();

    fn handle(&mut self, exited: ChildExited, ctx: &mut Self::Context) {
        let Some(index) = self.children.iter().position(|one| one.name == exited.child) else {
            return;
        };
        let child = &mut self.children[index];
        if child.birth != exited.birth || child.running.is_none() {
            return; // an earlier life
        }
        child.running = None;
        if std::mem::take(&mut child.is_leaving) || self.is_stopping {
            if exited.exit == Exit::Panicked {
                report_end(&self.obituary.path(), &exited, Verdict::Leave);
            }
            self.go_on(ctx);
        } else {
            self.on_unexpected(index, &exited, ctx);
        }
    }
}

impl Handler<PanicAt> for Supervisor {
    type Result = ResponseFuture<bool>;

    fn handle(&mut self, PanicAt(mut path): PanicAt, _: &mut Self::Context) -> Self::Result {
        let first = if path.is_empty() { String::new() } else { path.remove(0) };
        let child = self.children.iter().find(|child| child.name == first);
        super::panic_below(child.and_then(|child| child.running.clone()), path)
    }
}
