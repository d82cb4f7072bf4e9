//! What a change of the registry has brought about: what to write, and who must hear of it.

use std::collections::{BTreeMap, BTreeSet};

use super::scope::Removed;
use super::{Entry, Registry};
use crate::domain::identity::Identity;

/// See the module documentation.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// New values.
    pub entries: Vec<Entry>,
    /// Gone, with all that belongs to them.
    pub deleted: Vec<Identity>,
    /// Left the scope of an edge with this version; `None`: is in it again.
    pub removed: Vec<(Removed, Option<u64>)>,
    /// Edges whose scope has changed, with the version after it.
    pub scopes: BTreeMap<String, u64>,
    /// Their connections end: deleted, disabled, or with another credential.
    pub ended: BTreeSet<Identity>,
    /// Modules whose device has another credential now: they may have come in by that.
    pub by_device: BTreeSet<Identity>,
}

impl Registry {
    /// Makes a change at `id` and tells what came of it, down to what is below `id` if that is
    /// an edge.
    pub(super) fn changing(&mut self, id: &Identity, change: impl FnOnce(&mut Self)) -> Changes {
        let device = id.device_id();
        let below: Vec<String> = self.devices_below(device);
        let before: BTreeMap<Identity, Entry> = self.snapshot(&below);
        let edges_before = self.edges_of(&below);
        change(self);
        let edges_after = self.edges_of(&below);
        let mut changes = Changes::default();
        for other in &below {
            let (old, new) = (&edges_before[other], &edges_after[other]);
            let is_usable = |entries: &BTreeMap<Identity, Entry>| {
                Identity::device(other).ok().and_then(|id| Some(entries.get(&id)?.is_enabled))
            };
            let has_entered = new.difference(old).next().is_some();
            if has_entered || is_usable(&before) != is_usable(&self.entries) {
                self.renumber(other);
            }
            let now = self.ids_of(other);
            for gone in before.keys().filter(|id| id.device_id() == other && !now.contains(id)) {
                changes.deleted.push(gone.clone());
            }
            let then = before.keys().filter(|id| id.device_id() == other);
            let ids: BTreeSet<Identity> = then.cloned().chain(now.iter().cloned()).collect();
            for edge in old.union(new) {
                for id in &ids {
                    let is_inside = new.contains(edge) && now.contains(id);
                    let key = Removed { edge: edge.clone(), id: id.clone() };
                    self.note_removed(key, is_inside, &mut changes);
                }
            }
        }
        self.compare(&below, &before, &mut changes);
        let touched = edges_before.values().chain(edges_after.values()).flatten();
        let touched = touched.filter(|edge| changes.concerns(edge, &edges_before, &edges_after));
        changes.scopes = touched.map(|edge| (edge.clone(), self.version)).collect();
        changes
    }

    fn snapshot(&self, devices: &[String]) -> BTreeMap<Identity, Entry> {
        let ids = devices.iter().flat_map(|device| self.ids_of(device));
        ids.filter_map(|id| Some((id.clone(), self.get(&id)?.clone()))).collect()
    }

    fn edges_of(&self, devices: &[String]) -> BTreeMap<String, BTreeSet<String>> {
        devices.iter().map(|device| (device.clone(), self.edges_above(device))).collect()
    }

    fn ids_of(&self, device: &str) -> Vec<Identity> {
        let own = Identity::device(device).ok().filter(|id| self.get(id).is_some());
        own.into_iter().chain(self.modules(device).map(|entry| entry.id.clone())).collect()
    }

    /// Gives all of a device a new version, so that edges ask for it.
    fn renumber(&mut self, device: &str) {
        for id in self.ids_of(device) {
            self.version += 1;
            let version = self.version;
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.version = version;
            }
        }
    }

    fn note_removed(&mut self, key: Removed, is_inside: bool, changes: &mut Changes) {
        if is_inside {
            if self.removed.remove(&key).is_some() {
                changes.removed.push((key, None));
            }
        } else if !self.removed.contains_key(&key) {
            self.version += 1;
            self.removed.insert(key.clone(), self.version);
            changes.removed.push((key, Some(self.version)));
        }
    }

    fn compare(&self, below: &[String], before: &BTreeMap<Identity, Entry>, changes: &mut Changes) {
        for id in below.iter().flat_map(|device| self.ids_of(device)) {
            let (Some(now), old) = (self.get(&id), before.get(&id)) else { continue };
            if Some(now) != old {
                changes.entries.push(now.clone());
            }
            let has_new_proof = old.is_some_and(|old| old.authentication != now.authentication);
            if has_new_proof && id.module_id().is_none() {
                let modules = self.modules(id.device_id());
                changes.by_device.extend(modules.map(|module| module.id.clone()));
            }
            if has_new_proof || old.is_some() && !self.is_usable(now) {
                changes.ended.insert(id);
            }
        }
        changes.ended.extend(changes.deleted.iter().cloned());
    }
}

impl Changes {
    /// Whether the scope of `edge` shows any of this.
    fn concerns(
        &self,
        edge: &str,
        before: &BTreeMap<String, BTreeSet<String>>,
        after: &BTreeMap<String, BTreeSet<String>>,
    ) -> bool {
        let has = |edges: &BTreeMap<String, BTreeSet<String>>, device: &str| {
            edges.get(device).is_some_and(|edges| edges.contains(edge))
        };
        let changed = self.entries.iter().map(|entry| &entry.id).chain(&self.deleted);
        let mut devices = changed.map(Identity::device_id);
        devices.any(|device| has(before, device) || has(after, device))
            || self.removed.iter().any(|(key, _)| key.edge == edge)
    }
}
