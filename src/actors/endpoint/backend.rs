//! What a connection needs of the hub behind it: ports, filled by EdgeHub or by localhub.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::actors::port::Port;
use crate::messages::identities::LogIn;
use crate::messages::queue::{Finish, Ingest, Pull};
use crate::messages::registry::AskScope;
use crate::messages::sessions::{
    Attach, Closed, Detach, MethodAnswered, Open, PresenceChanged, Settle, Subscribe,
};
use crate::messages::twins::{GetTwin, PatchReported};

/// See the module documentation. Cheap to clone.
#[derive(Clone, Default)]
pub struct Backend {
    /// Who may come in.
    pub log_in: Port<LogIn>,
    /// Takes messages.
    pub ingest: Port<Ingest>,
    /// What is owed to a client …
    pub pull: Port<Pull>,
    /// … and how it ended.
    pub finish: Port<Finish>,
    /// Twins.
    pub get_twin: Port<GetTwin>,
    /// Reported properties.
    pub patch_reported: Port<PatchReported>,
    /// Settlement of cloud-to-device messages that the parent holds.
    pub settle: Port<Settle>,
    /// Who came and left, and with which features.
    pub presence: Port<PresenceChanged>,
    /// Sessions.
    pub open: Port<Open>,
    /// Sessions.
    pub closed: Port<Closed>,
    /// Sessions.
    pub subscribe: Port<Subscribe>,
    /// Sessions.
    pub method_answered: Port<MethodAnswered>,
    /// Sessions, for identities behind an edge.
    pub attach: Port<Attach>,
    /// Sessions, for identities behind an edge.
    pub detach: Port<Detach>,
    /// Scope and look-ups of an edge on its link (localhub).
    pub scope: Port<AskScope>,
    /// Whether clients are let in.
    pub readiness: Readiness,
}

/// Which parts of the process are ready, and why others are not. `/readyz` shows it; until all
/// are, clients get CONNACK 3.
#[derive(Clone, Default)]
pub struct Readiness(Rc<RefCell<BTreeMap<&'static str, Option<String>>>>);

impl Readiness {
    /// `part` is not ready, for this reason.
    pub fn waits(&self, part: &'static str, why: impl Into<String>) {
        self.0.borrow_mut().insert(part, Some(why.into()));
    }

    /// `part` is ready.
    pub fn is_ready(&self, part: &'static str) {
        self.0.borrow_mut().insert(part, None);
    }

    /// The first part that is not ready, and why.
    pub fn missing(&self) -> Option<String> {
        let parts = self.0.borrow();
        parts.iter().find_map(|(part, why)| why.as_ref().map(|why| format!("{part}: {why}")))
    }

    /// All parts, with why not.
    pub fn parts(&self) -> Vec<(&'static str, Option<String>)> {
        self.0.borrow().iter().map(|(part, why)| (*part, why.clone())).collect()
    }
}
