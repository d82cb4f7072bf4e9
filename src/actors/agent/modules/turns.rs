//! Modules have their turn by `startupOrder`: a group waits until all of the one before are settled,
//! or their time is over. What runs as it is to needs no turn: it is looked after at once. What waits
//! says so: it is not carried out yet, whatever runs of it.

use std::collections::{BTreeSet, VecDeque};

use actix::prelude::*;

use super::Modules;
use crate::domain::agent::state::{Applied, ModuleState};
use crate::messages::modules::{Assignment, ModuleChanged, ModuleGone};

impl Modules {
    /// From the first group on.
    pub(super) fn take_turns(
        &mut self,
        groups: VecDeque<Vec<Assignment>>,
        running: &BTreeSet<String>,
        ctx: &mut Context<Self>,
    ) {
        let wanted: BTreeSet<&str> =
            groups.iter().flatten().map(|it| it.spec.name.as_str()).collect();
        for name in std::mem::take(&mut self.waiting).into_keys() {
            if !wanted.contains(name.as_str()) && !self.children.contains_key(&name) {
                self.ports.module_gone.tell(ModuleGone(name)); // it never had its turn
            }
        }
        for assignment in groups.iter().flatten().filter(|it| running.contains(&it.spec.name)) {
            self.adapt(assignment.clone(), ctx);
        }
        self.groups = groups;
        self.unsettled.clear();
        self.advance(ctx);
    }

    /// The next group, once all of the present one are settled.
    fn advance(&mut self, ctx: &mut Context<Self>) {
        while self.unsettled.is_empty() {
            let Some(group) = self.groups.pop_front() else { break };
            self.unsettled = group.iter().map(|it| it.spec.name.clone()).collect();
            for assignment in group {
                let name = assignment.spec.name.clone();
                self.adapt(assignment, ctx);
                if self.waiting.remove(&name).is_some() {
                    self.tell_of(&name); // as it says itself
                }
            }
        }
        if let Some(patience) = self.patience.take() {
            ctx.cancel_future(patience);
        }
        if !self.groups.is_empty() {
            self.note_waiting();
            self.patience = Some(ctx.run_later(self.config.startup_deadline, |this, ctx| {
                let slow = std::mem::take(&mut this.unsettled);
                tracing::warn!(?slow, "modules that start later do not wait for them any longer");
                this.advance(ctx);
            }));
        }
    }

    fn note_waiting(&mut self) {
        let before = self.unsettled.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let most = self.config.startup_deadline.as_secs();
        let why = format!("waits {most} s at most for {before}, by startupOrder");
        let later = self.groups.iter().flatten().filter(|new| {
            let child = self.children.get(&new.spec.name);
            child.is_none_or(|child| child.assignment.as_ref() != Some(*new))
        });
        self.waiting = later.map(|new| (new.spec.name.clone(), why.clone())).collect();
        self.waiting.keys().for_each(|name| self.tell_of(name));
    }

    /// What a module said last, and what is to be said of it beside that.
    fn tell_of(&self, name: &str) {
        let last = self.children.get(name).and_then(|child| child.last.clone());
        let nothing = || ModuleState { name: name.to_owned(), ..ModuleState::default() };
        let mut state = last.unwrap_or_else(nothing);
        if let Some(why) = self.waiting.get(name) {
            state.applied = Applied::Pending;
            state.why = match state.why.as_str() {
                "" => why.clone(),
                of_its_own => format!("{why}; {of_its_own}"),
            };
        }
        self.ports.module_changed.tell(ModuleChanged(state));
    }

    /// A module does otherwise than before.
    pub(super) fn on_module(&mut self, state: ModuleState, ctx: &mut Context<Self>) {
        let (name, is_settled) = (state.name.clone(), state.is_settled());
        if let Some(child) = self.children.get_mut(&name) {
            child.last = Some(state);
            self.tell_of(&name);
        }
        if is_settled && self.unsettled.remove(&name) && self.unsettled.is_empty() {
            self.advance(ctx);
        }
    }
}
