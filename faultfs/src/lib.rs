//! A file system for tests, on /dev/fuse: it keeps what was not synced apart, and loses it when its
//! power is cut.
//!
//! A [`Disk`] lives in memory, and outlives its mounts. Its power is cut at once or inside a commit
//! (before the n-th write or sync that follows); then what was not synced is [`Cut::Dropped`], or
//! [`Cut::Torn`]: a random half of the pages stays, and of the changes to directories those up to a
//! random one. After a cut everything fails until the disk is mounted anew: the kernel's page cache
//! belongs to a mount. A disk also fails on request with any error at the n-th write or sync, and
//! has a size that can be changed while it is used.
//!
//! ```text
//!  kernel ──FUSE──► mount.rs ──► state.rs: plan, size ──┬─► file.rs: pages, and what they were
//!  test ───────────────────────────────┘                └─► tree.rs: names, and what they were
//! ```
//!
//! What it does not model: pages torn within 4 KiB, delayed errors of pages that were written through
//! a mapping, permissions.
//!
//! next: `state.rs`

mod file;
mod mount;
mod random;
mod state;
mod tree;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use fuser::Errno;
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::Pid;

use self::state::State;

/// What becomes of that which was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// All of it is gone.
    Dropped,
    /// A random half of the pages is there, and a random part of the changes to directories.
    Torn,
}

/// What names are worth without a sync of their directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// Nothing: POSIX promises no more.
    Strict,
    /// Every sync of anything writes all of them, as the journal of ext4 does.
    Journal,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Bytes, or room for them, in a file.
    Write,
    /// Of a file or a directory.
    Sync,
}

/// What happens instead of an operation.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// It fails; once.
    Fail(Errno),
    /// The power is cut before it.
    Cut(Cut),
}

/// See the module documentation. Cheap to clone: the same disk.
#[derive(Clone)]
pub struct Disk(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// What is mounted is unmounted when this is dropped. Whoever still has files of it open goes on
/// with them: end those programs first.
pub struct Mount {
    _session: fuser::BackgroundSession,
    at: PathBuf,
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = unmount(&self.at, UnmountFlags::DETACH); // somebody else may have done it
    }
}

/// Why nothing can be mounted on this machine, for tests that then say so and are left out.
pub fn why_not() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("only root may mount".into());
    }
    let opened = std::fs::OpenOptions::new().read(true).write(true).open("/dev/fuse");
    opened.err().map(|error| format!("/dev/fuse cannot be opened: {error}"))
}

impl Disk {
    /// An empty one. Equal seeds tear alike.
    pub fn new(seed: u64, names: Names) -> Self {
        let (state, changed) = (Mutex::new(State::new(seed, names)), Condvar::new());
        Disk(Arc::new(Shared { state, changed }))
    }

    /// Switches it on, and mounts it. The mount before it has to be dropped.
    pub fn mount(&self, at: &Path) -> io::Result<Mount> {
        self.state().power_up();
        mount::mount(self.clone(), at).map(|session| Mount { _session: session, at: at.into() })
    }

    /// This process is killed at the very moment of a cut: it must not go on without power.
    pub fn power(&self, process: Option<u32>) {
        let id = process.and_then(|id| i32::try_from(id).ok());
        self.state().powered = id.and_then(Pid::from_raw);
    }

    /// Cuts the power, unless that was done.
    pub fn cut(&self, cut: Cut) {
        self.state().cut(cut);
        self.0.changed.notify_all();
    }

    /// At the `n`-th operation of this kind from now on (1: the next). Takes the place of what was
    /// planned before.
    pub fn plan(&self, operation: Operation, n: u64, fault: Fault) {
        self.state().plan(Some((operation, n, fault)));
    }

    /// Nothing happens any more. Whether it would still have happened.
    pub fn forget_plan(&self) -> bool {
        self.state().plan(None)
    }

    /// Waits for what is planned; `false` if it does not happen in time.
    pub fn wait_happened(&self, within: Duration) -> bool {
        let waited = self.0.changed.wait_timeout_while(self.state(), within, |it| it.is_planned());
        !waited.unwrap_or_else(PoisonError::into_inner).0.is_planned()
    }

    /// Bytes that fit; `None`: any.
    pub fn set_size(&self, bytes: Option<u64>) {
        self.state().size = bytes;
    }

    /// Bytes in use.
    pub fn used(&self) -> u64 {
        self.state().used()
    }

    /// Pages, and changes to directories, that a cut would take now.
    pub fn unsynced(&self) -> usize {
        self.state().unsynced()
    }

    /// How much the last cut took or could have taken.
    pub fn met(&self) -> usize {
        self.state().met
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
