//! What localhub's `twins` answers to on behalf of service clients, beside `twins.rs`.

use actix::Message;
use serde_json::Value;

use super::state::StoreError;
use crate::domain::identity::Identity;
use crate::domain::registry::IfMatch;
use crate::domain::service_error::ServiceError;

/// Reads twins as REST shows them, without what only the registry knows. An identity whose twin
/// was never written has an empty one.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Vec<Value>, StoreError>")]
pub struct ReadTwins(pub Vec<Identity>);

/// Changes tags and desired properties; answers the twin once it is on disk. Whoever is
/// subscribed gets the patch.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Value, ServiceError>")]
pub struct ChangeTwin {
    /// Whose.
    pub identity: Identity,
    /// Which etag it must have.
    pub condition: IfMatch,
    /// What.
    pub change: TwinChange,
}

/// See [`ChangeTwin`].
#[derive(Clone, Debug, PartialEq)]
pub enum TwinChange {
    /// `PATCH`: `{"tags", "properties": {"desired"}}`, merged; null deletes.
    Merge(Value),
    /// `PUT`: the same, in place of what is there.
    Replace(Value),
    /// A deployment's content of a module: `properties.desired`, and layers of it.
    Lay(Value),
}
