//! Where the queue's store is kept: it may be on a device that is not plugged in, and nothing is
//! created in its stead (architecture 5). `state/` remembers which one it is, and where it lies; the
//! twin of `$edgeHub` may move it.

mod bring;
mod known;
mod place;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use self::known::Known;
pub(in crate::actors::runtime) use self::place::Places;
use crate::actors::salvage::Patience;
use crate::store::salvage::forget;
use crate::store::{Kv, OpenError, Options, QueueStore, SystemClock};

/// An empty file of this name where the queue should be: its loss is accepted.
const ANEW: &str = "begin-anew";

/// See the module documentation. Shared with the threads that open and move the store.
pub(super) struct Depot {
    places: Places,
    options: Options,
    state: Arc<Kv>,
    store: OnceLock<Arc<QueueStore>>,
    why: Mutex<String>,
    /// Held by a move.
    moves: Mutex<()>,
    patience: Patience,
}

impl Depot {
    pub(super) fn new(places: Places, options: Options, state: Arc<Kv>) -> Arc<Self> {
        let (store, why, moves, patience) = Default::default();
        Arc::new(Depot { places, options, state, store, why, moves, patience })
    }

    /// The store, once it was opened.
    pub(super) fn store(&self) -> Option<Arc<QueueStore>> {
        self.store.get().cloned()
    }

    /// Why it is not there.
    pub(super) fn why(&self) -> String {
        self.why.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Opens the store, if that was not done yet; answers whether it is there. Blocks.
    pub(super) fn open(&self) -> bool {
        if self.store.get().is_some() {
            return true;
        }
        match self.find() {
            Ok(store) => {
                let _ = self.store.set(store); // one at a time tries
                self.clear_others();
                true
            }
            Err(why) => {
                tracing::error!(%why, "the queue cannot be had: clients are turned away, modules run on");
                *self.why.lock().unwrap_or_else(PoisonError::into_inner) = why;
                false
            }
        }
    }

    /// Opens the queue where it was left; or, if it is not there, at home: the settings, or the
    /// state directory with all that is in it, may have been changed by hand.
    fn find(&self) -> Result<Arc<QueueStore>, String> {
        let Some(known) = Known::read(&self.state)? else {
            let store = self.open_at(&self.places.home, None)?;
            Known::of(&store.in_use(), true, Vec::new()).save(&self.state);
            return Ok(store);
        };
        let mut places = [&known.place, &self.places.home];
        if known.is_at_home {
            places.reverse();
        }
        let [first, second] = places;
        let store = self.open_at(first, Some(&known)).or_else(|why| {
            let is_elsewhere = first != second && second.join("data.mdb").exists();
            let found = is_elsewhere.then(|| self.open_at(second, Some(&known)).ok());
            found.flatten().ok_or(why)
        })?;
        let found = store.in_use();
        let is_at_home = known.is_at_home || found.directory() == self.places.home;
        let now = Known::of(&found, is_at_home, known.others.clone());
        if now != known {
            // In line before anything that follows; until it is written the old one is right.
            now.save(&self.state);
        }
        Ok(store)
    }

    fn open_at(&self, place: &Path, known: Option<&Known>) -> Result<Arc<QueueStore>, String> {
        let anew = place.join(ANEW);
        let known = known.filter(|_| !anew.exists());
        let (expected, generation) =
            (known.and_then(Known::id), known.map(|known| known.generation));
        let options = Options { expected, generation, ..self.options.clone() };
        if anew.exists() {
            forget(place);
        }
        let open = || QueueStore::open(place, options.clone(), SystemClock::new());
        let store = self.patience.opened("queue", place, open);
        let store = store.map_err(|error| match error {
            OpenError::Missing(_) | OpenError::Other(_) | OpenError::Old(_) => {
                let anew = anew.display();
                format!("{error} (to give the old queue up, make an empty file {anew})")
            }
            error => error.to_string(),
        })?;
        if anew.exists() {
            std::fs::remove_file(&anew).map_err(|error| format!("{}: {error}", anew.display()))?;
        }
        Ok(store)
    }
}
