//! Twins on disk: a record per identity, one per patch that is owed, one per patch refused, one
//! per change that routes have not seen.

use actix::prelude::*;
use bytes::Bytes;
use serde_json::{Map, Value};
use tracing::error;

use super::{Early, Entry, STORE_DEADLINE, Twins};
use crate::actors::hub::state::settled;
use crate::actors::supervision::Supervised;
use crate::domain::identity::Identity;
use crate::messages::state::{Change, Pairs, Save, Scan, StoreError};
use crate::messages::twins::{Refused, TwinChanged};

/// Tables of `state/`: twins by identity; patches by identity and number, owed and refused;
/// changes by number.
pub const TABLES: [&str; 4] = [TWINS, PATCHES, REFUSED, CHANGES];

const TWINS: &str = "twins";
const PATCHES: &str = "twin-patches";
pub(super) const REFUSED: &str = "twin-dead-letters";
const CHANGES: &str = "twin-changes";

impl Twins {
    pub(super) fn load(&mut self, ctx: &mut Context<Self>) {
        let scan = |table| Scan { table, prefix: Vec::new(), from: Vec::new(), max: usize::MAX };
        let (settled, port) = (settled(&self.ports.save), self.ports.scan.clone());
        let answers = async move {
            settled.await?;
            let asked = TABLES.map(|table| port.ask(scan(table), STORE_DEADLINE));
            let mut tables = Vec::new();
            for asked in asked {
                tables.push(asked.await.unwrap_or(Err(StoreError::Unavailable))?);
            }
            Ok::<_, StoreError>(tables)
        };
        let answers = answers.into_actor(self).map(|answers, this, ctx| match answers {
            Ok(tables) => {
                this.read(&tables);
                for early in std::mem::take(&mut this.early) {
                    match early {
                        Early::Gone(gone) => this.forget(gone, ctx),
                        Early::Reported(patch, client) => this.accept_early(&patch, client, ctx),
                    }
                }
                this.is_loaded.send_replace(true);
                [this.edge_hub.clone(), this.edge_agent.clone()]
                    .iter()
                    .filter(|own| this.entries.get(*own).is_some_and(|own| own.twin.is_known()))
                    .for_each(|own| this.notify(TwinChanged::Desired(own.clone())));
                this.route_changes(ctx);
                if this.is_up {
                    this.sync_all(ctx); // the link was faster
                }
            }
            Err(error) => this.fail(&format!("twins cannot be read: {error}"), ctx),
        });
        answers.spawn(ctx);
    }

    fn read(&mut self, tables: &[Pairs]) {
        let [twins, patches, refused, changes] = tables else { return };
        for (key, value) in &**twins {
            let opened = match &self.vault {
                Some(vault) if key == self.edge_agent.as_str().as_bytes() => {
                    vault.open_or_plain(key, value).unwrap_or_default()
                }
                _ => value.clone(),
            };
            match (identity(key), serde_json::from_slice(&opened)) {
                (Some(identity), Ok(twin)) => self.entry(&identity).twin = twin,
                _ => error!(key = %String::from_utf8_lossy(key), "a twin cannot be read: left out"),
            }
        }
        for (key, value) in &**patches {
            let patch = serde_json::from_slice::<Map<String, Value>>(value);
            match (patch_number(key), patch) {
                (Some((identity, number)), Ok(patch)) => {
                    self.entry(&identity).outbox.restore(number, patch);
                }
                _ => {
                    error!(key = %String::from_utf8_lossy(key), "a patch cannot be read: left out")
                }
            }
        }
        for (identity, number) in refused.iter().filter_map(|(key, _)| patch_number(key)) {
            let entry = self.entry(&identity);
            entry.refused.push_back(number);
            entry.outbox.go_on_after(number); // a number is given once
        }
        for (key, value) in &**changes {
            let number = key.as_slice().try_into().map(u64::from_be_bytes).ok();
            let split = value.iter().position(|byte| *byte == 0).map(|at| value.split_at(at));
            if let (Some(number), Some((whose, patch))) = (number, split)
                && let Some(whose) = identity(whose)
            {
                self.changes.restore(number, whose, Bytes::copy_from_slice(&patch[1..]));
            }
        }
    }

    /// Whether the changes are on disk; if not, everything is read again.
    pub(super) fn save(
        &mut self,
        changes: Vec<Change>,
    ) -> impl ActorFuture<Self, Output = bool> + 'static + use<> {
        let answer = self.ports.save.ask(Save(changes), STORE_DEADLINE).into_actor(self);
        answer.map(|answer, this, ctx| match answer.unwrap_or(Err(StoreError::Unavailable)) {
            Ok(()) => true,
            Err(error) => {
                this.fail(&format!("twins are not on disk: {error}"), ctx);
                false
            }
        })
    }

    pub(super) fn twin_change(&mut self, identity: &Identity) -> Change {
        let mut twin = serde_json::to_vec(&self.entry(identity).twin).expect("a twin is JSON");
        if let Some(vault) = self.vault.as_ref().filter(|_| *identity == self.edge_agent) {
            match vault.seal(identity.as_str().as_bytes(), &twin) {
                Ok(sealed) => twin = sealed,
                Err(error) => error!(%error, "the twin of $edgeAgent is kept as it is"),
            }
        }
        Change::put(TWINS, identity.as_str(), twin)
    }
}

pub(super) fn put_patch(identity: &Identity, number: u64, patch: &Map<String, Value>) -> Change {
    Change::put(PATCHES, patch_key(identity, number), to_json(patch))
}

pub(super) fn delete_patch(identity: &Identity, number: u64) -> Change {
    Change::delete(PATCHES, patch_key(identity, number))
}

pub(super) fn put_refused(identity: &Identity, number: u64, refused: &Refused) -> Change {
    let refused = serde_json::to_vec(refused).expect("a refusal is JSON");
    Change::put(REFUSED, patch_key(identity, number), refused)
}

pub(super) fn delete_refused(identity: &Identity, number: u64) -> Change {
    Change::delete(REFUSED, patch_key(identity, number))
}

pub(super) fn put_change(number: u64, whose: &Identity, patch: &Bytes) -> Change {
    let value = [whose.as_str().as_bytes(), &[0], patch].concat(); // 0 is in no id
    Change::put(CHANGES, number.to_be_bytes(), value)
}

pub(super) fn delete_change(number: u64) -> Change {
    Change::delete(CHANGES, number.to_be_bytes())
}

impl Entry {
    /// Deletes all that there is on disk of it.
    pub(super) fn all_gone(&self, identity: &Identity) -> Vec<Change> {
        let mut changes = vec![Change::delete(TWINS, identity.as_str())];
        changes.extend(self.outbox.numbers().map(|number| delete_patch(identity, number)));
        changes.extend(self.refused.iter().map(|number| delete_refused(identity, *number)));
        changes
    }
}

pub(super) fn to_json(patch: &Map<String, Value>) -> Bytes {
    serde_json::to_vec(patch).expect("a patch is JSON").into()
}

fn patch_key(identity: &Identity, number: u64) -> Vec<u8> {
    let mut key = identity.as_str().as_bytes().to_vec();
    key.push(0); // in no id
    key.extend(number.to_be_bytes());
    key
}

fn patch_number(key: &[u8]) -> Option<(Identity, u64)> {
    let (id, number) = key.split_last_chunk::<8>()?;
    Some((identity(id.strip_suffix(&[0])?)?, u64::from_be_bytes(*number)))
}

fn identity(key: &[u8]) -> Option<Identity> {
    Identity::parse(std::str::from_utf8(key).ok()?).ok()
}
