//! Brings the queue to where it is meant to lie, while it is in use.
//!
//! `state/` says which copy counts, and is written once the new one is complete and on disk: a
//! crash before that leaves the old place in use, one after it the new place. What is left over
//! then is known by its generation, and cleared at the next start.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use super::Depot;
use super::known::Known;
use crate::mutant;
use crate::store::live_copy::{CopyError, clear, remove};
use crate::store::queue::Seal;
use crate::store::{Environment, Kv};

impl Depot {
    /// Moves the queue into this directory (`None`: where the settings say), unless it lies there
    /// already. An error says what to do; nothing has changed then. Blocks for as long as it takes
    /// to copy: not for an actor's thread.
    pub(in crate::actors::runtime) fn bring(&self, location: Option<&str>) -> Result<(), String> {
        let _one_at_a_time = self.moves.lock().unwrap_or_else(PoisonError::into_inner);
        let store = self.store().ok_or_else(|| self.why())?;
        let place = self.places.directory(location)?;
        let source = store.in_use();
        let is_at_home = location.is_none() || self.places.is_home(&place);
        let others = Known::read(&self.state)?.map(|known| known.others).unwrap_or_default();
        let known = Known::of(&source, is_at_home, others);
        if source.directory().canonicalize().is_ok_and(|current| current == place) {
            if Known::read(&self.state)?.as_ref() != Some(&known) {
                known.save(&self.state);
            }
            return Ok(());
        }
        let (from, id, generation) = (known.place.clone(), source.id(), source.generation());
        drop(source); // the last one who has it closes it
        tracing::info!(?from, to = ?place, "the queue is being moved");
        let noted = known.clone().beside(&place);
        noted.save_and_wait(&self.state).map_err(|error| error.to_string())?;
        mutant::point("move-noted");
        let seal = self.seal(noted.clone(), &place, is_at_home);
        let stopped = match store.relocate(&place, seal) {
            // Nobody else can have opened it: we hold its lock until it is gone.
            Ok((old, stopped)) => {
                mutant::point("move-switched");
                if let Err(error) = remove(old.directory()) {
                    tracing::warn!(?from, %error, "the old files of the queue stay for now");
                }
                stopped
            }
            Err(error) => {
                // Only while it is certain that the old one counts.
                let is_old = Known::read(&self.state).is_ok_and(|found| found == Some(noted));
                if is_old && clear(&place, id, generation).is_ok() {
                    known.save(&self.state);
                }
                tracing::error!(%error, to = ?place, "the queue cannot be moved: it stays where it is");
                return Err(error.to_string());
            }
        };
        let id = format!("{:032x}", id.0);
        tracing::info!(?from, to = ?place, id, ?stopped, "the queue was moved");
        self.clear_others();
        mutant::point("move-done");
        Ok(())
    }

    /// Makes the copy the one that counts, by what `state/` says.
    fn seal(
        &self,
        before: Known,
        place: &Path,
        is_at_home: bool,
    ) -> impl FnOnce(&Environment) -> Seal<CopyError> + Send + 'static + use<> {
        let (state, places, place) =
            (Arc::clone(&self.state), self.places.clone(), place.to_owned());
        move |new| {
            if !places.is_still(&place) {
                return Seal::Old(CopyError::NoPlace(place));
            }
            let others = before.others.iter().filter(|other| **other != place).cloned();
            let known = Known::of(new, is_at_home, others.collect()).beside(&before.place);
            match known.save_and_wait(&state) {
                Ok(()) => {
                    mutant::point("move-remembered");
                    Seal::New
                }
                Err(error) => verdict(&state, &before, &known, error.into()),
            }
        }
    }

    /// Clears directories where something is left over. What cannot be cleared now (the device is
    /// not there) is tried at the next start again, and after the next move.
    pub(super) fn clear_others(&self) {
        let (Some(store), Ok(Some(known))) = (self.store(), Known::read(&self.state)) else {
            return;
        };
        if known.others.is_empty() {
            return;
        }
        let live = store.in_use();
        let is_left = |place: &PathBuf| {
            let is_live = place.canonicalize().is_ok_and(|place| place == live.directory());
            if is_live || place == live.directory() {
                return false;
            }
            match clear(place, live.id(), live.generation()) {
                Ok(true) => false,
                Ok(false) => {
                    tracing::warn!(
                        ?place,
                        "a store lies there that is not known to be left over: it stays"
                    );
                    false
                }
                Err(error) => {
                    tracing::warn!(?place, %error, "what is left of the queue there cannot be removed yet");
                    true
                }
            }
        };
        let others: Vec<_> = known.others.iter().filter(|place| is_left(place)).cloned().collect();
        mutant::point("move-cleared");
        if others != known.others {
            known.with_others(others).save(&self.state);
        }
    }
}

/// It is not known whether it was written: what is on disk decides.
fn verdict(state: &Kv, before: &Known, known: &Known, error: CopyError) -> Seal<CopyError> {
    match Known::read(state) {
        Ok(Some(found)) if found == *known => Seal::New,
        Ok(Some(found)) if found == *before => Seal::Old(error),
        found => Seal::Unknown(format!("which queue counts is not known: {found:?}, {error}")),
    }
}
