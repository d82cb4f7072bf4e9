//! What is known of the identities in the scope of this edge, and what a page of it changes.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::domain::identity::Identity;
use crate::messages::identities::{IdentityRecord, IdentityStatus};

/// A part of the scope, as the parent gives it (link.md, scope).
#[derive(Debug, Deserialize)]
pub(super) struct Page {
    pub(super) version: u64,
    #[serde(default)]
    pub(super) identities: Vec<IdentityRecord>,
    #[serde(default)]
    pub(super) removed: Vec<Identity>,
    #[serde(default)]
    pub(super) more: bool,
}

/// A refresh under way.
#[derive(Debug)]
pub(super) struct Refresh {
    /// The next page begins behind this version.
    pub(super) since: u64,
    /// Everything is listed: who was seen. Who was not is not in the scope any more.
    seen: Option<BTreeSet<Identity>>,
}

/// See the module documentation.
#[derive(Debug, Default)]
pub(super) struct Cache {
    /// The parent's, of the last change known.
    pub(super) version: u64,
    records: BTreeMap<Identity, IdentityRecord>,
}

/// What has come of new knowledge.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Update {
    /// Records that are to be written, or deleted where they are not in the cache any more.
    pub(super) touched: BTreeSet<Identity>,
    /// Connections that are to end, and why.
    pub(super) ended: Vec<(Identity, &'static str)>,
    /// Modules whose device has other keys now.
    pub(super) by_device: BTreeSet<Identity>,
    /// Those of them that are no more, or another generation now: their sessions are void.
    pub(super) gone: BTreeSet<Identity>,
}

impl Cache {
    pub(super) fn new(version: u64, records: impl IntoIterator<Item = IdentityRecord>) -> Self {
        let records = records.into_iter().map(|record| (record.id.clone(), record)).collect();
        Cache { version, records }
    }

