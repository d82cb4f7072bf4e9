//! What `upstream` answers to, and what it tells those who have plugged themselves in.

use actix::Message;
use bytes::Bytes;
use serde::Serialize;

use crate::domain::identity::Identity;

/// A request on the link (link.md, the rows with `$rid`). Answered, or `Err` if the link is not
/// up, or goes down, or nothing came within the deadline.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<LinkAnswer, NotConnected>")]
pub struct Request {
    /// `I` of the topic.
    pub identity: Identity,
    /// What.
    pub what: Ask,
}

/// See [`Request`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Read the twin.
    TwinGet,
    /// Send reported properties: JSON.
    TwinPatch(Bytes),
    /// The scope, from this version on; a page.
    Scope(u64),
    /// One identity.
    Lookup,
}

/// The parent's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkAnswer {
    /// HTTP-like.
    pub status: u16,
    /// JSON, or nothing.
    pub body: Bytes,
    /// `$version`, if it was given.
    pub version: Option<u64>,
}

/// There is no link now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the parent is not connected")]
pub struct NotConnected;

/// The link came up, or went down. A notice to `twins`, `identities` and `sessions`.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct LinkChanged {
    /// It is up: everything is to be established anew.
    pub is_up: bool,
}

/// How the link stands.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "LinkStatus")]
pub struct GetLinkStatus;

/// See [`GetLinkStatus`].
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LinkStatus {
    /// `connected`, `connecting`, `waiting`, `parent serves no links`.
    pub state: String,
    /// Host and port of the parent.
    pub parent: String,
    /// Why it is not connected.
    pub why: Option<String>,
    /// Attempts since it was last connected.
    pub attempts: u32,
    /// Seconds until the next attempt.
    pub next_attempt_seconds: Option<u64>,
    /// Seconds since it was connected, or lost.
    pub since_seconds: u64,
    /// Identities attached.
    pub attached: usize,
    /// Messages sent and not acknowledged.
    pub in_flight: usize,
    /// Senders in backoff.
    pub lanes_in_backoff: usize,
}
