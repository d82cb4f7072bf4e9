//! Gives back what a large file, mostly empty, takes of the disk, while the queue is in use: what is
//! left in it is copied beside it, without what is free, and takes its place.
//!
//! Promises: a crash at any step leaves the old file or the new one, whole: nothing is written from
//! before the copy until the new file has the name of the old one, and that is one step. PUBACKs are
//! withheld for as long as it takes to copy what is stored; reads go on.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use super::QueueStore;
use super::exchange::Seal;
use crate::domain::budget::Waste;
use crate::messages::state::StoreError;
use crate::mutant;
use crate::store::copy::{DATA, sync_directory};
use crate::store::env::{Environment, Options};
use crate::store::space::used_pages;
use crate::store::wait::wait;

/// What names of copies in the making begin with.
const STAGING: &str = "compact-";
/// LMDB takes each path once in a process.
static LAST: AtomicU64 = AtomicU64::new(0);

impl QueueStore {
    /// What the file takes of the disk, and what of that is used.
    pub fn waste(&self) -> Result<Waste, StoreError> {
        let inner = self.inner();
        let environment = &inner.environment;
        let data = environment.directory().join(DATA);
        let unread = |error: io::Error| StoreError::Broken(format!("{}: {error}", data.display()));
        let blocks = fs::metadata(&data).map_err(unread)?.blocks();
        let disk = rustix::fs::statvfs(environment.directory()).map_err(|e| unread(e.into()))?;
        let txn = environment.read()?;
        let page_size = u64::from(environment.env.unnamed_database_stat().page_size);
        Ok(Waste {
            file: blocks * 512,
            used: used_pages(&environment.env, &txn, &environment.tables) * page_size,
            reserve: environment.options.reserve,
            disk: disk.f_blocks * disk.f_frsize,
            free: disk.f_bavail * disk.f_frsize,
        })
    }

    /// Makes the file as small as what is stored; answers with what it took before and after. Blocks:
    /// not for an actor's thread.
    pub fn compact(&self) -> Result<(u64, u64), StoreError> {
        let before = self.waste()?.file;
        let number = LAST.fetch_add(1, Ordering::Relaxed);
        let place = self.in_use().directory().to_path_buf();
        let staging = place.join(format!("{STAGING}{number}"));
        let failed = |error: &dyn std::fmt::Display| {
            StoreError::Broken(format!("the queue cannot be compacted: {error}"))
        };
        let (making, sealing, at) = (staging.clone(), staging.clone(), place.clone());
        let make = move |old: &Environment| {
            if old.directory() != at {
                return Err(StoreError::Unavailable); // it was moved meanwhile
            }
            old.copy_to(&making).map_err(|error| failed(&error))?;
            mutant::point("compact-copied");
            let (expected, generation) = (Some(old.id()), Some(old.generation()));
            let options = Options { expected, generation, ..old.options.clone() };
            let new = Self::environment(&making, options).map_err(|error| failed(&error))?;
            new.in_place_of(old).map_err(|error| failed(&error))
        };
        let seal = move |new: &Environment| {
            if let Err(error) = fs::rename(sealing.join(DATA), new.directory().join(DATA)) {
                return Seal::Old(failed(&error));
            }
            mutant::point("compact-renamed");
            match sync_directory(new.directory()) {
                Ok(()) => Seal::New,
                Err(error) => {
                    Seal::Unknown(format!("a compacted file may not be durable: {error}"))
                }
            }
        };
        let done = wait(self.exchange(make, seal));
        clear(&place).map_err(|error| failed(&error))?;
        drop(done?);
        Ok((before, self.waste()?.file))
    }
}

/// Removes copies that were never completed, and what is left beside one that was.
pub(super) fn clear(place: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(place) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let is_ours = entry.file_name().to_string_lossy().starts_with(STAGING);
        if is_ours && entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}
