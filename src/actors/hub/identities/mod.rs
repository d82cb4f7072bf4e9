//! Who may log in: the identities in the scope of this edge, as the parent gave them.
//!
//! Kept encrypted in `state/`, so that a client that is known comes in with the parent away, also
//! after a restart. A refusal for good needs an answer of the parent that is fresh. Older than
//! the hub: it also answers the workload API, and signs for the link itself.
//!
//! next: `identities/log_in.rs`, the check of a token; `identities/refresh.rs`, how the scope is
//! read; `identities/disk.rs`, how it is kept.

mod cache;
mod disk;
mod log_in;
mod lookups;
mod refresh;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use tracing::info;

use self::cache::{Cache, Update};
pub use self::disk::TABLE;
use self::lookups::Lookups;
use crate::actors::port::Port;
use crate::actors::supervision::{Obituary, Supervised};
use crate::domain::identity::Identity;
use crate::messages::client::Down;
use crate::messages::identities::ScopeChanged;
use crate::messages::registry::Forget;
use crate::messages::sessions;
use crate::messages::state::{Save, Scan};
use crate::messages::supervision::Health;
use crate::messages::upstream::{LinkChanged, Request};
use crate::store::vault::Vault;

/// What the actor is told once.
#[derive(Clone, Debug)]
pub struct IdentitiesConfig {
    /// Device id of this edge.
    pub device_id: String,
    /// Host name of the hub, as in its connection string.
    pub hub_host: String,
    /// The name by which clients reach this device; tokens may be made for it too.
    pub gateway_hostname: String,
}

/// Whom the actor asks and tells.
#[derive(Clone, Default)]
pub struct IdentitiesPorts {
    /// `state`.
    pub save: Port<Save>,
    /// `state`.
    pub scan: Port<Scan>,
    /// `upstream`.
    pub request: Port<Request>,
    /// `sessions`: ends connections.
    pub send: Port<sessions::Send>,
    /// `twins`: of identities that are gone.
    pub forget: Port<Forget>,
    /// `twins`: that the link is up they hear once the scope was read, so that nothing is sent
    /// in the name of an identity that is another one by now.
    pub link: Port<LinkChanged>,
}

/// See the module documentation.
pub struct Identities {
    config: IdentitiesConfig,
    vault: Rc<Vault>,
    ports: IdentitiesPorts,
    cache: Cache,
    /// The cache was read from disk, or from the parent, at least once.
    is_ready: bool,
    lookups: Lookups,
    refreshing: refresh::State,
    /// Twins know how the link stands.
    is_link_told: bool,
    /// What could not be written, or deleted, yet.
    unsaved: BTreeSet<Identity>,
    /// How often twins were told of who is gone, and have not answered.
    forgetting: usize,
    obituary: Obituary,
}

/// The store commits or fails long before.
const STORE_DEADLINE: Duration = Duration::from_secs(30);
/// Twins answer long before, once they have read their own. They are not asked twice: by then
/// there may be patches of who bears the id now.
const FORGET: Duration = Duration::from_secs(3_600);
/// After twins that ended, or are not there yet.
const AGAIN: Duration = Duration::from_millis(100);

impl Identities {
    /// Reads the cache when it starts, then the scope whenever the link comes up.
    pub fn new(
        config: IdentitiesConfig,
        vault: Rc<Vault>,
        ports: IdentitiesPorts,
        obituary: Obituary,
    ) -> Self {
        Identities {
            config,
            vault,
            ports,
            cache: Cache::default(),
            is_ready: false,
            lookups: Lookups::default(),
            refreshing: refresh::State::default(),
            is_link_told: true,
            unsaved: BTreeSet::new(),
            forgetting: 0,
            obituary,
        }
    }

    /// Writes what has changed and ends the connections that are not to go on.
    fn carry_out(&mut self, update: Update, ctx: &mut Context<Self>) {
        if !update.gone.is_empty() {
            self.forgetting += 1;
            self.forget(update.gone.iter().cloned().collect(), ctx);
        }
        for (to, why) in update.ended {
            info!(identity = %to, why, "connection is ended");
            let is_gone = update.gone.contains(&to);
            let what = if is_gone { Down::Gone(why.into()) } else { Down::Close(why.into()) };
            self.ports.send.tell(sessions::Send { to, what });
        }
        for to in update.by_device {
            self.ports.send.tell(sessions::Send { to, what: Down::DeviceKeysChanged });
        }
        self.unsaved.extend(update.touched);
        self.save(ctx);
    }

    /// What twins delete is in line before it is written that there is nothing to delete: nothing
    /// is written before they answer. Those that end without an answer are followed by others.
    fn forget(&mut self, gone: Vec<Identity>, ctx: &mut Context<Self>) {
        let is_forgotten = self.ports.forget.ask(Forget(gone.clone()), FORGET).into_actor(self);
        let is_forgotten = is_forgotten.map(|is_forgotten, this, ctx| match is_forgotten {
            Ok(()) => {
                this.forgetting -= 1;
                this.save(ctx);
            }
            Err(_) => drop(ctx.run_later(AGAIN, |this, ctx| this.forget(gone, ctx))),
        });
        is_forgotten.spawn(ctx);
    }
}

impl Actor for Identities {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.load(ctx);
        ctx.run_interval(refresh::EVERY, |this, ctx| this.refresh(ctx));
    }
}

impl Supervised for Identities {
    fn obituary(&mut self) -> &mut Obituary {
        &mut self.obituary
    }

    fn health(&self) -> Health {
        let known = self.cache.len();
        let state = match self.is_ready {
            true => format!("{known} identities known, scope version {}", self.cache.version),
            false => "waits for the scope: the parent was never read".into(),
        };
        Health { state }
    }
}

crate::supervised!(Identities);

impl Handler<LinkChanged> for Identities {
    type Result = ();

    fn handle(&mut self, change: LinkChanged, ctx: &mut Self::Context) {
        self.is_link_told = !change.is_up;
        if change.is_up {
            self.refresh(ctx);
        } else {
            self.lookups.forget(); // what was answered before may not be so any more
            self.ports.link.tell(change);
        }
    }
}

impl Handler<ScopeChanged> for Identities {
    type Result = ();

    fn handle(&mut self, _: ScopeChanged, ctx: &mut Self::Context) {
        self.refresh(ctx);
    }
}
