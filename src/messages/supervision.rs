//! What every supervised actor, and every supervisor, answers to.

use std::time::Duration;

use actix::Message;
use serde::Serialize;

use crate::domain::restart::Exit;

/// A child is gone; it was told of once, whichever way it went.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct ChildExited {
    /// Name of the child in its supervisor.
    pub child: String,
    /// Which start of it: a late notice of an earlier one is ignored.
    pub birth: u64,
    /// How it left.
    pub exit: Exit,
    /// Why, in words.
    pub why: String,
}

/// Ordered stop: finish what must be finished, then stop the context. A child that is not gone
/// by its deadline is left behind.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Shutdown;

/// Asks an actor how it does. An answer that does not come is an answer too.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Health")]
pub struct Probe;

/// What an actor says of itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Health {
    /// One line for an operator; empty if there is nothing to say.
    pub state: String,
}

/// Test builds only (`--features faults`): the actor panics when it gets this.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Panic;

/// Asks a supervisor for itself and everything below it.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Vec<Snapshot>")]
pub struct TakeSnapshot;

/// One actor of the running tree.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Snapshot {
    /// From the root, as `edge-runtime/core/services/edge-hub/queue`.
    pub path: String,
    /// `running`, `waiting` (for its restart), `stopped`, `unresponsive`.
    pub status: String,
    /// What it says of itself.
    pub health: Health,
    /// How long it took to answer the probe: the age of the oldest message in its mailbox.
    pub lag: Option<Duration>,
    /// Restarts since the process began.
    pub restarts: u64,
    /// Why it was last restarted.
    pub last_error: Option<String>,
}

/// Test builds only: the actor at this path below the receiver panics. Answers whether there is
/// one.
#[derive(Clone, Debug, Message)]
#[rtype(result = "bool")]
pub struct PanicAt(pub Vec<String>);
