//! What localhub's `devicebound` (cloud-to-device) queue answers to, beside `Pull` and `Finish`.

use std::collections::BTreeMap;
use std::time::Duration;

use actix::Message;
use bytes::Bytes;
use serde_json::Value;

use super::state::StoreError;
use crate::domain::bag::Bag;
use crate::domain::identity::Identity;
use crate::domain::service_error::ServiceError;

/// A message for a device; answers once it is on disk. 403 if too many are waiting already.
#[derive(Clone, Message)]
#[rtype(result = "Result<(), ServiceError>")]
pub struct Enqueue {
    /// For whom.
    pub device: Identity,
    /// Properties.
    pub bag: Bag,
    /// Opaque.
    pub body: Bytes,
    /// Unix time after which it is not given any more.
    pub expires: Option<Duration>,
    /// Which ends the sender wants to hear of.
    pub ack: Ack,
}

/// `iothub-ack`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ack {
    /// None.
    #[default]
    None,
    /// It was delivered.
    Positive,
    /// It was not.
    Negative,
    /// Either.
    Full,
}

/// Deletes all messages that wait for a device; answers how many.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<u64, StoreError>")]
pub struct Purge {
    /// Whose.
    pub device: Identity,
}

/// How many messages wait, by device; devices without any are left out.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<BTreeMap<Identity, u64>, StoreError>")]
pub struct CountDevicebound;

/// Takes the feedback that has gathered: JSON records as the service SDKs read them. They are
/// forgotten once they are given.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<Vec<Value>, StoreError>")]
pub struct TakeFeedback;
