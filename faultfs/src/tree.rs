//! Names: directories as they are, as they are on disk, and the changes between the two, in order.
//!
//! A change is whole or not there, as in the journal of a file system: a rename never leaves a file
//! without a name.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};

use crate::random::Random;

pub(crate) type Number = u64;
pub(crate) const ROOT: Number = 1;

type Directories = HashMap<Number, BTreeMap<OsString, Number>>;

#[derive(Clone, Debug)]
enum Change {
    Made(Number),
    Set(Number, OsString, Number),
    Gone(Number, OsString),
    Moved((Number, OsString), (Number, OsString)),
}

impl Change {
    fn concerns(&self, directory: Number) -> bool {
        match self {
            Change::Made(it) | Change::Set(it, _, _) | Change::Gone(it, _) => *it == directory,
            Change::Moved((from, _), (to, _)) => *from == directory || *to == directory,
        }
    }

    fn apply(&self, all: &mut Directories) {
        match self {
            Change::Made(number) => drop(all.entry(*number).or_default()),
            Change::Set(directory, name, number) => {
                all.entry(*directory).or_default().insert(name.clone(), *number);
            }
            Change::Gone(directory, name) => {
                all.entry(*directory).or_default().remove(name);
            }
            Change::Moved((from, name), (to, new)) => {
                if let Some(number) = all.entry(*from).or_default().remove(name) {
                    all.entry(*to).or_default().insert(new.clone(), number);
                }
            }
        }
    }
}

#[derive(Debug)]
pub(crate) struct Tree {
    now: Directories,
    synced: Directories,
    changes: Vec<Change>,
}

impl Tree {
    pub(crate) fn new() -> Self {
        let now = HashMap::from([(ROOT, BTreeMap::new())]);
        Tree { synced: now.clone(), now, changes: Vec::new() }
    }

    pub(crate) fn find(&self, directory: Number, name: &OsStr) -> Option<Number> {
        self.now.get(&directory)?.get(name).copied()
    }

    pub(crate) fn entries(
        &self,
        directory: Number,
    ) -> impl Iterator<Item = (&OsString, Number)> + '_ {
        let all = self.now.get(&directory).into_iter().flatten();
        all.map(|(name, number)| (name, *number))
    }

    pub(crate) fn make_directory(&mut self, number: Number) {
        self.change(Change::Made(number));
    }

    pub(crate) fn set(&mut self, directory: Number, name: &OsStr, number: Number) {
        self.change(Change::Set(directory, name.into(), number));
    }

    pub(crate) fn remove(&mut self, directory: Number, name: &OsStr) {
        self.change(Change::Gone(directory, name.into()));
    }

    pub(crate) fn rename(&mut self, from: (Number, &OsStr), to: (Number, &OsStr)) {
        self.change(Change::Moved((from.0, from.1.into()), (to.0, to.1.into())));
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.now);
        self.changes.push(change);
    }

    pub(crate) fn unsynced(&self) -> usize {
        self.changes.len()
    }

    pub(crate) fn sync(&mut self, directory: Number) {
        for change in std::mem::take(&mut self.changes) {
            if change.concerns(directory) {
                change.apply(&mut self.synced);
            } else {
                self.changes.push(change);
            }
        }
    }

    pub(crate) fn sync_all(&mut self) {
        for change in self.changes.drain(..) {
            change.apply(&mut self.synced);
        }
    }

    /// The power is gone: none of the changes, or a random part of them from the first on, stay.
    pub(crate) fn cut(&mut self, torn: Option<&mut Random>) {
        let kept = torn.map_or(0, |random| random.below(self.changes.len() + 1));
        for change in self.changes.drain(..).take(kept) {
            change.apply(&mut self.synced);
        }
        self.now = self.synced.clone();
    }

    /// What has a name, now or after a cut.
    pub(crate) fn named(&self) -> BTreeSet<Number> {
        let of = |all: &Directories| -> Vec<Number> {
            all.values().flat_map(|names| names.values().copied()).collect()
        };
        let pending = self.changes.iter().filter_map(|change| match change {
            Change::Set(_, _, number) | Change::Made(number) => Some(*number),
            _ => None,
        });
        [ROOT].into_iter().chain(of(&self.now)).chain(of(&self.synced)).chain(pending).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(tree: &Tree) -> Vec<&str> {
        tree.entries(ROOT).map(|(name, _)| name.to_str().unwrap()).collect()
    }

    #[test]
    fn a_name_is_there_after_a_cut_once_its_directory_was_synced() {
        let mut tree = Tree::new();
        tree.set(ROOT, "kept".as_ref(), 2);
        tree.make_directory(3);
        tree.set(ROOT, "folder".as_ref(), 3);
        tree.set(3, "below".as_ref(), 4);
        tree.sync(ROOT);
        tree.rename((ROOT, "kept".as_ref()), (3, "moved".as_ref()));
        assert_eq!((names(&tree), tree.unsynced()), (vec!["folder"], 3));
        tree.cut(None);
        assert_eq!(names(&tree), ["folder", "kept"]);
        assert_eq!(tree.entries(3).count(), 0);
    }

    #[test]
    fn a_torn_rename_leaves_the_old_or_the_new_name() {
        let mut found = BTreeSet::new();
        for seed in 1..20 {
            let mut tree = Tree::new();
            tree.set(ROOT, "old".as_ref(), 2);
            tree.set(ROOT, "target".as_ref(), 3);
            tree.sync_all();
            tree.rename((ROOT, "old".as_ref()), (ROOT, "target".as_ref()));
            tree.cut(Some(&mut Random::new(seed)));
            found.insert((tree.find(ROOT, "old".as_ref()), tree.find(ROOT, "target".as_ref())));
        }
        assert_eq!(found, BTreeSet::from([(Some(2), Some(3)), (None, Some(2))]));
    }
}
