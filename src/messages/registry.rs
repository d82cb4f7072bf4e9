//! What localhub's `registry` and `presence` answer to, beside `identities.rs`.

use std::collections::BTreeMap;
use std::time::Duration;

use actix::Message;

use super::state::StoreError;
use super::upstream::LinkAnswer;
use crate::domain::identity::Identity;
use crate::domain::registry::{Draft, Entry, IfMatch};
use crate::domain::service_error::ServiceError;

/// Creates an identity, or changes it; answers once that is on disk.
#[derive(Message)]
#[rtype(result = "Result<Entry, ServiceError>")]
pub struct PutIdentity {
    /// What is wanted.
    pub draft: Draft,
    /// `None` creates, all else changes.
    pub condition: IfMatch,
}

/// Deletes an identity with all that belongs to it; answers once that is on disk.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), ServiceError>")]
pub struct DeleteIdentity {
    /// Who.
    pub identity: Identity,
    /// Which etag it must have.
    pub condition: IfMatch,
}

/// Reads identities, in order of ids.
#[derive(Debug, Message)]
#[rtype(result = "Result<Vec<Entry>, ServiceError>")]
pub enum ListIdentities {
    /// Just this one, if it is there.
    One(Identity),
    /// Devices without their modules.
    Devices,
    /// The modules of a device; 404 if there is no such device.
    ModulesOf(Identity),
    /// The modules of all devices.
    Modules,
}

/// An edge asks for its scope on its link (link.md, scope and lookup). Answered ready for the
/// wire: 200, 404, or 503 while the registry is not ready.
#[derive(Debug, Message)]
#[rtype(result = "LinkAnswer")]
pub struct AskScope {
    /// Device id of the edge.
    pub edge: String,
    /// What.
    pub what: ScopeAsk,
}

/// See [`AskScope`].
#[derive(Debug)]
pub enum ScopeAsk {
    /// A page of what has changed after this version.
    Since(u64),
    /// One identity, also a disabled one; 404 if it is not known, or in another scope.
    One(Identity),
    /// Whether the edge may speak for an identity: 200, 403 if it is disabled, 404.
    Attach(Identity),
}

/// These are gone: whatever is kept of them is to be forgotten. A notice; what the store had of
/// them went with the registry's transaction, or goes with this.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Forget(pub Vec<Identity>);

/// Somebody sent something. A notice of the data path, cheap to take.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Active(pub Vec<Identity>);

/// When who was here.
#[derive(Debug, Message)]
#[rtype(result = "Result<BTreeMap<Identity, Presence>, StoreError>")]
pub enum ListPresence {
    /// Of these.
    Of(Vec<Identity>),
    /// Of all that were ever here.
    All,
}

/// See [`ListPresence`].
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Presence {
    /// It is connected here, or to its edge.
    pub is_connected: bool,
    /// Unix time of when that began.
    pub since: Option<Duration>,
    /// Unix time of when it last sent something, came or left.
    pub last_activity: Option<Duration>,
    /// It has been away for a minute or more, or since this process began.
    #[serde(skip)]
    pub is_long_gone: bool,
}
