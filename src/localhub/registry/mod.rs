//! Who may use the hub: devices, modules, their credentials and whose scope they are in.
//!
//! Everything is in memory and in the store; a change is answered once it is in both. The
//! decisions are in `domain/registry`.
//!
//! next: `login.rs` for those who come in, `service.rs` for REST, `scope.rs` for edges.

mod login;
mod scope;
mod service;
#[cfg(test)]
mod tests;

use actix::prelude::*;

use super::tables::{self, IDENTITIES, REMOVED};
use crate::actors::hub::state::settled;
use crate::actors::port::Port;
use crate::actors::supervision::{Obituary, Supervised};
use crate::domain::identity::Identity;
use crate::domain::registry::{Changes, Entry, Registry as Index, Removed};
use crate::domain::service_error::ServiceError;
use crate::messages::client::Down;
use crate::messages::registry::Forget;
use crate::messages::sessions::Send;
use crate::messages::state::{Change, Save, Scan, StoreError};
use crate::messages::supervision::Health;

/// Whom the registry speaks to.
#[derive(Clone, Default)]
pub struct RegistryPorts {
    /// The store.
    pub save: Port<Save>,
    /// The store.
    pub scan: Port<Scan>,
    /// Sessions: ends connections, tells edges of their scope.
    pub send: Port<Send>,
    /// Twins: of identities that are gone.
    pub forget_twins: Port<Forget>,
    /// Presence: the same.
    pub forget_presence: Port<Forget>,
    /// Telemetry: what they sent last.
    pub forget_copies: Port<Forget>,
    /// Cloud-to-device messages: the same.
    pub forget_devicebound: Port<Forget>,
}

/// See the module documentation.
pub struct Registry {
    ports: RegistryPorts,
    hostname: String,
    /// `None` until it was read.
    index: Option<Index>,
    obituary: Obituary,
}

impl Registry {
    /// For the hub that clients know by `hostname`.
    pub fn new(ports: RegistryPorts, hostname: String, obituary: Obituary) -> Self {
        Registry { ports, hostname, index: None, obituary }
    }

    fn index(&self) -> Result<&Index, ServiceError> {
        self.index.as_ref().ok_or_else(not_ready)
    }

    /// Writes what has changed already in memory. If that fails the actor begins anew from what
    /// is stored.
    fn commit(&self, changes: Changes) -> ResponseActFuture<Self, Result<(), ServiceError>> {
        let saved = tables::save(&self.ports.save, to_store(&changes));
        Box::pin(saved.into_actor(self).map(move |saved, actor, ctx| match saved {
            Ok(()) => {
                actor.announce(changes);
                Ok(())
            }
            Err(error) => {
                actor.fail(&error, ctx);
                Err(error.into())
            }
        }))
    }

    fn announce(&self, changes: Changes) {
        for identity in changes.ended {
            let is_gone = changes.deleted.contains(&identity);
            let what = if is_gone {
                Down::Gone("deleted".to_owned())
            } else {
                Down::Close("disabled, or its credentials have changed".to_owned())
            };
            tracing::info!(%identity, is_gone, "connection is to end");
            self.ports.send.tell(Send { to: identity, what });
        }
        for to in changes.by_device {
            self.ports.send.tell(Send { to, what: Down::DeviceKeysChanged });
        }
        for (edge, version) in changes.scopes {
            if let Ok(to) = Identity::module(&edge, "$edgeHub") {
                self.ports.send.tell(Send { to, what: Down::ScopeChanged { version } });
            }
        }
        if !changes.deleted.is_empty() {
            let ports = &self.ports;
            for port in [
                &ports.forget_twins,
                &ports.forget_presence,
                &ports.forget_copies,
                &ports.forget_devicebound,
            ] {
                port.tell(Forget(changes.deleted.clone()));
            }
        }
    }
}

impl Actor for Registry {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let (settled, scan) = (settled(&self.ports.save), self.ports.scan.clone());
        let loaded = async move {
            settled.await?;
            load(scan).await
        };
        let loaded = loaded.into_actor(self);
        ctx.spawn(loaded.map(|loaded, actor, ctx| match loaded {
            Ok(index) => actor.index = Some(index),
            Err(error) => actor.fail(&error, ctx),
        }));
    }
}

impl Supervised for Registry {
    fn obituary(&mut self) -> &mut Obituary {
        &mut self.obituary
    }

    fn health(&self) -> Health {
        let state = self.index.as_ref().map_or_else(
            || "reading".to_owned(),
            |index| format!("{} devices", index.devices().count()),
        );
        Health { state }
    }
}

crate::supervised!(Registry);

fn not_ready() -> ServiceError {
    ServiceError::new(503, "ServiceUnavailable", "the registry is still being read")
}

async fn load(scan: Port<Scan>) -> Result<Index, StoreError> {
    let entry = |_: &[u8], value: &[u8]| serde_json::from_slice::<Entry>(value).ok();
    let entries = tables::load(scan.clone(), IDENTITIES, entry).await?;
    let removed = tables::load(scan, REMOVED, |key, value| {
        let (edge, id) = std::str::from_utf8(key).ok()?.split_once('\n')?;
        let removed = Removed { edge: edge.to_owned(), id: Identity::parse(id).ok()? };
        Some((removed, tables::read_number(value)?))
    });
    Ok(Index::load(entries, removed.await?))
}

/// All in one transaction; twins, presence and memory of those that are gone go with them.
fn to_store(changes: &Changes) -> Vec<Change> {
    let mut all = Vec::new();
    for entry in &changes.entries {
        let json = serde_json::to_vec(entry).expect("an entry is JSON");
        all.push(Change::put(IDENTITIES, entry.id.as_str(), json));
    }
    for id in &changes.deleted {
        for table in [IDENTITIES, tables::TWINS, tables::PRESENCE, tables::RESENT] {
            all.push(Change::delete(table, id.as_str()));
        }
    }
    for (removed, version) in &changes.removed {
        let key = format!("{}\n{}", removed.edge, removed.id);
        all.push(match version {
            Some(version) => Change::put(REMOVED, key, tables::number(*version)),
            None => Change::delete(REMOVED, key),
        });
    }
    all
}
