//! The twins of all identities of this edge: desired properties as the parent gave them, and
//! reported ones until the parent has them.
//!
//! A copy of each twin and each patch that is owed lie in `state/` before anybody is answered.
//! When the link comes up, what is owed is sent first, then the twins of those who are online
//! are read whole, and each client hears of the difference once.
//!
//! next: `twins/asks.rs` for what clients ask; `twins/sync.rs` for the parent's side;
//! `domain/edge_twin` decides.

mod asks;
mod disk;
mod gone;
mod refused;
mod routed;
mod sync;
#[cfg(test)]
mod tests;
mod watched;

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::{oneshot, watch};

pub use self::disk::TABLES;
use self::routed::Changes;
use crate::actors::in_order::InOrder;
use crate::actors::port::Port;
use crate::actors::supervision::{Obituary, Supervised};
use crate::domain::edge_twin::{EdgeTwin, Outbox, Telling, with_version};
use crate::domain::identity::Identity;
use crate::messages::client::Down;
use crate::messages::queue::Ingest;
use crate::messages::sessions::{self, ListOnline, json};
use crate::messages::state::{Change, Save, Scan};
use crate::messages::supervision::Health;
use crate::messages::twins::{GetTwinsStatus, PatchReported, TwinAnswer, TwinChanged, TwinsStatus};
use crate::messages::upstream::Request;
use crate::store::vault::Vault;

/// Whom the actor asks and tells.
#[derive(Clone, Default)]
pub struct TwinsPorts {
    /// `state`.
    pub save: Port<Save>,
    /// `state`.
    pub scan: Port<Scan>,
    /// `upstream`.
    pub request: Port<Request>,
    /// `sessions`: patches for clients.
    pub send: Port<sessions::Send>,
    /// `sessions`: whose twins are to be read when the link comes up.
    pub online: Port<ListOnline>,
    /// `queue`: changes of reported properties are messages for routes.
    pub ingest: Port<Ingest>,
    /// Who acts on the desired properties of `$edgeHub`, and reports how.
    pub edge_hub: Port<TwinChanged>,
    /// The same for `$edgeAgent`.
    pub edge_agent: Port<TwinChanged>,
}

/// See the module documentation.
pub struct Twins {
    edge_hub: Identity,
    edge_agent: Identity,
    ports: TwinsPorts,
    entries: BTreeMap<Identity, Entry>,
    /// Tellings that wait until what they are told from is on disk; with the birth of the entry.
    tellings: InOrder<Option<(Identity, u64, Telling)>>,
    changes: Changes,
    /// Of entries: what was begun for one that is gone is void.
    births: u64,
    /// What came before everything was read, in order.
    early: Vec<Early>,
    is_up: bool,
    /// Whose turn it is to talk to the parent.
    due: VecDeque<Identity>,
    /// How many talk to the parent now.
    talking: usize,
    /// Everything was read from disk: until then nobody is answered.
    is_loaded: watch::Sender<bool>,
    /// Seals the twin of `$edgeAgent`: a deployment holds log-ins of registries.
    vault: Option<Rc<Vault>>,
    obituary: Obituary,
}

/// What is done once everything was read.
enum Early {
    Gone(Vec<Identity>),
    Reported(PatchReported, oneshot::Sender<TwinAnswer>),
}

/// One identity.
#[derive(Debug, Default)]
struct Entry {
    birth: u64,
    twin: EdgeTwin,
    outbox: Outbox,
    /// The whole twin is to be read.
    is_stale: bool,
    /// It is in `due`, or talks to the parent.
    is_busy: bool,
    /// Patches of desired properties that came, and reported ones that the parent took: a whole
    /// twin that was asked for before the last one may be older.
    patches_seen: u64,
    /// Numbers of the patches that the parent refused, as kept.
    refused: VecDeque<u64>,
    /// Clients that wait for what the parent says to a patch.
    waiting: Vec<(u64, oneshot::Sender<TwinAnswer>)>,
    /// Clients that subscribe, and wait for the whole twin to be read.
    watching: Vec<oneshot::Sender<()>>,
}

/// The store commits long before.
const STORE_DEADLINE: Duration = Duration::from_secs(60);
/// A notice for a client; its answer tells whether it was there.
const CLIENT_DEADLINE: Duration = Duration::from_secs(5);

impl Twins {
    /// The twins of everybody behind the edge device `device`, and of its own two modules.
    pub fn new(device: &Identity, ports: TwinsPorts, obituary: Obituary) -> Self {
        let own = |name| device.sibling(name).expect("the id of this device was checked");
        Twins {
            edge_hub: own("$edgeHub"),
            edge_agent: own("$edgeAgent"),
            ports,
            entries: BTreeMap::new(),
            tellings: InOrder::default(),
            changes: Changes::default(),
            births: 0,
            early: Vec::new(),
            is_up: false,
            due: VecDeque::new(),
            talking: 0,
            is_loaded: watch::channel(false).0,
            vault: None,
            obituary,
        }
    }

