//! Files that are whole or not there: written beside their place, synced, and renamed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// What could not be done with a file, and where.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} {}: {why}", path.display())]
pub struct FileError {
    what: &'static str,
    path: PathBuf,
    #[source]
    why: io::Error,
}

impl FileError {
    /// Says what was tried with which file.
    pub fn new(what: &'static str, path: &Path, why: io::Error) -> Self {
        FileError { what, path: path.into(), why }
    }

    /// Whether the file is not there.
    pub fn is_not_found(&self) -> bool {
        self.why.kind() == io::ErrorKind::NotFound
    }
}

/// Reads a text file.
pub fn read_text(path: &Path) -> Result<String, FileError> {
    fs::read_to_string(path).map_err(|e| FileError::new("read", path, e))
}

/// Whether a file system of its own is mounted there.
pub fn is_mounted(path: &Path) -> bool {
    let device = |at: &Path| fs::metadata(at).ok().map(|found| found.dev());
    let (own, above) = (device(path), device(&path.join("..")));
    own.is_some() && own != above
}

/// Makes a directory and those above it; one that is there keeps its mode.
pub fn make_dir(path: &Path, mode: u32) -> Result<(), FileError> {
    let made = fs::DirBuilder::new().recursive(true).mode(mode).create(path);
    made.map_err(|e| FileError::new("create directory", path, e))
}

/// Writes `bytes` in place of what was there: after a crash either the old or the new is found.
/// What is there already is left alone: a start on a full disk needs no room for it.
pub fn write_atomically(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    let fail = |e| FileError::new("write", path, e);
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let has_mode = |meta: fs::Metadata| meta.permissions().mode() & 0o7777 == mode;
    if fs::metadata(path).is_ok_and(has_mode) && fs::read(path).is_ok_and(|found| found == bytes) {
        return File::open(dir).and_then(|dir| dir.sync_all()).map_err(fail);
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let beside = dir.join(name);
    let write = || {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(mode).open(&beside)?;
        file.set_permissions(fs::Permissions::from_mode(mode))?; // whatever the umask
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        File::open(dir)?.sync_all()
    };
    write().map_err(|e| {
        _ = fs::remove_file(&beside);
        fail(e)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_with_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.pem");
        write_atomically(&path, b"one", 0o600).unwrap();
        write_atomically(&path, b"two", 0o600).unwrap();
        assert_eq!(read_text(&path).unwrap(), "two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_file_that_is_right_already_is_not_written_anew() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.pem");
        let number = || fs::metadata(&path).unwrap().ino();
        write_atomically(&path, b"one", 0o600).unwrap();
        let first = number();
        write_atomically(&path, b"one", 0o600).unwrap();
        assert_eq!(number(), first);
        write_atomically(&path, b"one", 0o640).unwrap();
        assert_ne!(number(), first, "its mode was another");
    }

    #[test]
    fn an_error_names_the_file() {
        let error = write_atomically(Path::new("/nowhere/at/all"), b"", 0o600).unwrap_err();
        assert!(error.to_string().starts_with("cannot write /nowhere/at/all: "), "{error}");
    }
}
