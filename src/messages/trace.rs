//! What the `queue` tells of single messages: what waits for a route, and the life of one message.

use std::collections::BTreeMap;

use actix::Message;
use serde::{Deserialize, Serialize};

use super::state::StoreError;

/// The life of a message, by its id or by the message id that its client gave it; the newest of
/// several. Reads all that is stored if it is not to be had otherwise.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Option<Life>, StoreError>")]
pub struct Trace(pub String);

/// What a route has stored, in order of sending, at most so many of each endpoint.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Peeked, StoreError>")]
pub struct Peek {
    /// Name.
    pub route: String,
    /// Most.
    pub max: usize,
    /// With properties, and bodies up to this length.
    pub body: Option<usize>,
}

/// See [`Peek`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peeked {
    /// What waits.
    pub items: Vec<Waiting>,
    /// So many rows of other routes were passed, and more were not looked at.
    pub passed: Option<usize>,
}

/// See [`Peek`].
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// Of the message.
    pub id: String,
    /// Who sent it.
    pub sender: String,
    /// Since it was stored, in seconds of store time.
    pub age_seconds: u64,
    /// Where.
    pub place: Place,
    /// By name in the topic; only if asked for.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub properties: BTreeMap<String, String>,
    /// The beginning; only if asked for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub body: Option<Vec<u8>>,
}

/// Bodies are never logged.
impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at {:?}", self.id, self.place)
    }
}

/// See [`Trace`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    /// Store and number.
    pub id: String,
    /// `$.mid`, as its client gave it.
    pub message_id: Option<String>,
    /// Who sent it.
    pub sender: String,
    /// Of properties and body.
    pub bytes: u64,
    /// Since it was received, in seconds of store time.
    pub age_seconds: u64,
    /// No route took it.
    pub is_unrouted: bool,
    /// Each queue that it was put into.
    pub places: Vec<Place>,
}

/// A message in one queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// `$upstream` or `device/module`.
    pub endpoint: String,
    /// The input of the module, if the endpoint is one.
    pub input: Option<String>,
    /// The route that put it there.
    pub route: String,
    /// Of the route.
    pub priority: u8,
    /// Its place in the endpoint's queue.
    pub offset: u64,
    /// Of properties and body.
    pub bytes: u64,
    /// `waiting`, `paused`, `handed-out` (to whoever sends it; not acknowledged), or its end:
    /// `delivered`, `expired`, `dead-lettered`, `evicted`, `discarded`, `quarantined`; or `replayed`: at another place.
    pub state: String,
    /// How often it was handed out to be sent, as far as that is remembered,
    pub handed_out: u32,
    /// … and since the last time, in seconds.
    pub handed_out_seconds: Option<u64>,
    /// Since its end, in seconds of store time.
    pub ended_seconds: Option<u64>,
    /// Of a dead letter.
    pub why: Option<String>,
    /// Of a dead letter: how often it was sent.
    pub tries: Option<u32>,
}
