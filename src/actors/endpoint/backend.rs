//! What a connection needs of the hub behind it: ports, filled by EdgeHub or by localhub.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;

use super::budget::{Budget, hold};
use super::local::Local;
use crate::actors::port::Port;
use crate::messages::chain::Chain;
use crate::messages::identities::LogIn;
use crate::messages::queue::{Finish, Ingest, Pull, Refused, Telemetry, Verdict};
use crate::messages::registry::AskScope;
use crate::messages::sessions::{
    Attach, Closed, Detach, MethodAnswered, Open, PresenceChanged, Settle, Subscribe,
};
use crate::messages::state::StoreError;
use crate::messages::twins::{DesiredTaken, GetTwin, PatchReported, TwinAnswer, WatchDesired};

/// A log-in may need the parent.
pub(super) const LOG_IN: Duration = Duration::from_secs(30);

/// A disk that is full or stalls holds back PUBACKs; a client is not kept for ever.
const STORE: Duration = Duration::from_secs(300);

/// What is handed in stays in line, and in memory, until the disk takes it.
const IN_LINE: Duration = Duration::from_secs(86_400);

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
    /// Who has asked for patches of desired properties (EdgeHub).
    pub watch_desired: Port<WatchDesired>,
    /// What clients have taken of that (EdgeHub).
    pub desired_taken: Port<DesiredTaken>,
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
    /// Arbitrary topics between clients; `None`: off, or a hub without.
    pub local: Option<Local>,
    /// Whether clients are let in.
    pub readiness: Readiness,
    /// Whether there is room for messages (EdgeHub); a hub that says nothing has some.
    pub fullness: Fullness,
    /// Counts messages that found none.
    pub refused: Port<Refused>,
    /// Id of this edge device: its `$edgeHub` reports who is connected (EdgeHub).
    pub edge_device: Option<String>,
}

impl Backend {
    /// Closes who was let in moments ago if it is not let in now. Changes reach it from now on;
    /// those made since it was let in have not.
    pub(super) fn check_again<A: Actor<Context = Context<A>>>(
        &self,
        log_in: Option<Box<LogIn>>,
        close: fn(&mut A, &str, &mut Context<A>),
        ctx: &mut Context<A>,
    ) {
        let Some(log_in) = log_in else { return };
        let answer = actix::fut::wrap_future::<_, A>(self.log_in.ask(*log_in, LOG_IN));
        let checked = answer.map(move |answer, actor, ctx| {
            if let Ok(Err(refusal)) = answer {
                close(actor, &refusal.to_string(), ctx);
            }
        });
        ctx.spawn(checked);
    }

    /// Hands messages to whoever stores them; their room stays taken until they are on disk. An
    /// error means that none of them may be acknowledged.
    pub(super) fn store(
        &self,
        budget: &Rc<Budget>,
        batch: Vec<Telemetry>,
        chain: Option<Chain>,
    ) -> impl Future<Output = Result<Vec<Verdict>, StoreError>> + 'static + use<> {
        let stored = hold(Rc::clone(budget), self.ingest.ask(Ingest(batch, chain), IN_LINE));
        let stored = tokio::time::timeout(STORE, stored);
        async move {
            let stored = stored.await.ok().flatten().and_then(Result::ok);
            stored.unwrap_or(Err(StoreError::Unavailable))
        }
    }

    /// Patches reported properties. A client may hang up right behind its patch.
    pub(super) fn patch(
        &self,
        patch: PatchReported,
        deadline: Duration,
    ) -> impl Future<Output = Option<TwinAnswer>> + 'static + use<> {
        let patched = actix::spawn(self.patch_reported.ask(patch, deadline));
        async move { patched.await.ok()?.ok() }
    }
}

/// Whether the queue has no room for new messages now: those of `QoS` 1 wait, others are refused.
#[derive(Clone, Default)]
pub struct Fullness(Rc<Cell<bool>>);

impl Fullness {
    /// There is none, or there is.
    pub fn set(&self, is_full: bool) {
        self.0.set(is_full);
    }

    /// Whether there is none.
    pub fn is_full(&self) -> bool {
        self.0.get()
    }
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

    /// Why this part is not ready; `None` if it is, or said nothing yet.
    pub fn why_not(&self, part: &str) -> Option<String> {
        self.0.borrow().get(part).cloned().flatten()
    }

    /// All parts, with why not.
    pub fn parts(&self) -> Vec<(&'static str, Option<String>)> {
        self.0.borrow().iter().map(|(part, why)| (*part, why.clone())).collect()
    }
}
