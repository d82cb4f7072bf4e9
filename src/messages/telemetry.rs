//! What localhub's `telemetry` log answers to, beside `Ingest`.

use actix::Message;
use bytes::Bytes;

use super::state::StoreError;
use crate::domain::bag::Bag;
use crate::domain::identity::Identity;
use crate::domain::row::Offset;

/// Reads items with an offset not below `since`, in order of arrival: a part of them, `max` at
/// most. Ends at once where the log ends.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<Items, StoreError>")]
pub struct ReadTelemetry {
    /// First offset wanted.
    pub since: Offset,
    /// Most items wanted.
    pub max: usize,
}

/// Answers once the log reaches beyond `since`, at once if it does already.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<(), StoreError>")]
pub struct AwaitTelemetry {
    /// First offset wanted.
    pub since: Offset,
}

/// See [`ReadTelemetry`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Items {
    /// In order of offsets; some may be missing (retention).
    pub items: Vec<Item>,
    /// The offset after the last one given, or the end of the log.
    pub next: Offset,
    /// There are more.
    pub has_more: bool,
}

/// One message as it arrived.
#[derive(Clone, PartialEq, Eq)]
pub struct Item {
    /// Its place.
    pub offset: Offset,
    /// ISO-8601.
    pub enqueued: String,
    /// Who sent it.
    pub sender: Identity,
    /// All properties.
    pub bag: Bag,
    /// Opaque.
    pub body: Bytes,
}

impl std::fmt::Debug for Item {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} of {}, {} bytes", self.offset, self.sender, self.body.len())
    }
}

/// Test builds only: from now on messages of `sender` are refused with `status`; `None`: taken.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct RefuseTelemetry {
    /// Whose.
    pub sender: Identity,
    /// Which.
    pub status: Option<u16>,
}
