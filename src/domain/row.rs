//! A row of the store-and-forward queue: what is owed to an endpoint, and how it ends.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::bag::Bag;
use super::identity::Identity;

/// Place of a message in the queue, in order of arrival. The first is at 1.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Offset(pub u64);

/// Priority of the route that took the message: 0 to 9, or [`Priority::DEFAULT`]. The lowest
/// number goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Priority(pub u8);

impl Priority {
    /// Of a route that names none: after all that do.
    pub const DEFAULT: Priority = Priority(10);
}

/// Whose rows: the parent, or one client (its inputs, or its cloud-to-device messages, merged).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Endpoint(pub Arc<str>);

const UPSTREAM: &str = "$upstream";

impl Endpoint {
    /// The parent.
    pub fn upstream() -> Self {
        Endpoint(UPSTREAM.into())
    }

    /// Whether it is the parent.
    pub fn is_upstream(&self) -> bool {
        &*self.0 == UPSTREAM
    }

    /// A client that connects here.
    pub fn client(identity: &Identity) -> Self {
        Endpoint(identity.text())
    }
}

/// Key of a row within its endpoint. Keys sort in the order of a pull.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    /// The winning route's priority.
    pub priority: Priority,
    /// The message's place in the queue.
    pub offset: Offset,
}

/// What makes a record recognisable to the parent when it comes twice (link.md, effectively once).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Random per start of the writer that stored it.
    pub run: u64,
    /// Its number in the endpoint, across priorities.
    pub seq: u64,
}

/// One message, owed to one endpoint.
#[derive(Clone, PartialEq, Eq)]
pub struct Row {
    /// Where it stands.
    pub key: Key,
    /// Whose lane it is in.
    pub sender: Identity,
    /// The route that owes it; empty for a cloud-to-device message.
    pub route: Arc<str>,
    /// The input of the module, if the endpoint is one.
    pub input: Option<Arc<str>>,
    /// For `$upstream` only.
    pub stamp: Option<Stamp>,
    /// All properties.
    pub bag: Bag,
    /// Opaque.
    pub body: Bytes,
}

/// Bodies are never logged.
impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {}, {} bytes", self.key, self.sender, self.body.len())
    }
}

/// How a row ended (architecture 4.7).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// The endpoint has it.
    Delivered,
    /// Its time to live was over.
    Expired,
    /// The endpoint will never take it.
    DeadLettered {
        /// Its reason.
        why: String,
        /// How often it was sent, as far as is known.
        tries: u32,
    },
    /// The budget's policy.
    Evicted,
    /// An operator.
    Discarded,
    /// Its record was damaged.
    Quarantined,
}