    /// With a vault for what must not lie open.
    #[must_use]
    pub fn sealing(mut self, vault: Rc<Vault>) -> Self {
        self.vault = Some(vault);
        self
    }

    fn entry(&mut self, identity: &Identity) -> &mut Entry {
        self.entries.entry(identity.clone()).or_insert_with(|| {
            self.births += 1;
            Entry { birth: self.births, ..Entry::default() }
        })
    }

    /// The entry, if it is still the one that something was begun for.
    fn living(&mut self, identity: &Identity, birth: u64) -> Option<&mut Entry> {
        self.entries.get_mut(identity).filter(|entry| entry.birth == birth)
    }

    /// Writes the twin as it is now, and then tells its client: what the client may have has to
    /// be known after a restart too.
    fn save_and_tell(
        &mut self,
        identity: &Identity,
        telling: Option<Telling>,
        ctx: &mut Context<Self>,
    ) {
        let change = self.twin_change(identity);
        self.commit(vec![change], identity, telling, ctx);
    }

    /// Like `save_and_tell`, with further changes of the same identity.
    fn commit(
        &mut self,
        changes: Vec<Change>,
        identity: &Identity,
        telling: Option<Telling>,
        ctx: &mut Context<Self>,
    ) {
        let is_ours = *identity == self.edge_hub || *identity == self.edge_agent;
        let telling = telling.filter(|_| !is_ours); // they are in this process
        let birth = self.entry(identity).birth;
        let telling = telling.map(|telling| (identity.clone(), birth, telling));
        let number = self.tellings.wait(telling);
        let saved = self.save(changes).map(move |is_saved, this, ctx| {
            if is_saved {
                for (identity, birth, telling) in this.tellings.committed(number).flatten() {
                    this.tell(identity, birth, telling, ctx);
                }
            }
        });
        saved.spawn(ctx);
    }

    /// Tells a client. If it was not there, the next difference holds this too.
    fn tell(&mut self, to: Identity, birth: u64, telling: Telling, ctx: &mut Context<Self>) {
        if !self.living(&to, birth).is_some_and(|entry| entry.twin.is_due(&telling)) {
            return; // it is gone, or has heard of it otherwise
        }
        let version = telling.version;
        let patch = json(&with_version(telling.patch.clone(), version));
        let what = Down::Desired { version, patch };
        let told = self.ports.send.ask(sessions::Send { to: to.clone(), what }, CLIENT_DEADLINE);
        let told = told.into_actor(self).map(move |told, this, ctx| {
            if told.unwrap_or(false) {
                return;
            }
            let Some(entry) = this.living(&to, birth) else { return };
            let again = entry.twin.on_not_told(telling).then(|| entry.twin.tell_all()).flatten();
            this.save_and_tell(&to, again, ctx);
        });
        told.spawn(ctx);
    }

    /// Those in this process who act on desired properties, and report how, hear of it.
    fn notify(&self, changed: TwinChanged) {
        let (TwinChanged::Desired(whose) | TwinChanged::Reported(whose)) = &changed;
        if *whose == self.edge_hub {
            self.ports.edge_hub.tell(changed);
        } else if *whose == self.edge_agent {
            self.ports.edge_agent.tell(changed);
        }
    }

    fn status(&self) -> TwinsStatus {
        TwinsStatus {
            twins: self.entries.values().filter(|entry| entry.twin.is_known()).count(),
            pending_patches: self.entries.values().map(|entry| entry.outbox.len()).sum(),
            dead_letters: self.entries.values().map(|entry| entry.refused.len()).sum(),
            changes_owed: self.changes.len(),
        }
    }
}

impl Actor for Twins {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.load(ctx);
    }
}

impl Supervised for Twins {
    fn obituary(&mut self) -> &mut Obituary {
        &mut self.obituary
    }

    fn health(&self) -> Health {
        let TwinsStatus { twins, pending_patches, dead_letters, .. } = self.status();
        let refused = match dead_letters {
            0 => String::new(),
            n => format!(", {n} refused by the parent"),
        };
        Health { state: format!("{twins} twins, {pending_patches} patches owed{refused}") }
    }
}

crate::supervised!(Twins);

impl Handler<GetTwinsStatus> for Twins {
    type Result = MessageResult<GetTwinsStatus>;

    fn handle(&mut self, _: GetTwinsStatus, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.status())
    }
}
