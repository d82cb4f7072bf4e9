//! A whole copy of an environment, and how a file takes the place of the one that is there.
//!
//! For whoever moves, compacts or salvages a store. Promises: a crash at any step leaves no store
//! at the new place or a whole one, and the old file or the new one at a place where there was
//! one; nothing is ever overwritten that is to be kept.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use heed::CompactionOption;

use super::env::Environment;

/// The file of an environment.
pub const DATA: &str = "data.mdb";
/// Being written; worth nothing.
const PART: &str = "data.mdb.part";

impl Environment {
    /// Copies all of it, as of one moment and without what is free, into the directory `to`, which
    /// is made if need be; answers its bytes. On disk when it returns. Blocks, and meanwhile keeps
    /// pages that others free from being used again. A store that is there already is refused.
    pub fn copy_to(&self, to: &Path) -> io::Result<u64> {
        DirBuilder::new().recursive(true).mode(0o700).create(to)?;
        let (part, data) = (to.join(PART), to.join(DATA));
        if data.try_exists()? {
            let why = format!("there is a store at {} already", to.display());
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, why));
        }
        let mut file = File::create(&part)?;
        let copied = self.env.copy_to_file(&mut file, CompactionOption::Enabled);
        let synced = copied.map_err(io::Error::other).and_then(|()| file.sync_all());
        if let Err(error) = synced {
            let _ = std::fs::remove_file(&part); // worth nothing, and the device may be full
            return Err(error);
        }
        std::fs::rename(&part, &data)?;
        sync_with_parent(to)?;
        Ok(file.metadata()?.len())
    }
}

/// Puts the finished file `fresh` in the place of the data file in `directory`, on the same file
/// system. With `aside` what was there is kept under that name; if it is taken, under one like it,
/// which is answered. Nobody may have the environment open.
pub fn install(fresh: &Path, directory: &Path, aside: Option<&str>) -> io::Result<Option<PathBuf>> {
    let data = directory.join(DATA);
    File::open(fresh)?.sync_all()?;
    let mut kept = None;
    if let Some(name) = aside.filter(|_| data.symlink_metadata().is_ok()) {
        kept = Some(keep(&data, directory, name)?);
        sync_directory(directory)?;
    }
    std::fs::rename(fresh, &data)?;
    sync_directory(directory)?;
    Ok(kept)
}

/// Gives what is at `data` a second name; where that cannot be (a directory, a file system without
/// links) it is renamed, and until the new file is there the place is empty.
fn keep(data: &Path, directory: &Path, name: &str) -> io::Result<PathBuf> {
    for n in 0..1_000_u32 {
        let kept = match n {
            0 => directory.join(name),
            n => directory.join(format!("{name}.{n}")),
        };
        match std::fs::hard_link(data, &kept) {
            Ok(()) => return Ok(kept),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(_) if kept.symlink_metadata().is_err() => {
                std::fs::rename(data, &kept)?;
                return Ok(kept);
            }
            Err(_) => {}
        }
    }
    let why = format!("no name is left for {} in {}", name, directory.display());
    Err(io::Error::new(io::ErrorKind::AlreadyExists, why))
}

/// The names of new files are not durable before their directory is.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// The same of a directory that may be new itself.
pub(super) fn sync_with_parent(directory: &Path) -> io::Result<()> {
    let directories = [Some(directory), directory.parent()];
    directories.into_iter().flatten().filter(|it| *it != Path::new("")).try_for_each(sync_directory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::state::Change;
    use crate::store::{Kv, Options};

    fn open(directory: &Path) -> std::sync::Arc<Kv> {
        let options = Options { reserve: 0, ..Options::state() };
        Kv::open(directory, &["t"], options).unwrap()
    }

    #[tokio::test]
    async fn a_copy_has_everything_is_smaller_and_overwrites_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("from"), directory.path().join("a/to"));
        let store = open(&from);
        for n in 0..50_u8 {
            store.save(vec![Change::put("t", [n], vec![n; 20_000])]).await.unwrap();
        }
        let gone = (1..50_u8).map(|n| Change::delete("t", [n])).collect();
        store.save(gone).await.unwrap();
        let bytes = store.environment().copy_to(&to).unwrap();
        assert!(bytes < from.join(DATA).metadata().unwrap().len() / 4, "{bytes}");
        let again = store.environment().copy_to(&to).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        let (copy, id) = (open(&to), store.id());
        assert_eq!(copy.id(), id);
        assert_eq!(copy.scan("t", b"", b"", 10).unwrap()[..], [(vec![0], vec![0; 20_000])]);
    }

    #[test]
    fn what_is_replaced_is_kept_under_a_name_of_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let put = |name: &str, text: &str| std::fs::write(at(name), text).unwrap();
        put("fresh", "1");
        assert_eq!(install(&at("fresh"), directory.path(), Some("old")).unwrap(), None);
        for n in 2..4 {
            put("fresh", &n.to_string());
            install(&at("fresh"), directory.path(), Some("old")).unwrap().unwrap();
        }
        std::fs::remove_file(at(DATA)).unwrap();
        std::fs::create_dir(at(DATA)).unwrap();
        put("fresh", "4");
        let kept = install(&at("fresh"), directory.path(), Some("old")).unwrap();
        assert!(kept.unwrap().is_dir());
        let text = |name: &str| std::fs::read_to_string(at(name)).unwrap();
        assert_eq!([text("old"), text("old.1"), text(DATA)], ["1", "2", "4"]);
    }
}
