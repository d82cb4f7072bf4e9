//! What `twins` answers to, in EdgeHub and in localhub.

use actix::Message;
use bytes::Bytes;
use serde_json::Value;

use super::state::StoreError;
use crate::domain::identity::Identity;

/// A client reads its twin. Answered from the parent, or from the local copy.
#[derive(Clone, Debug, Message)]
#[rtype(result = "TwinAnswer")]
pub struct GetTwin(pub Identity);

/// A client changes its reported properties: validated, merged, on disk, then answered.
#[derive(Clone, Debug, Message)]
#[rtype(result = "TwinAnswer")]
pub struct PatchReported {
    /// Whose.
    pub identity: Identity,
    /// JSON object; null deletes.
    pub patch: Bytes,
}

/// What goes on `$iothub/twin/res/{status}/?$rid=…[&$version=…]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TwinAnswer {
    /// HTTP-like.
    pub status: u16,
    /// JSON; for an error `{"errorCode":…,"message":…}`; empty for 204.
    pub body: Bytes,
    /// Of the reported properties after a patch.
    pub version: Option<u64>,
}

impl TwinAnswer {
    /// An error with the JSON body that every SDK needs (spec sdk.md, trap 4).
    pub fn error(status: u16, message: &str) -> Self {
        let code = u32::from(status) * 1000 + 1;
        let body = serde_json::json!({ "errorCode": code, "message": message });
        TwinAnswer { status, body: body.to_string().into(), version: None }
    }
}

/// Desired properties of one identity, for those inside the process that act on them.
#[derive(Clone, Debug, PartialEq)]
pub struct Desired {
    /// `$version`.
    pub version: u64,
    /// The whole object, without `$version` and `$metadata`.
    pub properties: Value,
}

/// Reads the last known desired properties; `None` if the twin was never read.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Option<Desired>")]
pub struct GetDesired(pub Identity);

/// The twin of `$edgeHub` or `$edgeAgent` is another than before (EdgeHub). A notice.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub enum TwinChanged {
    /// The desired properties of this one are there, or have changed: answered with `GetDesired`.
    Desired(Identity),
    /// The reported properties of this one are not what it reported: the parent refused some for
    /// good, or was set back. Answered with `GetTwin`, and a patch.
    Reported(Identity),
}

/// The parent sent a patch of desired properties (EdgeHub).
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct DesiredPatched {
    /// Whose.
    pub identity: Identity,
    /// `$version` after it.
    pub version: u64,
    /// JSON object with `$version`.
    pub patch: Bytes,
}

/// A client has asked for patches of its desired properties (EdgeHub). Answered once it is known
/// what it has, or after 2 s: every change from then on reaches it as a patch.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct WatchDesired(pub Identity);

/// A client has taken the patch of its desired properties with this version (EdgeHub).
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct DesiredTaken {
    /// Whose.
    pub identity: Identity,
    /// `$version` of the patch.
    pub version: u64,
}

/// Reads the reported patches that the parent refused, newest last (EdgeHub).
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Vec<Refused>, StoreError>")]
pub struct ListRefused;

/// A reported patch that the parent refused, as it is kept.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Refused {
    /// Whose.
    pub identity: String,
    /// ISO-8601.
    pub time: String,
    /// The parent's answer.
    pub status: u16,
    /// What it said.
    pub why: String,
    /// The patch.
    pub patch: Value,
}

/// How the twins of an edge stand against the parent's.
#[derive(Clone, Debug, Message)]
#[rtype(result = "TwinsStatus")]
pub struct GetTwinsStatus;

/// See [`GetTwinsStatus`].
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct TwinsStatus {
    /// Twins kept.
    pub twins: usize,
    /// Reported patches that the parent has not got yet.
    pub pending_patches: usize,
    /// Reported patches that the parent refused.
    pub dead_letters: usize,
    /// Changes of reported properties that routes have not seen yet.
    pub changes_owed: usize,
}
