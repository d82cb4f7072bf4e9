//! The identities of a hub: what is kept of each, who may change what, and which edge may know
//! of whom. All in memory; the shell writes what [`Changes`] names before it answers.
//!
//! next: `localhub/registry/`, the shell.

mod admission;
mod changes;
mod draft;
mod entry;
mod scope;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

pub use self::admission::NotAdmitted;
pub use self::changes::Changes;
pub use self::draft::Draft;
pub use self::entry::{Authentication, Entry};
pub use self::scope::{Page, Removed};
use super::identity::Identity;
use super::service_error::ServiceError;

/// What `If-Match` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IfMatch {
    /// No such header: to create, or to delete whatever is there.
    None,
    /// `*`.
    Any,
    /// This etag and no other.
    Etag(String),
}

impl IfMatch {
    /// From a header, in quotes as SDKs send it, or without.
    pub fn parse(header: Option<&str>) -> Self {
        match header.map(|text| text.trim().trim_matches('"')) {
            None | Some("") => IfMatch::None,
            Some("*") => IfMatch::Any,
            Some(etag) => IfMatch::Etag(etag.to_owned()),
        }
    }

    /// Whether what has `etag` may be changed.
    pub fn admits(&self, etag: &str) -> bool {
        !matches!(self, IfMatch::Etag(wanted) if wanted != etag)
    }
}

/// What a change needs from outside.
pub struct Fresh<'a> {
    /// Unix time.
    pub now: Duration,
    /// A new random key.
    pub key: &'a mut dyn FnMut() -> String,
}

/// All identities, as the store has them.
#[derive(Debug, Default)]
pub struct Registry {
    entries: BTreeMap<Identity, Entry>,
    removed: BTreeMap<Removed, u64>,
    /// Number of the last change.
    version: u64,
}

impl Registry {
    /// From what was stored.
    pub fn load(
        entries: impl IntoIterator<Item = Entry>,
        removed: impl IntoIterator<Item = (Removed, u64)>,
    ) -> Self {
        let entries: BTreeMap<_, _> =
            entries.into_iter().map(|entry| (entry.id.clone(), entry)).collect();
        let removed: BTreeMap<_, _> = removed.into_iter().collect();
        let versions = entries.values().map(|entry| entry.version);
        let version = versions.chain(removed.values().copied()).max().unwrap_or(0);
        Registry { entries, removed, version }
    }

    /// One identity.
    pub fn get(&self, id: &Identity) -> Option<&Entry> {
        self.entries.get(id)
    }

    /// All, in order of ids.
    pub fn all(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// All devices.
    pub fn devices(&self) -> impl Iterator<Item = &Entry> {
        self.all().filter(|entry| entry.id.module_id().is_none())
    }

    /// The modules of a device.
    pub fn modules<'a>(&'a self, device: &'a str) -> impl Iterator<Item = &'a Entry> {
        let first = Identity::module(device, "!").ok();
        let range = first.map(|first| self.entries.range(first..)).into_iter().flatten();
        range.map(|(_, entry)| entry).take_while(move |entry| entry.id.device_id() == device)
    }

    /// Whether it may be used: a module of a disabled device may not.
    pub fn is_usable(&self, entry: &Entry) -> bool {
        let is_enabled = |id: &Identity| self.get(id).is_some_and(|entry| entry.is_enabled);
        entry.is_enabled && is_enabled(&entry.id.of_device())
    }

    /// Creates an identity (`IfMatch::None`) or changes it.
    pub fn put(
        &mut self,
        draft: Draft,
        condition: &IfMatch,
        fresh: &mut Fresh<'_>,
    ) -> Result<Changes, ServiceError> {
        let id = draft.id.clone();
        match (self.entries.get(&id), condition) {
            (Some(_), IfMatch::None) => return Err(exists(&id)),
            (None, IfMatch::Any | IfMatch::Etag(_)) => return Err(not_found(&id)),
            (Some(entry), condition) if !condition.admits(&entry.etag()) => {
                return Err(ServiceError::precondition(&id));
            }
            _ => {}
        }
        if id.module_id().is_some() && !self.entries.contains_key(&id.of_device()) {
            return Err(not_found(&id.of_device()));
        }
        self.check_parents(&draft)?;
        let entry = draft.into_entry(self.get(&id), fresh)?;
        Ok(self.changing(&id, |registry| {
            let became_edge = entry.is_edge && !registry.get(&id).is_some_and(|old| old.is_edge);
            registry.insert(entry);
            if became_edge {
                for name in ["$edgeAgent", "$edgeHub"] {
                    let module = id.sibling(name).expect("the name is an id");
                    if registry.get(&module).is_none() {
                        registry.insert(Entry::system_module(module, fresh));
                    }
                }
            }
        }))
    }

    /// Deletes an identity; with a device go its modules.
    pub fn delete(&mut self, id: &Identity, condition: &IfMatch) -> Result<Changes, ServiceError> {
        let entry = self.entries.get(id).ok_or_else(|| not_found(id))?;
        if !condition.admits(&entry.etag()) {
            return Err(ServiceError::precondition(id));
        }
        if matches!(id.module_id(), Some("$edgeAgent" | "$edgeHub")) {
            let why = format!("{id} is a part of its edge device and goes with it");
            return Err(ServiceError::bad(why));
        }
        Ok(self.changing(id, |registry| {
            if id.module_id().is_none() {
                registry.entries.retain(|other, _| other.device_id() != id.device_id());
            } else {
                registry.entries.remove(id);
            }
        }))
    }

    /// A parent must be an edge, and not the device itself or below it.
    fn check_parents(&self, draft: &Draft) -> Result<(), ServiceError> {
        for scope in draft.parents() {
            let parent = self.edge_of_scope(scope).ok_or_else(|| {
                ServiceError::bad(format!("there is no edge device with the scope {scope}"))
            })?;
            let device = draft.id.device_id();
            if parent == device && !draft.may_name_itself()
                || parent != device && self.edges_above(parent).contains(device)
            {
                let why = format!("{parent} cannot be a parent of {device}: it is below it");
                return Err(ServiceError::bad(why));
            }
        }
        Ok(())
    }

    fn insert(&mut self, mut entry: Entry) {
        self.version += 1;
        entry.version = self.version;
        entry.changes += 1;
        self.entries.insert(entry.id.clone(), entry);
    }
}

/// 404 with the code that SDKs know.
pub fn not_found(id: &Identity) -> ServiceError {
    let code = if id.module_id().is_some() { "ModuleNotFound" } else { "DeviceNotFound" };
    ServiceError::new(404, code, format!("{id} is not registered"))
}

fn exists(id: &Identity) -> ServiceError {
    let is_module = id.module_id().is_some();
    let code = if is_module { "ModuleAlreadyExistsOnDevice" } else { "DeviceAlreadyExists" };
    ServiceError::new(409, code, format!("{id} is registered already"))
}
