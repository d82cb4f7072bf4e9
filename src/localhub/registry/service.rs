//! What REST asks of the registry.

use actix::prelude::*;

use super::Registry;
use crate::actors::clock;
use crate::domain::registry::{Changes, Entry, Fresh, Registry as Index, not_found};
use crate::domain::service_error::ServiceError;
use crate::localhub::random;
use crate::messages::registry::{DeleteIdentity, ListIdentities, PutIdentity};

impl Registry {
    fn change(
        &mut self,
        change: impl FnOnce(&mut Index, &mut Fresh<'_>) -> Result<Changes, ServiceError>,
    ) -> Result<Changes, ServiceError> {
        let index = self.index.as_mut().ok_or_else(super::not_ready)?;
        let mut fresh = Fresh { now: clock::unix_time(), key: &mut random::key };
        change(index, &mut fresh)
    }
}

impl Handler<PutIdentity> for Registry {
    type Result = ResponseActFuture<Self, Result<Entry, ServiceError>>;

    fn handle(&mut self, put: PutIdentity, _: &mut Self::Context) -> Self::Result {
        let id = put.draft.id.clone();
        let changed = self.change(|index, fresh| index.put(put.draft, &put.condition, fresh));
        let changes = match changed {
            Ok(changes) => changes,
            Err(error) => return Box::pin(fut::err(error)),
        };
        let entry = changes.entries.iter().find(|entry| entry.id == id).cloned();
        let entry = entry.ok_or_else(|| not_found(&id));
        Box::pin(self.commit(changes).map(|committed, _, _| committed.and(entry)))
    }
}

impl Handler<DeleteIdentity> for Registry {
    type Result = ResponseActFuture<Self, Result<(), ServiceError>>;

    fn handle(&mut self, delete: DeleteIdentity, _: &mut Self::Context) -> Self::Result {
        let changed = self.change(|index, _| index.delete(&delete.identity, &delete.condition));
        match changed {
            Ok(changes) => self.commit(changes),
            Err(error) => Box::pin(fut::err(error)),
        }
    }
}

impl Handler<ListIdentities> for Registry {
    type Result = Result<Vec<Entry>, ServiceError>;

    fn handle(&mut self, list: ListIdentities, _: &mut Self::Context) -> Self::Result {
        let index = self.index()?;
        Ok(match list {
            ListIdentities::One(id) => index.get(&id).into_iter().cloned().collect(),
            ListIdentities::Devices => index.devices().cloned().collect(),
            ListIdentities::ModulesOf(id) => {
                index.get(&id).ok_or_else(|| not_found(&id))?;
                index.modules(id.device_id()).cloned().collect()
            }
            ListIdentities::Modules => {
                index.all().filter(|entry| entry.id.module_id().is_some()).cloned().collect()
            }
        })
    }
}
