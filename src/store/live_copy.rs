//! A copy of an environment's file, made while the environment is in use and written to (for one
//! that rests, or is to be made smaller, see `copy.rs`).
//!
//! LMDB overwrites pages of the past only, and its file is whole whenever no transaction is being
//! committed. So the file is copied block by block while it changes, in several passes, each of
//! which writes the blocks that differ; the last one, while nothing writes, makes the copy whole.
//! A copy is made in a directory of its own, `incoming-ID-GENERATION`, and gets its place by a
//! rename once it is complete and synced: a store that can be opened is never half of one.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::io::Errno;

use super::copy::{DATA, sync_directory, sync_with_parent};
use super::env::{Environment, OpenError, Options, StoreId};
use super::raw;
use super::watch;
use crate::messages::state::StoreError;
use crate::mutant;

const BLOCK: usize = 1 << 20;
/// Files of an environment.
const FILES: [&str; 3] = [DATA, "lock.mdb", "holder"];
/// Room that is wanted beside the copy and the reserve.
const SPARE: u64 = 1 << 20;

/// Why a copy cannot be made. Nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CopyError {
    /// Most likely a device that is not there.
    #[error("there is no directory {0}: make it, or plug in the device that it is on")]
    NoPlace(PathBuf),
    /// Even the copy alone does not fit, or nothing would be left.
    #[error(
        "{0} has {1} bytes free, and the queue needs {2}: make room there, or name another place"
    )]
    NoRoom(PathBuf, u64, u64),
    /// Others took the room meanwhile.
    #[error("{0} became full while the queue was copied there: make room, or name another place")]
    Full(PathBuf),
    /// By its mount options, or because it is broken.
    #[error("{0} is on a read-only file system: mount it for writing, or name another place")]
    ReadOnly(PathBuf),
    /// By its mode or owner.
    #[error("this process may not write to {0}: let its user do so, or name another place")]
    Forbidden(PathBuf),
    /// Not ours, or nobody knows whose.
    #[error("there is a store in {0} already: name another place, or take that store away")]
    Taken(PathBuf),
    /// Something else.
    #[error("the queue cannot be copied to {0}: {1}")]
    Failed(PathBuf, String),
    /// The queue itself does not take part.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl CopyError {
    fn of(place: &Path, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                CopyError::NoPlace(place.into())
            }
            io::ErrorKind::ReadOnlyFilesystem => CopyError::ReadOnly(place.into()),
            io::ErrorKind::PermissionDenied => CopyError::Forbidden(place.into()),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                CopyError::Full(place.into())
            }
            _ => CopyError::Failed(place.into(), error.to_string()),
        }
    }
}

/// Bytes that this process may still use there; 0 if that cannot be found out.
fn free(place: &Path) -> u64 {
    statvfs(place).map_or(0, |all| all.f_bavail.saturating_mul(all.f_frsize))
}

/// A copy in the making; removed when it is dropped.
#[derive(Debug)]
pub struct Copy {
    from: File,
    to: File,
    place: PathBuf,
    staging: PathBuf,
    id: StoreId,
    generation: u64,
    options: Options,
}

impl Copy {
    /// Begins to copy the store `source` into the directory `place`, which must be there.
    pub fn begin(source: &Environment, place: &Path) -> Result<Self, CopyError> {
        let failed = |error: io::Error| CopyError::of(place, &error);
        let from = source.env.try_clone_inner_file();
        let from = from.map_err(|error| CopyError::Failed(place.into(), error.to_string()))?;
        let cleared = clear(place, source.id(), source.generation());
        if place.join(DATA).exists() {
            return Err(CopyError::Taken(place.into())); // also one that is in use
        }
        cleared.map_err(failed)?;
        let (id, generation) = (source.id(), source.generation() + 1);
        let staging = place.join(format!("{}{generation}", prefix(id)));
        DirBuilder::new().mode(0o700).create(&staging).map_err(failed)?;
        let mut open = File::options();
        open.read(true).write(true).create_new(true).mode(0o600);
        let to = open.open(staging.join(DATA));
        let options = Options { expected: Some(id), ..source.options.clone() };
        let to = to.map_err(|error| {
            let _ = fs::remove_dir(&staging); // it is empty, and ours
            failed(error)
        })?;
        let copy = Copy { from, to, place: place.into(), staging, id, generation, options };
        copy.take_room()?;
        mutant::point("move-began");
        Ok(copy)
    }