    pub(super) fn get(&self, id: &Identity) -> Option<&IdentityRecord> {
        self.records.get(id)
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// A refresh from what is known.
    pub(super) fn refresh(&self) -> Refresh {
        let seen = (self.version == 0).then(BTreeSet::new);
        Refresh { since: self.version, seen }
    }

    /// Takes a page in. The refresh goes on with the next one if there are more.
    pub(super) fn take(&mut self, refresh: &mut Refresh, page: Page) -> Update {
        if page.version < refresh.since {
            // the parent was made anew, and has begun from the start
            refresh.seen = Some(BTreeSet::new());
        }
        refresh.since = page.version;
        let mut update = Update::default();
        for record in page.identities {
            if let Some(seen) = &mut refresh.seen {
                seen.insert(record.id.clone());
            }
            self.put(record, &mut update);
        }
        for id in page.removed {
            if refresh.seen.as_ref().is_none_or(|seen| !seen.contains(&id)) {
                self.remove(&id, &mut update);
            }
        }
        if !page.more {
            self.version = page.version;
            let known = self.records.keys();
            let seen = refresh.seen.as_ref();
            let unseen = known.filter(|id| seen.is_some_and(|seen| !seen.contains(*id)));
            for id in unseen.cloned().collect::<Vec<_>>() {
                self.remove(&id, &mut update);
            }
        }
        update
    }

    /// Takes in what the parent said of one identity.
    pub(super) fn take_one(&mut self, id: &Identity, record: Option<IdentityRecord>) -> Update {
        let mut update = Update::default();
        match record.filter(|record| record.id == *id) {
            Some(record) => self.put(record, &mut update),
            None => self.remove(id, &mut update),
        }
        update
    }

    fn put(&mut self, mut record: IdentityRecord, update: &mut Update) {
        record.keys.shrink_to_fit(); // there are many
        let id = record.id.clone();
        let old = self.records.insert(id.clone(), record);
        let new = &self.records[&id];
        let Some(old) = old else {
            update.touched.insert(id);
            return;
        };
        if old == *new {
            return;
        }
        update.touched.insert(id.clone());
        let has_new_keys = (&old.keys, &old.thumbprints, old.ca, &old.generation)
            != (&new.keys, &new.thumbprints, new.ca, &new.generation);
        if old.generation != new.generation {
            update.gone.insert(id.clone());
        }
        if has_new_keys && id.module_id().is_none() {
            let modules = self.records.keys().filter(|other| other.of_device() == id);
            update.by_device.extend(modules.filter(|other| **other != id).cloned());
        }
        if new.status == IdentityStatus::Disabled {
            update.ended.push((id, "it was disabled"));
        } else if has_new_keys {
            update.ended.push((id, "its keys were changed"));
        }
    }

    fn remove(&mut self, id: &Identity, update: &mut Update) {
        if self.records.remove(id).is_some() {
            update.touched.insert(id.clone());
            update.gone.insert(id.clone());
            update.ended.push((id.clone(), "it was removed from the scope of this edge"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: &str, key: &str) -> IdentityRecord {
        IdentityRecord {
            id: Identity::parse(id).unwrap(),
            keys: vec![key.into()],
            thumbprints: Vec::new(),
            ca: false,
            status: IdentityStatus::Enabled,
            generation: "1".into(),
        }
    }

    fn page(version: u64, ids: &[(&str, &str)], removed: &[&str], more: bool) -> Page {
        Page {
            version,
            identities: ids.iter().map(|(id, key)| record(id, key)).collect(),
            removed: removed.iter().map(|id| Identity::parse(id).unwrap()).collect(),
            more,
        }
    }

    fn ended(update: &Update) -> Vec<&str> {
        update.ended.iter().map(|(id, _)| id.as_str()).collect()
    }

    #[test]
    fn what_a_full_refresh_does_not_list_is_gone() {
        let mut cache = Cache::new(0, [record("old", "k"), record("a", "k")]);
        let mut refresh = cache.refresh();
        let update = cache.take(&mut refresh, page(4, &[("a", "k")], &[], true));
        assert!(update.ended.is_empty(), "there is more to come");
        assert_eq!((refresh.since, cache.version), (4, 0));
        let update = cache.take(&mut refresh, page(7, &[("b", "k")], &[], false));
        assert_eq!(ended(&update), ["old"]);
        assert_eq!((cache.version, cache.len()), (7, 2));
    }

    #[test]
    fn a_change_ends_the_connections_of_those_it_concerns_and_no_other() {
        let mut cache = Cache::new(7, [record("a", "k"), record("b", "k"), record("c", "k")]);
        let mut refresh = cache.refresh();
        let mut page = page(9, &[("a", "k"), ("b", "new"), ("d", "k")], &["x"], false);
        page.identities
            .push(IdentityRecord { status: IdentityStatus::Disabled, ..record("c", "k") });
        let update = cache.take(&mut refresh, page);
        assert_eq!(ended(&update), ["b", "c"]);
        assert!(update.gone.is_empty(), "their sessions stay");
        let touched: Vec<_> = update.touched.iter().map(Identity::as_str).collect();
        assert_eq!(touched, ["b", "c", "d"], "what is as it was is not written again");
    }

    #[test]
    fn the_session_of_another_generation_and_of_one_that_is_no_more_is_void() {
        let mut cache = Cache::new(7, [record("a", "k"), record("b", "k")]);
        let mut refresh = cache.refresh();
        let mut page = page(9, &[], &["b"], false);
        page.identities.push(IdentityRecord { generation: "2".into(), ..record("a", "k") });
        let update = cache.take(&mut refresh, page);
        assert_eq!(ended(&update), ["a", "b"]);
        assert_eq!(update.gone.iter().map(Identity::as_str).collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn a_parent_that_was_made_anew_is_read_from_the_start() {
        let mut cache = Cache::new(70, [record("old", "k")]);
        let mut refresh = cache.refresh();
        let update = cache.take(&mut refresh, page(3, &[("a", "k")], &[], false));
        assert_eq!(ended(&update), ["old"]);
        assert_eq!(cache.version, 3);
    }

    #[test]
    fn an_answer_about_one_says_nothing_of_the_others() {
        let mut cache = Cache::new(7, [record("a", "k"), record("b", "k")]);
        let a = Identity::parse("a").unwrap();
        assert_eq!(cache.take_one(&a, Some(record("b", "new"))).ended.len(), 1, "not an answer");
        assert!(cache.get(&a).is_none());
        assert!(cache.take_one(&a, Some(record("a", "k"))).ended.is_empty());
        assert_eq!((cache.version, cache.len()), (7, 2));
    }
}
