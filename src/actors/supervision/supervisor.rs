//! A supervisor: starts its children top to bottom, watches them, restarts them by the rule of
//! the tree, escalates, and stops them bottom to top. It does nothing else.
//!
//! ```text
//!  child dies ─► ChildExited ─► domain/restart ─► leave │ restart after a delay │ escalate
//!                                                          │                        │
//!        younger siblings stop (rest_for_one) ◄────────────┘   all stop, then fail ◄┘
//! ```

use std::collections::BTreeSet;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;

use super::child::{Child, Factory, Running};
use super::{Obituary, Supervised};
use crate::actors::clock;
use crate::domain::restart::{Exit, RestartLog, Verdict};
use crate::domain::tree::{Node, Strategy, restarted_with};
use crate::messages::supervision::{ChildExited, Health, PanicAt};

/// A child that is told to stop has this long; then it is left behind.
const DEADLINE: Duration = Duration::from_secs(5);

/// See the module documentation.
pub struct Supervisor {
    pub(super) name: &'static str,
    strategy: Strategy,
    pub(super) children: Vec<Child>,
    /// What is to be done once the children that were told to stop are gone.
    then: Then,
    obituary: Obituary,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Then {
    Nothing,
    /// Start these after the delay.
    Restart(BTreeSet<usize>, Duration),
    /// Stop the next one up, then this supervisor.
    Stop,
}

impl Supervisor {
    /// Starts the tree below `node`, which must be a supervisor.
    pub fn start_tree(
        node: &'static Node,
        factory: &Rc<dyn Factory>,
        obituary: Obituary,
    ) -> Running {
        let Node::Supervisor(name, strategy, _, nodes) = node else {
            unreachable!("the root of a tree is a supervisor");
        };
        let children = nodes.iter().map(|node| child_of(node, factory)).collect();
        let (strategy, then) = (*strategy, Then::Nothing);
        let supervisor = Supervisor { name, strategy, children, then, obituary };
        Running::owner(&supervisor.start())
    }

    fn start_child(&mut self, index: usize, ctx: &mut Context<Self>) {
        let supervisor = ctx.address().recipient();
        let child = &mut self.children[index];
        child.birth += 1;
        child.is_leaving = false;
        child.log.on_started(clock::now());
        let obituary = Obituary::new(&child.name, child.birth, supervisor);
        child.running = Some((child.start)(obituary));
    }

    fn start_all(&mut self, indices: impl IntoIterator<Item = usize>, ctx: &mut Context<Self>) {
        for index in indices {
            if self.children[index].running.is_none() && self.then != Then::Stop {
                self.start_child(index, ctx);
            }
        }
    }

    fn on_unexpected(&mut self, index: usize, exit: Exit, why: String, ctx: &mut Context<Self>) {
        let child = &mut self.children[index];
        let verdict = child.log.on_exit(exit, clock::now());
        tracing::warn!(supervisor = self.name, child = child.name, ?exit, %why, ?verdict, "actor ended");
        child.last_error = Some(format!("{exit:?}: {why}"));
        match verdict {
            Verdict::Leave => {}
            Verdict::Restart(delay) => {
                let range = restarted_with(self.strategy, index, self.children.len());
                self.restart(range, delay, ctx);
            }
            Verdict::Escalate => {
                let why = format!("{} failed too often: {why}", child.name);
                tracing::error!(supervisor = self.name, %why, "supervisor gives up");
                self.obituary.failed(why);
                self.stop_next(ctx);
            }
        }
    }

    fn restart(&mut self, range: Range<usize>, delay: Duration, ctx: &mut Context<Self>) {
        for index in range.clone() {
            self.children[index].restarts += 1;
        }
        for index in range.clone().rev() {
            self.children[index].tell_to_stop();
            self.leave_behind_later(index, ctx);
        }
        self.then = match std::mem::replace(&mut self.then, Then::Nothing) {
            Then::Nothing => Then::Restart(range.collect(), delay),
            Then::Restart(more, longer) => {
                Then::Restart(more.into_iter().chain(range).collect(), delay.max(longer))
            }
            Then::Stop => Then::Stop,
        };
        self.go_on(ctx);
    }

    /// Goes on once nobody is expected to leave any more.
    fn go_on(&mut self, ctx: &mut Context<Self>) {
        if self.children.iter().any(|child| child.is_leaving) {
            return;
        }
        match std::mem::replace(&mut self.then, Then::Nothing) {
            Then::Nothing => {}
            Then::Restart(indices, delay) => {
                ctx.run_later(delay, move |this, ctx| this.start_all(indices, ctx));
            }
            Then::Stop => self.stop_next(ctx),
        }
    }

    /// Stops the youngest child that runs; when none does, itself.
    fn stop_next(&mut self, ctx: &mut Context<Self>) {
        self.then = Then::Stop;
        match self.children.iter().rposition(|child| child.running.is_some()) {
            Some(index) => {
                self.children[index].tell_to_stop();
                self.leave_behind_later(index, ctx);
            }
            None => ctx.stop(),
        }
    }

    fn leave_behind_later(&mut self, index: usize, ctx: &mut Context<Self>) {
        let birth = self.children[index].birth;
        // A supervisor below needs the time of all its own children.
        let deadline = match self.children[index].running {
            Some(Running { snapshot: Some(_), .. }) => DEADLINE * 4,
            _ => DEADLINE,
        };
        ctx.run_later(deadline, move |this, ctx| {
            let child = &mut this.children[index];
            if child.birth == birth && child.is_leaving {
                tracing::error!(supervisor = this.name, child = child.name, "left behind");
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
        self.start_all(0..self.children.len(), ctx);
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
        for child in self.children.iter_mut().rev() {
            child.tell_to_stop();
        }
    }
}

impl Handler<ChildExited> for Supervisor {
    type Result = ();

    fn handle(&mut self, exited: ChildExited, ctx: &mut Self::Context) {
        let ChildExited { child, birth, exit, why } = exited;
        let Some(index) = self.children.iter().position(|other| other.name == child) else {
            return;
        };
        let child = &mut self.children[index];
        if child.birth != birth || child.running.is_none() {
            return; // an earlier life
        }
        child.running = None;
        if std::mem::take(&mut child.is_leaving) {
            self.go_on(ctx);
        } else if self.then == Then::Stop {
            self.stop_next(ctx);
        } else {
            self.on_unexpected(index, exit, why, ctx);
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
