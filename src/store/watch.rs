//! Small files beside a store that tell of it what it cannot tell itself.
//!
//! | file | says |
//! |---|---|
//! | `id` | which store belongs here: a data file that is empty is not taken for a new store |
//! | `starts` | how often it was opened since it was last known to be well |
//! | `damaged` | a reader met what no reader should meet: salvage before it is opened again |

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::copy::sync_directory;
use super::env::StoreId;

const ID: &str = "id";
const STARTS: &str = "starts";
const DAMAGED: &str = "damaged";
/// All of them.
pub(super) const FILES: [&str; 3] = [ID, STARTS, DAMAGED];

/// Starts that were not followed by `ready`, and those that were not followed by a clean end or
/// some time of good health.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Starts {
    pub(super) unready: u32,
    pub(super) unwell: u32,
}

/// See the module documentation. What cannot be written is not: it is a help, no more.
#[derive(Clone, Debug)]
pub(super) struct Watch(PathBuf);

impl Watch {
    pub(super) fn new(directory: &Path) -> Self {
        Watch(directory.into())
    }

    /// Which store it is, and how often it was moved.
    pub(super) fn id(&self) -> Option<(StoreId, u64)> {
        let text = self.read(ID)?;
        let mut words = text.split_whitespace();
        let id = u128::from_str_radix(words.next()?, 16).ok().map(StoreId)?;
        Some((id, words.next().and_then(|word| word.parse().ok()).unwrap_or_default()))
    }

    pub(super) fn set_id(&self, id: StoreId, generation: u64) {
        if self.id() != Some((id, generation)) {
            self.write(ID, &format!("{:032x} {generation}\n", id.0));
        }
    }

    pub(super) fn damage(&self) -> Option<String> {
        self.read(DAMAGED)
    }

    /// The next start salvages.
    pub(super) fn set_damage(&self, why: &str) {
        self.write(DAMAGED, why);
    }

    pub(super) fn starts(&self) -> Starts {
        let text = self.read(STARTS).unwrap_or_default();
        let mut numbers = text.split_whitespace().map(|number| number.parse().unwrap_or(0));
        let mut next = || numbers.next().unwrap_or(0);
        Starts { unready: next(), unwell: next() }
    }

    /// One more. Until it is said to be well, this one may have been killed by what is in there.
    pub(super) fn count_start(&self) {
        let Starts { unready, unwell } = self.starts();
        self.set_starts(Starts { unready: unready + 1, unwell: unwell + 1 });
    }

    pub(super) fn set_starts(&self, Starts { unready, unwell }: Starts) {
        if (unready, unwell) == (0, 0) {
            self.remove(STARTS);
        } else {
            self.write(STARTS, &format!("{unready} {unwell}\n"));
        }
    }

    /// The store that was here is given up: another one may be made.
    pub(super) fn forget(&self) {
        self.remove(ID);
        self.is_whole();
    }

    /// It was salvaged: what was said of it is over.
    pub(super) fn is_whole(&self) {
        self.remove(DAMAGED);
        self.remove(STARTS);
    }

    fn read(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.0.join(name)).ok()
    }

    /// Durable and whole, or not at all.
    fn write(&self, name: &str, text: &str) {
        let part = self.0.join(format!("{name}.part"));
        let write = || {
            let mut file = File::create(&part)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&part, self.0.join(name))?;
            sync_directory(&self.0)
        };
        if let Err(error) = write() {
            tracing::warn!(path = ?self.0.join(name), %error, "cannot be written");
        }
    }

    fn remove(&self, name: &str) {
        let path = self.0.join(name);
        if path.symlink_metadata().is_ok()
            && let Err(error) = std::fs::remove_file(&path)
        {
            tracing::warn!(?path, %error, "cannot be removed");
        }
    }
}
