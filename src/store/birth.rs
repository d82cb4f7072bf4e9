//! How a store comes to be: until all of it is on disk a mark says that nothing of it counts.
//!
//! Without it a full disk, or a power cut, at the very first start would leave half a file behind
//! that every later start takes for a damaged store.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use super::copy::sync_with_parent;

/// Of LMDB's table of readers (126 of them).
const READERS: u64 = 8 << 10;

fn mark(directory: &Path) -> PathBuf {
    directory.join("unfinished")
}

/// Nobody was ever told that anything is in the store.
pub(super) fn is_unfinished(directory: &Path) -> bool {
    mark(directory).exists()
}

/// Before a new store is made in `directory`, which exists.
pub(super) fn begin(directory: &Path, data: &Path) -> io::Result<()> {
    File::create(mark(directory))?;
    sync_with_parent(directory)?;
    if data.exists() {
        fs::remove_file(data)?;
    }
    Ok(())
}

/// Once all of it is on disk, but for the names of its files.
pub(super) fn finish(directory: &Path) -> io::Result<()> {
    sync_with_parent(directory)?;
    fs::remove_file(mark(directory))?;
    sync_with_parent(directory)
}

/// LMDB maps its table of readers, and a page of it without a block is a SIGBUS on a full disk.
pub(super) fn allocate_readers(directory: &Path) -> io::Result<()> {
    let mut options = File::options();
    let options = options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(directory.join("lock.mdb"))?;
    match fallocate(&file, FallocateFlags::KEEP_SIZE, 0, READERS) {
        Err(full @ (Errno::NOSPC | Errno::DQUOT)) => Err(full.into()),
        _ => Ok(()), // a file system that cannot do it
    }
}
