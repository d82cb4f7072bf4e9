//! What the store asks of the route table: where a message goes, and how long it lives.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::domain::bag::Bag;
use crate::domain::identity::Identity;
use crate::domain::resent::Transmission;
use crate::domain::row::{Endpoint, Priority, Stamp};

/// A message to be stored.
#[derive(Clone)]
pub struct Message {
    /// Who sent it.
    pub sender: Identity,
    /// All properties.
    pub bag: Bag,
    /// Opaque.
    pub body: Bytes,
    /// If it came over the link of an edge: it may come twice.
    pub link: Option<Link>,
    /// If a client of our own sent it: it may come twice, too.
    pub transmission: Option<Transmission>,
}

/// What an edge has stamped a message with (link.md, effectively once).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Device id of the edge.
    pub edge: String,
    /// Run and number of its record.
    pub stamp: Stamp,
    /// Lowest number that the edge still owes.
    pub low: u64,
}

/// Bodies are never logged.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "message of {}, {} bytes", self.sender, self.body.len())
    }
}

/// A queue that a message goes to, and the route that put it there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Win {
    /// Whose queue.
    pub endpoint: Endpoint,
    /// The input of the module, if the endpoint is one.
    pub input: Option<Arc<str>>,
    /// Name; empty for a cloud-to-device message.
    pub route: Arc<str>,
    /// Of the route.
    pub priority: Priority,
    /// Of the route, or of the message if there is no route; counts once the route is gone.
    pub time_to_live: Option<Duration>,
}

/// How long messages of a route live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// There is no such route (any more): as long as was noted with the message.
    Unknown,
    /// As all messages whose route says nothing.
    Global,
    /// So long.
    Own(Duration),
}

/// The routes in force.
pub trait Matcher: Send + Sync {
    /// Where the message goes; nowhere: it is unrouted.
    fn winners(&self, message: &Message) -> Vec<Win>;

    /// Where the message comes from, as routes name it.
    fn source(&self, _: &Message) -> String {
        String::new()
    }

    /// How long messages of `route` live.
    fn lifetime(&self, route: &str) -> Lifetime;
}
