//! What `state/` remembers of the queue: which store is ours, where it lies, and where parts and old
//! copies of it may be left. Written in one transaction, so it is as it was or as it is to be.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::messages::state::{Change, StoreError};
use crate::store::{Environment, Kv, StoreId};

const TABLE: &str = "meta";
const KEY: &[u8] = b"queue";

/// See the module documentation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Known {
    id: String,
    /// Where it lies.
    pub(super) place: PathBuf,
    /// How often it was moved: an older copy is none.
    #[serde(default)]
    pub(super) generation: u64,
    /// It lies where the settings say, and follows when they are changed.
    #[serde(default = "yes")]
    pub(super) is_at_home: bool,
    /// Directories that are still to be cleared.
    #[serde(default)]
    pub(super) others: Vec<PathBuf>,
}

/// Of what an earlier version has written.
fn yes() -> bool {
    true
}

impl Known {
    /// The store that lies in `place`.
    pub(super) fn of(store: &Environment, is_at_home: bool, others: Vec<PathBuf>) -> Self {
        let (id, place) = (format!("{:032x}", store.id().0), store.directory().to_path_buf());
        Known { id, place, generation: store.generation(), is_at_home, others }
    }

    /// `None`: there was never one.
    pub(super) fn read(state: &Kv) -> Result<Option<Self>, String> {
        let known = state.fetch(TABLE, KEY).map_err(|error| error.to_string())?;
        let read = |known: Vec<u8>| serde_json::from_slice::<Self>(&known);
        let known = known.map(read).transpose();
        let known =
            known.map_err(|error| format!("which queue is ours cannot be read: {error}"))?;
        match known {
            Some(known) if known.id().is_none() => {
                Err(format!("which queue is ours cannot be read: {}", known.id))
            }
            known => Ok(known),
        }
    }

    pub(super) fn id(&self) -> Option<StoreId> {
        u128::from_str_radix(&self.id, 16).ok().map(StoreId)
    }

    /// With one directory more to be cleared some day.
    pub(super) fn beside(mut self, place: &Path) -> Self {
        if !self.others.iter().any(|other| other == place) {
            self.others.push(place.into());
        }
        self
    }

    /// With these left to be cleared.
    pub(super) fn with_others(self, others: Vec<PathBuf>) -> Self {
        Known { others, ..self }
    }

    fn change(&self) -> Result<Change, StoreError> {
        let text = serde_json::to_vec(self).map_err(|error| {
            StoreError::Broken(format!("{} cannot be remembered: {error}", self.place.display()))
        })?;
        Ok(Change::put(TABLE, KEY, text))
    }

    /// Hands it in to be written; nobody waits.
    pub(super) fn save(&self, state: &Kv) {
        match self.change() {
            // If it is never written, what is there stays right.
            Ok(change) => drop(state.save(vec![change])),
            Err(error) => tracing::error!(%error, "the place of the queue"),
        }
    }

    /// Writes it. Blocks until it is on disk.
    pub(super) fn save_and_wait(&self, state: &Kv) -> Result<(), StoreError> {
        state.save_and_wait(vec![self.change()?])
    }
}
