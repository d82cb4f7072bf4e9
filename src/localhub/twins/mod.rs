//! Twins of all identities: in memory and in the store; a change is answered once it is in both.
//!
//! An identity that nobody wrote to has an empty twin. Patches of desired properties are sent in
//! the order of their versions, after their commit, to whoever has asked for them.
//!
//! next: `client.rs` for devices, `service.rs` for REST

mod client;
mod service;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use actix::prelude::*;

use super::tables::{self, TWINS};
use crate::actors::clock;
use crate::actors::hub::state::settled;
use crate::actors::in_order::InOrder;
use crate::actors::port::Port;
use crate::actors::supervision::{Obituary, Supervised};
use crate::domain::identity::Identity;
use crate::domain::iso8601;
use crate::domain::twin::ServiceTwin;
use crate::messages::registry::Forget;
use crate::messages::sessions::Send;
use crate::messages::state::{Change, Save, Scan, StoreError};
use crate::messages::supervision::Health;

/// Whom it speaks to.
#[derive(Clone, Default)]
pub struct TwinsPorts {
    /// The store.
    pub save: Port<Save>,
    /// The store.
    pub scan: Port<Scan>,
    /// Sessions: patches of desired properties.
    pub send: Port<Send>,
}

/// See the module documentation.
pub struct Twins {
    ports: TwinsPorts,
    /// `None` until they were read.
    twins: Option<HashMap<Identity, ServiceTwin>>,
    /// Patches of changes that are not on disk yet.
    patches: InOrder<Option<Send>>,
    obituary: Obituary,
}

impl Twins {
    /// None, until they were read.
    pub fn new(ports: TwinsPorts, obituary: Obituary) -> Self {
        Twins { ports, twins: None, patches: InOrder::default(), obituary }
    }

    /// Changes a twin and writes it. `change` answers a patch for the client, and an answer for
    /// whoever asked, which is given after the commit.
    fn change<T: 'static, E: From<StoreError> + 'static>(
        &mut self,
        identity: &Identity,
        change: impl FnOnce(&mut ServiceTwin, &str) -> Result<(Option<Send>, T), E>,
    ) -> ResponseActFuture<Self, Result<T, E>> {
        let Some(twins) = &mut self.twins else {
            return Box::pin(fut::err(StoreError::Unavailable.into()));
        };
        let mut twin = twins.get(identity).cloned().unwrap_or_default();
        let (patch, answer) = match change(&mut twin, &iso8601::text(clock::unix_time())) {
            Ok(changed) => changed,
            Err(error) => return Box::pin(fut::err(error)),
        };
        let json = serde_json::to_vec(&twin).expect("a twin is JSON");
        twins.insert(identity.clone(), twin);
        let number = self.patches.wait(patch);
        let written = Change::put(TWINS, identity.as_str(), json);
        let saved = tables::save(&self.ports.save, vec![written]).into_actor(self);
        Box::pin(saved.map(move |saved, actor, ctx| match saved {
            Ok(()) => {
                for patch in actor.patches.committed(number).flatten() {
                    actor.ports.send.tell(patch);
                }
                Ok(answer)
            }
            Err(error) => {
                actor.fail(&error, ctx);
                Err(error.into())
            }
        }))
    }
}

impl Actor for Twins {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let (settled, scan) = (settled(&self.ports.save), self.ports.scan.clone());
        let loaded = async move {
            settled.await?;
            let read = |key: &[u8], value: &[u8]| {
                let identity = Identity::parse(std::str::from_utf8(key).ok()?).ok()?;
                Some((identity, serde_json::from_slice(value).ok()?))
            };
            tables::load(scan, TWINS, read).await
        };
        ctx.spawn(loaded.into_actor(self).map(|loaded, actor, ctx| match loaded {
            Ok(twins) => actor.twins = Some(twins.into_iter().collect()),
            Err(error) => actor.fail(&error, ctx),
        }));
    }
}

impl Supervised for Twins {
    fn obituary(&mut self) -> &mut Obituary {
        &mut self.obituary
    }

    fn health(&self) -> Health {
        let count = self.twins.as_ref().map(|twins| format!("{} twins", twins.len()));
        Health { state: count.unwrap_or_else(|| "reading".to_owned()) }
    }
}

crate::supervised!(Twins);

impl Handler<Forget> for Twins {
    type Result = ();

    /// On disk they are gone already; but what was in line since then may have come after that.
    fn handle(&mut self, Forget(identities): Forget, ctx: &mut Self::Context) {
        let Some(twins) = &mut self.twins else { return };
        identities.iter().for_each(|identity| drop(twins.remove(identity)));
        let gone = identities.iter().map(|identity| Change::delete(TWINS, identity.as_str()));
        let gone = tables::save(&self.ports.save, gone.collect()).into_actor(self);
        let gone = gone.map(|gone, actor, ctx| {
            if let Err(error) = gone {
                actor.fail(&error, ctx);
            }
        });
        gone.spawn(ctx);
    }
}
