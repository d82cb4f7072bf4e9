//! Appends that found no room, in order.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::job::Job;

pub(super) struct Waiting<S> {
    line: VecDeque<Box<dyn Job<S>>>,
    /// How many pieces of each party.
    parties: HashMap<Arc<str>, usize>,
}

impl<S> Default for Waiting<S> {
    fn default() -> Self {
        Waiting { line: VecDeque::new(), parties: HashMap::new() }
    }
}

impl<S> Waiting<S> {
    pub(super) fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    /// Whether something of this party waits: what it hands in later must not overtake that.
    pub(super) fn has(&self, party: Option<&Arc<str>>) -> bool {
        party.is_some_and(|party| self.parties.contains_key(party))
    }

    pub(super) fn push(&mut self, job: Box<dyn Job<S>>) {
        if let Some(party) = job.party() {
            *self.parties.entry(Arc::clone(party)).or_default() += 1;
        }
        self.line.push_back(job);
    }

    /// The first, if `fits` says so.
    pub(super) fn pop_if(
        &mut self,
        fits: impl FnOnce(&dyn Job<S>) -> bool,
    ) -> Option<Box<dyn Job<S>>> {
        let job = self.line.pop_front_if(|job| fits(&**job))?;
        if let Some(party) = job.party()
            && let Some(count) = self.parties.get_mut(party)
        {
            *count -= 1;
            if *count == 0 {
                self.parties.remove(party);
            }
        }
        Some(job)
    }

    pub(super) fn take_all(&mut self) -> Vec<Box<dyn Job<S>>> {
        self.parties.clear();
        std::mem::take(&mut self.line).into()
    }
}
