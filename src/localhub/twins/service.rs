//! What services do with twins.

use actix::prelude::*;
use serde_json::Value;

use super::Twins;
use crate::domain::service_error::ServiceError;
use crate::domain::twin::patch_json;
use crate::messages::client::Down;
use crate::messages::service_twins::{ChangeTwin, ReadTwins, TwinChange};
use crate::messages::sessions::Send;
use crate::messages::state::StoreError;

impl Handler<ReadTwins> for Twins {
    type Result = Result<Vec<Value>, StoreError>;

    fn handle(&mut self, ReadTwins(identities): ReadTwins, _: &mut Self::Context) -> Self::Result {
        let twins = self.twins.as_ref().ok_or(StoreError::Unavailable)?;
        let read = identities.iter().map(|id| match twins.get(id) {
            Some(twin) => twin.service_json(),
            None => crate::domain::twin::ServiceTwin::default().service_json(),
        });
        Ok(read.collect())
    }
}

impl Handler<ChangeTwin> for Twins {
    type Result = ResponseActFuture<Self, Result<Value, ServiceError>>;

    fn handle(&mut self, change: ChangeTwin, _: &mut Self::Context) -> Self::Result {
        let ChangeTwin { identity, condition, change } = change;
        self.change(&identity, |twin, now| {
            if !condition.admits(&twin.etag()) {
                return Err(ServiceError::precondition(format!("the twin of {identity}")));
            }
            let patch = match change {
                TwinChange::Merge(body) => twin.change(&body, true, now),
                TwinChange::Replace(body) => twin.change(&body, false, now),
                TwinChange::Lay(content) => twin.lay(&content, now),
            }?;
            let version = twin.desired_version();
            let patch = patch.map(|patch| {
                let what = Down::Desired { version, patch: patch_json(&patch, version) };
                Send { to: identity.clone(), what }
            });
            Ok((patch, twin.service_json()))
        })
    }
}