    /// Takes the blocks that the copy needs; the reserve must fit beside them.
    fn take_room(&self) -> Result<(), CopyError> {
        let used = raw::used(&self.from).map_err(|error| CopyError::of(&self.place, &error))?;
        let needed = used + self.options.reserve + SPARE;
        let free = free(&self.place);
        if free < needed {
            return Err(CopyError::NoRoom(self.place.clone(), free, needed));
        }
        match fallocate(&self.to, FallocateFlags::empty(), 0, used) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            Err(Errno::NOSPC | Errno::DQUOT | Errno::FBIG) => {
                Err(CopyError::NoRoom(self.place.clone(), free, needed))
            }
            Err(error) => Err(CopyError::of(&self.place, &error.into())),
        }
    }

    /// Copies what differs; answers how many bytes did. `tell` hears of the bytes that are looked
    /// through, and of all.
    pub fn pass(&self, tell: impl Fn(u64, u64)) -> Result<u64, CopyError> {
        let changed = self.copy(tell).map_err(|error| CopyError::of(&self.place, &error))?;
        mutant::point("move-copied");
        Ok(changed)
    }

    fn copy(&self, tell: impl Fn(u64, u64)) -> io::Result<u64> {
        let used = raw::used(&self.from)?;
        self.to.set_len(used)?;
        let (mut new, mut old) = (vec![0; BLOCK], vec![0; BLOCK]);
        let (mut at, mut changed) = (0, 0);
        while at < used {
            let wanted = usize::try_from(used - at).unwrap_or(BLOCK).min(BLOCK);
            let (new, old) = (&mut new[..wanted], &mut old[..wanted]);
            // LMDB does not write every page up to the last: behind the end there are none.
            read_at(&self.from, new, at)?;
            read_at(&self.to, old, at)?;
            if new != old {
                self.to.write_all_at(new, at)?;
                changed += wanted as u64;
                mutant::point("move-copying");
            }
            at += wanted as u64;
            tell(at, used);
        }
        self.to.sync_all()?;
        Ok(changed)
    }

    /// The last pass: nothing may write to the source from before this until its end. Answers with
    /// the copy, opened at its place: complete, durable, and known by its generation.
    pub fn finish(
        self,
        open: impl Fn(&Path, Options) -> Result<Environment, OpenError>,
    ) -> Result<Environment, CopyError> {
        let failed = |error: io::Error| CopyError::of(&self.place, &error);
        let unopened = |error: OpenError| CopyError::Failed(self.place.clone(), error.to_string());
        self.pass(|_, _| ())?;
        let options = Options { reserve: 0, ..self.options.clone() };
        let staged = open(&self.staging, options).map_err(unopened)?;
        staged.renumber(self.generation).map_err(|error| failed(io::Error::other(error)))?;
        drop(staged);
        mutant::point("move-numbered");
        let data = self.place.join(DATA);
        if data.exists() {
            return Err(CopyError::Taken(self.place.clone())); // somebody was faster
        }
        fs::rename(self.staging.join(DATA), &data).map_err(failed)?;
        mutant::point("move-renamed");
        let opened = self.settle(&data, open);
        if opened.is_err() {
            let _ = clear(&self.place, self.id, self.generation - 1); // else at the next start
        }
        opened
    }

    fn settle(
        &self,
        data: &Path,
        open: impl Fn(&Path, Options) -> Result<Environment, OpenError>,
    ) -> Result<Environment, CopyError> {
        let failed = |error: io::Error| CopyError::of(&self.place, &error);
        sync_with_parent(&self.place).map_err(failed)?;
        let options = Options { generation: Some(self.generation), ..self.options.clone() };
        let opened = open(&self.place, options);
        let opened =
            opened.map_err(|error| CopyError::Failed(self.place.clone(), error.to_string()))?;
        let file = |meta: fs::Metadata| (meta.dev(), meta.ino());
        let ours = self.to.metadata().map(file).map_err(failed)?;
        if fs::metadata(data).map(file).map_err(failed)? != ours {
            return Err(CopyError::Taken(self.place.clone())); // the path leads elsewhere by now
        }
        Ok(opened)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = remove(&self.staging); // else at the next start
        let _ = fs::remove_dir(&self.staging);
    }
}

/// What names of copies in the making begin with.
fn prefix(id: StoreId) -> String {
    format!("incoming-{:032x}-", id.0)
}

/// Reads what there is; the rest is zeros.
fn read_at(file: &File, buffer: &mut [u8], mut at: u64) -> io::Result<()> {
    let mut rest = buffer;
    while !rest.is_empty() {
        match file.read_at(rest, at) {
            Ok(0) => {
                rest.fill(0);
                break;
            }
            Ok(count) => {
                rest = &mut rest[count..];
                at += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Removes what is left in `place` of the store `id`: copies that were never completed, and a whole
/// one that is not the one in use, of generation `live`. What is not known to be such a one stays.
/// Answers whether there is no store any more.
pub fn clear(place: &Path, id: StoreId, live: u64) -> io::Result<bool> {
    let prefix = prefix(id);
    for entry in fs::read_dir(place)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(&prefix) && entry.file_type()?.is_dir() {
            remove(&entry.path())?;
            fs::remove_dir(entry.path())?;
        }
    }
    if !place.join(DATA).exists() {
        return Ok(true);
    }
    let is_left_over = match Environment::identify(place) {
        Ok((found, generation)) => found == id && live != generation,
        // In use, or not to be read now.
        Err(error @ (OpenError::InUse(..) | OpenError::Io(..))) => {
            return Err(io::Error::other(error));
        }
        Err(_) => false,
    };
    if is_left_over {
        remove(place)?;
    }
    Ok(is_left_over)
}

/// Removes the files of a store that is known not to count any more.
pub fn remove(directory: &Path) -> io::Result<()> {
    for name in FILES.iter().chain(&watch::FILES) {
        match fs::remove_file(directory.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => mutant::point("move-removing"),
        }
    }
    sync_directory(directory)
}
