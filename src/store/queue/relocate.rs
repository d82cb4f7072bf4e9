//! Moves the queue to another directory while it is in use: copies the file as it is, then what
//! has changed meanwhile, and so on; then, between two transactions, the rest.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::QueueStore;
use super::exchange::Seal;
use crate::messages::state::StoreError;
use crate::store::env::Environment;
use crate::store::live_copy::{Copy, CopyError};
use crate::store::wait::wait;

/// While more than this changes within one pass, another is made before the writer is stopped …
const LITTLE: u64 = 4 << 20;
/// … but no more than so many.
const PASSES: usize = 6;

#[expect(clippy::disallowed_methods, reason = "this thread is no actor: it has no other clock")]
fn now() -> Instant {
    Instant::now()
}

/// A move in progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moving {
    /// Where to.
    pub to: PathBuf,
    /// Bytes looked through in this pass,
    pub done: u64,
    /// … of so many.
    pub all: u64,
}

/// Says that there is a move, as long as there is one.
struct Shown<'s>(&'s Mutex<Option<Moving>>);

impl Shown<'_> {
    fn set(&self, moving: Option<Moving>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = moving;
    }
}

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        self.set(None);
    }
}

impl QueueStore {
    /// Moves the queue into the directory `place`, and answers with the environment that was in
    /// use before, which is to be removed, and for how long nothing was written. `seal` makes the new one the one that counts, see
    /// `exchange`. Blocks for as long as it takes to copy; not for an actor's thread.
    pub fn relocate(
        &self,
        place: &Path,
        seal: impl FnOnce(&Environment) -> Seal<CopyError> + Send + 'static,
    ) -> Result<(Arc<Environment>, Duration), CopyError> {
        let shown = Shown(&self.moving);
        let show = |done, all| shown.set(Some(Moving { to: place.into(), done, all }));
        show(0, 0);
        let source = self.in_use();
        let copy = Copy::begin(&source, place)?;
        for _ in 0..PASSES {
            if copy.pass(show)? <= LITTLE {
                break;
            }
        }
        let stopped = Arc::new(OnceLock::new());
        let since = Arc::clone(&stopped);
        let make = move |old: &Environment| {
            since.get_or_init(now);
            if !std::ptr::eq(old, &raw const *source) {
                return Err(StoreError::Unavailable.into()); // exchanged meanwhile
            }
            copy.finish(Self::environment)
        };
        let old = wait(self.exchange(make, seal))?;
        Ok((old, stopped.get().map(Instant::elapsed).unwrap_or_default()))
    }

    /// The move in progress.
    pub fn moving(&self) -> Option<Moving> {
        self.moving.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
