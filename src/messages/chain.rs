//! Batches of one connection of which the next is in line while one is being written.
//!
//! Promises: after one that was not stored none is. Else what a client sends again, since it has no
//! PUBACK, would come behind what it sent later.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// See the module documentation. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Chain(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    in_line: AtomicU64,
    is_broken: AtomicBool,
}

impl Chain {
    /// One more of its batches is in line, behind those before it.
    pub fn on_in_line(&self) {
        self.0.in_line.fetch_add(1, Ordering::Relaxed);
    }

    /// How many of them ever were.
    pub fn in_line(&self) -> u64 {
        self.0.in_line.load(Ordering::Relaxed)
    }

    /// One of them was not stored.
    pub fn is_broken(&self) -> bool {
        self.0.is_broken.load(Ordering::Acquire)
    }

    /// A link for one batch.
    pub fn link(&self) -> Link {
        Link(Some(self.clone()))
    }
}

/// Breaks its chain when it is dropped, unless its batch was stored.
#[derive(Debug, Default)]
pub struct Link(Option<Chain>);

impl Link {
    /// The batch is on disk.
    pub fn on_stored(mut self) {
        self.0 = None;
    }

    /// The chain.
    pub fn chain(&self) -> Option<&Chain> {
        self.0.as_ref()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Some(chain) = &self.0 {
            chain.0.is_broken.store(true, Ordering::Release);
        }
    }
}
