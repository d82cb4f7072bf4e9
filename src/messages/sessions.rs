//! What `sessions` answers to: who is online, with which subscriptions; direct methods.
//!
//! The same actor serves EdgeHub and localhub.

use actix::{Message, Recipient};
use bytes::Bytes;

use super::client::{Down, Downlink};
use super::state::StoreError;
use crate::domain::features::Features;
use crate::domain::identity::Identity;
use crate::domain::method::{Call, Outcome};
use crate::domain::row::Key;

/// Opens the session of a client that has logged in; takes over from an earlier connection.
#[derive(Message)]
#[rtype(result = "Result<Opened, StoreError>")]
pub struct Open {
    /// Who.
    pub identity: Identity,
    /// Clean session: what was stored is forgotten first.
    pub is_clean: bool,
    /// Where its messages go from now on.
    pub downlink: Recipient<Downlink>,
}

/// An open session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// Number of this opening: what a connection says later carries it.
    pub epoch: u64,
    /// A stored session was found.
    pub is_present: bool,
    /// Filters and whether `QoS` 1 was granted.
    pub filters: Vec<(String, bool)>,
    /// Publishes un-acked when the session was last closed in this process, in order of sending.
    pub unacked: Vec<(u16, Key)>,
}

/// A client's connection is gone.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Closed {
    /// Who.
    pub identity: Identity,
    /// From `Opened`; a late notice of an earlier connection changes nothing.
    pub epoch: u64,
    /// Rows sent and not acknowledged, in order of sending.
    pub unacked: Vec<(u16, Key)>,
    /// Messages that the parent holds a lock on are not settled.
    pub has_locked: bool,
}

/// Adds and removes filters of a session and answers once that is on disk, and the parent knows
/// of the features (at most 2 s later).
#[derive(Debug, Message)]
#[rtype(result = "Result<(), StoreError>")]
pub struct Subscribe {
    /// Who.
    pub identity: Identity,
    /// From `Opened`.
    pub epoch: u64,
    /// Filters to add, with whether `QoS` 1 is granted.
    pub add: Vec<(String, bool)>,
    /// Filters to remove.
    pub remove: Vec<String>,
}

/// Makes an identity known that is connected to an edge: `features` is its whole set now.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Attach {
    /// Who.
    pub identity: Identity,
    /// What it has subscribed to.
    pub features: Features,
    /// The link it is behind.
    pub link: Recipient<Downlink>,
    /// Which link: a later one's attachments outlive the end of an earlier one.
    pub epoch: u64,
}

/// The identity left its edge; without one, all that came by this link.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Detach {
    /// Who; `None`: everybody on the link.
    pub identity: Option<Identity>,
    /// The link.
    pub epoch: u64,
}

/// Sends something to a client if it is connected and has asked for it; answers whether.
#[derive(Debug, Message)]
#[rtype(result = "bool")]
pub struct Send {
    /// To whom.
    pub to: Identity,
    /// What.
    pub what: Down,
}

/// Calls a direct method of a client and answers when the call has ended. It ends once, runs at
/// most once, and takes no longer than both time-outs.
#[derive(Debug, Message)]
#[rtype(result = "Outcome")]
pub struct Invoke {
    /// Of whom.
    pub target: Identity,
    /// What.
    pub call: Call,
}

/// A client answered a method. Late and unknown answers are ignored.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct MethodAnswered {
    /// Who answered: only the one that was called counts.
    pub from: Identity,
    /// From `Down::Method`.
    pub call: u64,
    /// How it ended.
    pub outcome: Outcome,
}

/// Who is online now.
#[derive(Debug, Message)]
#[rtype(result = "Vec<Online>")]
pub struct ListOnline;

/// A client that is online.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Online {
    /// Who.
    pub identity: Identity,
    /// What it has asked for.
    pub features: Features,
    /// Whether it is behind an edge, not on a socket of its own.
    pub is_behind_edge: bool,
}

/// A client came, changed its features or left. The backend that has plugged itself in answers
/// once the parent knows (EdgeHub), or at once (localhub).
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct PresenceChanged {
    /// Who.
    pub identity: Identity,
    /// Its whole feature set; `None`: it left.
    pub features: Option<Features>,
}

/// A client's PUBACK of a cloud-to-device message that the parent holds a lock on.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Settle {
    /// Whose message.
    pub identity: Identity,
    /// From `Down::CloudToDevice`.
    pub lock: String,
}

/// A payload of the given JSON.
pub fn json(value: &serde_json::Value) -> Bytes {
    Bytes::from(value.to_string())
}
