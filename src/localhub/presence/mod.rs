//! Who is here, since when, and who was active last; also those behind an edge.
//!
//! Not for ever: it is written every few seconds, so a crash may lose the last ones. After a
//! start nobody is here until they come again.
//!
//! next: `rest/devices.rs`, which shows it

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use actix::prelude::*;

use super::tables::{self, PRESENCE};
use crate::actors::clock;
use crate::actors::hub::state::settled;
use crate::actors::port::Port;
use crate::actors::supervision::{Obituary, Supervised};
use crate::domain::identity::Identity;
use crate::messages::registry::{Active, Forget, ListPresence, Presence as Shown};
use crate::messages::sessions::PresenceChanged;
use crate::messages::state::{Change, Save, Scan, StoreError};
use crate::messages::supervision::Health;

/// How often what has changed is written.
const FLUSH: Duration = Duration::from_secs(5);
/// Away for longer is long gone.
const LONG: Duration = Duration::from_secs(60);

/// See the module documentation.
pub struct Presence {
    save: Port<Save>,
    scan: Port<Scan>,
    began: Instant,
    is_loaded: bool,
    known: BTreeMap<Identity, Known>,
    /// Changed since they were last written.
    dirty: BTreeSet<Identity>,
    obituary: Obituary,
}

#[derive(Default)]
struct Known {
    shown: Shown,
    /// When it left, if that was in the life of this actor.
    left: Option<Instant>,
}

impl Presence {
    /// With nobody here.
    pub fn new(save: Port<Save>, scan: Port<Scan>, obituary: Obituary) -> Self {
        let (known, dirty) = Default::default();
        Presence { save, scan, began: clock::now(), is_loaded: false, known, dirty, obituary }
    }

    /// What was stored counts for those who did not come since.
    fn on_loaded(&mut self, stored: Vec<(Identity, Shown)>) {
        self.is_loaded = true;
        for (identity, shown) in stored {
            let was_here = shown.is_connected;
            let shown = Shown { is_connected: false, ..shown };
            let known = self.known.entry(identity.clone()).or_insert(Known { shown, left: None });
            if was_here && !known.shown.is_connected {
                known.shown.since = Some(clock::unix_time());
                self.dirty.insert(identity);
            }
        }
    }

    fn flush(&mut self) -> impl Future<Output = Result<(), StoreError>> + use<> {
        let dirty = std::mem::take(&mut self.dirty);
        let changes: Vec<_> = dirty
            .into_iter()
            .filter_map(|id| Some((self.known.get(&id)?, id)))
            .map(|(known, id)| {
                let json = serde_json::to_vec(&known.shown).expect("a presence is JSON");
                Change::put(PRESENCE, id.as_str(), json)
            })
            .collect();
        let saved = (!changes.is_empty()).then(|| tables::save(&self.save, changes));
        async move {
            match saved {
                Some(saved) => saved.await,
                None => Ok(()),
            }
        }
    }

    fn show(&self, id: &Identity) -> Option<Shown> {
        let known = self.known.get(id)?;
        let since = known.left.unwrap_or(self.began);
        let is_away = !known.shown.is_connected;
        let is_long_gone = is_away && clock::now().duration_since(since) >= LONG;
        Some(Shown { is_long_gone, ..known.shown.clone() })
    }
}

impl Actor for Presence {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let (settled, scan) = (settled(&self.save), self.scan.clone());
        let stored = async move {
            settled.await?;
            let read = |key: &[u8], value: &[u8]| {
                let id = Identity::parse(std::str::from_utf8(key).ok()?).ok()?;
                Some((id, serde_json::from_slice(value).ok()?))
            };
            tables::load(scan, PRESENCE, read).await
        };
        ctx.spawn(stored.into_actor(self).map(|stored, actor, ctx| match stored {
            Ok(stored) => actor.on_loaded(stored),
            Err(error) => actor.fail(&error, ctx),
        }));
        ctx.run_interval(FLUSH, |actor, ctx| {
            let flushed = actor.flush().into_actor(actor);
            ctx.spawn(flushed.map(|flushed, _, _| {
                if let Err(why) = flushed {
                    tracing::warn!(%why, "presence was not written; it is with the next change");
                }
            }));
        });
    }
}

impl Supervised for Presence {
    fn obituary(&mut self) -> &mut Obituary {
        &mut self.obituary
    }

    fn health(&self) -> Health {
        let here = self.known.values().filter(|known| known.shown.is_connected).count();
        Health { state: format!("{here} connected") }
    }

    fn shut_down(&mut self, ctx: &mut Context<Self>) {
        let flushed = self.flush().into_actor(self);
        ctx.spawn(flushed.map(|_, _, ctx| ctx.stop()));
    }
}

crate::supervised!(Presence);

impl Handler<PresenceChanged> for Presence {
    type Result = ();

    fn handle(&mut self, changed: PresenceChanged, _: &mut Self::Context) {
        let now = clock::unix_time();
        let known = self.known.entry(changed.identity.clone()).or_default();
        let is_here = changed.features.is_some();
        if known.shown.is_connected != is_here || known.shown.since.is_none() {
            known.shown.is_connected = is_here;
            known.shown.since = Some(now);
        }
        known.shown.last_activity = Some(now);
        known.left = (!is_here).then(clock::now);
        self.dirty.insert(changed.identity);
    }
}

impl Handler<Active> for Presence {
    type Result = ();

    fn handle(&mut self, Active(identities): Active, _: &mut Self::Context) {
        let now = clock::unix_time();
        for identity in identities {
            self.known.entry(identity.clone()).or_default().shown.last_activity = Some(now);
            self.dirty.insert(identity);
        }
    }
}

impl Handler<Forget> for Presence {
    type Result = ();

    fn handle(&mut self, Forget(identities): Forget, _: &mut Self::Context) {
        for identity in identities {
            self.known.remove(&identity);
            self.dirty.remove(&identity);
        }
    }
}

impl Handler<ListPresence> for Presence {
    type Result = Result<BTreeMap<Identity, Shown>, StoreError>;

    fn handle(&mut self, list: ListPresence, _: &mut Self::Context) -> Self::Result {
        if !self.is_loaded {
            return Err(StoreError::Unavailable);
        }
        let ids: Vec<Identity> = match list {
            ListPresence::Of(ids) => ids,
            ListPresence::All => self.known.keys().cloned().collect(),
        };
        Ok(ids.into_iter().filter_map(|id| self.show(&id).map(|shown| (id, shown))).collect())
    }
}

#[cfg(test)]
mod tests;
