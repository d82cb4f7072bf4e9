//! Which edge may know of which identity, and what has changed for it (link.md, scope).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Entry, Registry};
use crate::domain::identity::Identity;

/// An identity that is not in the scope of an edge any more.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Removed {
    /// Device id of the edge.
    pub edge: String,
    /// Who.
    pub id: Identity,
}

/// A part of what has changed for an edge, in order of versions.
#[derive(Debug, PartialEq, Eq)]
pub struct Page<'a> {
    /// Of the last change in it: the next page begins behind it.
    pub version: u64,
    /// In the scope, with their values of now.
    pub entries: Vec<&'a Entry>,
    /// Not in it any more.
    pub removed: Vec<Identity>,
    /// There are changes behind it.
    pub has_more: bool,
}

impl Registry {
    /// Whether an edge may know of, and speak for, an identity.
    pub fn is_in_scope(&self, edge: &str, id: &Identity) -> bool {
        self.get(id).is_some() && self.edges_above(id.device_id()).contains(edge)
    }

    /// What has changed for an edge after `since`, up to `max` of it. A `since` that this registry
    /// never gave (it was made anew) counts as none.
    pub fn page(&self, edge: &str, since: u64, max: usize) -> Page<'_> {
        let since = if since > self.version { 0 } else { since };
        let mut changed: Vec<(u64, Result<&Entry, &Identity>)> = Vec::new();
        let newer = self.all().filter(|entry| entry.version > since);
        for entry in newer.filter(|entry| self.is_in_scope(edge, &entry.id)) {
            changed.push((entry.version, Ok(entry)));
        }
        for (key, version) in self.removed.iter().filter(|(key, _)| key.edge == edge) {
            if *version > since {
                changed.push((*version, Err(&key.id)));
            }
        }
        changed.sort_by_key(|(version, _)| *version);
        let has_more = changed.len() > max;
        changed.truncate(max);
        let version = changed.last().map_or(since, |(version, _)| *version);
        let entries = changed.iter().filter_map(|(_, what)| what.ok()).collect();
        let removed = changed.iter().filter_map(|(_, what)| what.err().cloned()).collect();
        Page { version, entries, removed, has_more }
    }

    /// The edge devices in whose scope a device is: itself, if it is one, and all above it.
    pub fn edges_above(&self, device: &str) -> BTreeSet<String> {
        let mut above = BTreeSet::new();
        let mut to_visit = vec![device.to_owned()];
        while let Some(device) = to_visit.pop() {
            let entry = Identity::device(&device).ok().and_then(|id| self.get(&id));
            let Some(entry) = entry else { continue };
            if entry.is_edge && !above.insert(device) {
                continue;
            }
            let parents = entry.parents.iter().filter_map(|scope| self.edge_of_scope(scope));
            to_visit.extend(parents.filter(|edge| !above.contains(*edge)).map(str::to_owned));
        }
        above
    }

    /// The device itself and all that have it above them.
    pub(super) fn devices_below(&self, device: &str) -> Vec<String> {
        let mut below = vec![device.to_owned()];
        let id = Identity::device(device).ok();
        if id.and_then(|id| self.get(&id)).is_some_and(|entry| entry.is_edge) {
            let others = self.devices().map(|entry| entry.id.device_id());
            let others = others.filter(|other| *other != device);
            below.extend(
                others.filter(|other| self.edges_above(other).contains(device)).map(str::to_owned),
            );
        }
        below
    }

    /// The edge device with this scope. The scope ends in its generation, behind the last `-`.
    pub(super) fn edge_of_scope<'a>(&'a self, scope: &str) -> Option<&'a str> {
        let (device, _) = scope.strip_prefix("ms-azure-iot-edge://")?.rsplit_once('-')?;
        let entry = self.get(&Identity::device(device).ok()?)?;
        (entry.own_scope().as_deref() == Some(scope)).then(|| entry.id.device_id())
    }
}
