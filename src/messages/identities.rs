//! What `identities` (EdgeHub) and `registry` (localhub) answer to: who may log in, and keys.

use actix::Message;
use serde::{Deserialize, Serialize};

use super::state::StoreError;
use crate::domain::certificate::ClientCertificate;
use crate::domain::door::Place;
use crate::domain::identity::Identity;
use crate::domain::proof::Proven;

/// A client asks to come in.
#[derive(Clone, Message)]
#[rtype(result = "Result<Granted, Refusal>")]
pub struct LogIn {
    /// By its client id and user name, which agree.
    pub identity: Identity,
    /// SAS token, as sent. Never logged.
    pub token: Option<String>,
    /// Its TLS certificate, if it showed one.
    pub certificate: Option<ClientCertificate>,
    /// It wants to be a link (link.md), of this version.
    pub link: Option<u32>,
    /// Where its socket comes from, if it has one of its own.
    pub place: Option<Place>,
}

/// It may, until then: its connection ends. A module that came in by its device also goes when
/// the keys of that are changed.
pub type Granted = Proven;

/// It may not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// CONNACK 3: not ready, or not known and nobody to ask; the client tries again.
    #[error("not ready: {0}")]
    NotReady(String),
    /// CONNACK 5: certain.
    #[error("refused: {0}")]
    Denied(String),
}

/// Whether an identity may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IdentityStatus {
    /// Yes.
    #[default]
    Enabled,
    /// Not now; nor is a status that we do not know.
    #[serde(other)]
    Disabled,
}

fn unsaid() -> IdentityStatus {
    IdentityStatus::Disabled
}

/// One identity as a hub gives it to its edge (link.md, scope). `Debug` shows no key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityRecord {
    /// Who.
    pub id: Identity,
    /// Primary and secondary symmetric key, base64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
    /// Of self-signed certificates: lower-case hex, SHA-1 or SHA-256.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub thumbprints: Vec<String>,
    /// Signed by a certificate authority that the hub trusts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ca: bool,
    /// Whether it may be used: not if the hub does not say so.
    #[serde(default = "unsaid")]
    pub status: IdentityStatus,
    /// Changes when an identity is deleted and made again.
    #[serde(default)]
    pub generation: String,
}

impl std::fmt::Debug for IdentityRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?} generation {}", self.id, self.status, self.generation)
    }
}

/// Looks an identity up: in the cache, and with `ask_parent` at the parent if it is not there.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Option<IdentityRecord>, StoreError>")]
pub struct Lookup {
    /// Who.
    pub identity: Identity,
    /// On a miss.
    pub ask_parent: bool,
}

/// Signs with the primary key of an identity: HMAC-SHA256 of `data` (workload API, and tokens).
#[derive(Clone, Message)]
#[rtype(result = "Result<Vec<u8>, SignError>")]
pub struct Sign {
    /// Whose key.
    pub identity: Identity,
    /// What.
    pub data: Vec<u8>,
}

/// Why there is no signature.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// Not in the cache, and the parent does not know it, or cannot be asked.
    #[error("identity {0} is not known here")]
    Unknown(Identity),
    /// It has no symmetric key.
    #[error("identity {0} has no symmetric key")]
    NoKey(Identity),
}

/// The parent gave a part of the scope, or told that it changed (EdgeHub).
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct ScopeChanged {
    /// The parent's version of the scope.
    pub version: u64,
}
