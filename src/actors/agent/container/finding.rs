//! What is asked about a container that runs, once per run: the answer comes later, and is a note of
//! the module for as long as it is a bad one.

use std::fmt::Debug;

use actix::prelude::*;

use super::Container;

/// What is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// Not asked, or nobody could say.
    Unknown,
    /// Being asked.
    Asking,
    /// All is well.
    Good,
    /// What is to be said of it.
    Bad(String),
}

impl Finding {
    /// A note, with what is to be said.
    pub(super) fn added_to(&self, note: String) -> String {
        match (self, note.is_empty()) {
            (Finding::Bad(said), true) => said.clone(),
            (Finding::Bad(said), false) => format!("{note}; {said}"),
            _ => note,
        }
    }

    /// To be asked, which is done once, and again at every look while it is bad: what was known
    /// before. `None`: there is nothing to ask.
    pub(super) fn ask(&mut self) -> Option<Finding> {
        if matches!(self, Finding::Asking | Finding::Good) {
            return None;
        }
        let before = self.clone();
        if !before.is_bad() {
            *self = Finding::Asking; // what is bad is said until it is known to be otherwise
        }
        Some(before)
    }

    fn is_bad(&self) -> bool {
        matches!(self, Finding::Bad(_))
    }
}

impl Container {
    /// What was found is another than `before`, so that it is to be said, or no more.
    pub(super) fn on_found(
        &mut self,
        found: &Finding,
        before: &Finding,
        what: &str,
        ctx: &mut Context<Self>,
    ) {
        if found != before && (found.is_bad() || before.is_bad()) {
            let module = &self.job.assignment.spec.name;
            tracing::warn!(module, ?found, "{what}");
            self.look(ctx);
        }
    }
}
