//! Where the queue's store is kept: it may be on a device that is not plugged in, and nothing is
//! created in its stead (architecture 5). `state/` remembers which one it is.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use serde::{Deserialize, Serialize};

use crate::messages::state::Change;
use crate::store::{Kv, OpenError, Options, QueueStore, StoreId, SystemClock};

const TABLE: &str = "meta";
const KEY: &[u8] = b"queue";
/// An empty file of this name where the queue should be: its loss is accepted.
const ANEW: &str = "begin-anew";

/// See the module documentation. Shared with the thread that opens the store.
pub(super) struct Depot {
    place: PathBuf,
    options: Options,
    state: Arc<Kv>,
    store: OnceLock<Arc<QueueStore>>,
    why: Mutex<String>,
}

/// What `state/` remembers.
#[derive(Serialize, Deserialize)]
struct Known {
    id: String,
    place: PathBuf,
}

impl Depot {
    pub(super) fn new(place: PathBuf, options: Options, state: Arc<Kv>) -> Arc<Self> {
        let (store, why) = (OnceLock::new(), Mutex::default());
        Arc::new(Depot { place, options, state, store, why })
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
                true
            }
            Err(why) => {
                tracing::error!(%why, "the queue cannot be had: clients are turned away, modules run on");
                *self.why.lock().unwrap_or_else(PoisonError::into_inner) = why;
                false
            }
        }
    }

    fn find(&self) -> Result<Arc<QueueStore>, String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let known = self.state.fetch(TABLE, KEY).map_err(|error| text(&error))?;
        let known = match known.map(|known| serde_json::from_slice::<Known>(&known)) {
            None => None,
            Some(Ok(known)) => u128::from_str_radix(&known.id, 16).ok().map(StoreId),
            Some(Err(error)) => return Err(format!("which queue is ours cannot be read: {error}")),
        };
        let anew = self.place.join(ANEW);
        let is_anew = anew.exists();
        let options = Options { expected: known.filter(|_| !is_anew), ..self.options.clone() };
        let opened = QueueStore::open(&self.place, options, SystemClock::new());
        let store = opened.map_err(|error| match error {
            OpenError::Missing(_) | OpenError::Other(_) => {
                let anew = anew.display();
                format!("{error} (to give the old queue up, make an empty file {anew})")
            }
            error => error.to_string(),
        })?;
        if known != Some(store.id()) {
            let known = Known { id: format!("{:032x}", store.id().0), place: self.place.clone() };
            let known = serde_json::to_vec(&known).expect("two texts are JSON");
            // In line before anything that follows; if it is never written, the next start asks
            // for no queue in particular.
            drop(self.state.save(vec![Change::put(TABLE, KEY, known)]));
        }
        if is_anew {
            std::fs::remove_file(&anew).map_err(|error| format!("{}: {error}", anew.display()))?;
        }
        Ok(store)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_that_is_gone_is_not_replaced_until_that_is_asked_for() {
        let directory = tempfile::tempdir().unwrap();
        let options = Options { reserve: 0, ..Options::queue() };
        let state = Options { reserve: 0, ..Options::state() };
        let state = Kv::open(&directory.path().join("state"), &[TABLE], state).unwrap();
        let place = directory.path().join("queue");
        let depot = || Depot::new(place.clone(), options.clone(), Arc::clone(&state));
        let first = depot();
        assert!(first.open());
        let id = first.store().unwrap().id();
        while state.fetch(TABLE, KEY).unwrap().is_none() {
            std::thread::yield_now(); // the writer is about to
        }
        drop(first);
        let elsewhere = directory.path().join("unplugged");
        std::fs::rename(&place, &elsewhere).unwrap();
        let second = depot();
        assert!(!second.open() && second.store().is_none());
        assert!(second.why().contains("plugged in") && !place.join("data.mdb").exists());
        std::fs::rename(&elsewhere, &place).unwrap();
        assert!(second.open(), "plugged in again");
        assert_eq!(second.store().unwrap().id(), id);
        drop(second);
        std::fs::remove_dir_all(&place).unwrap();
        std::fs::create_dir(&place).unwrap();
        let third = depot();
        assert!(!third.open());
        std::fs::write(place.join(ANEW), "").unwrap();
        assert!(third.open() && third.store().unwrap().id() != id);
        assert!(!place.join(ANEW).exists());
    }
}
