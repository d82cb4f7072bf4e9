//! One running instance per state directory: a locked file that says who holds it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use super::files::FileError;

/// Held for as long as the process may write into the directory. The kernel lets go of it with
/// the process, however that ends.
#[derive(Debug)]
pub struct StateLock(#[expect(dead_code, reason = "the lock is the open file")] File);

/// The directory cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else has it.
    #[error(
        "{} is in use by {holder}: stop that first, or give this one its own `state.path`",
        dir.display()
    )]
    Held {
        /// State directory.
        dir: PathBuf,
        /// `process 123 (edge-runtime)`.
        holder: String,
    },
    /// It cannot be opened or written.
    #[error(transparent)]
    File(#[from] FileError),
}

impl StateLock {
    /// Takes the lock of a state directory that exists.
    pub fn take(dir: &Path) -> Result<Self, LockError> {
        let path = dir.join("lock");
        let fail = |what| {
            let path = path.clone();
            move |e| LockError::File(FileError::new(what, &path, e))
        };
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = file.map_err(fail("open"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::Error(e)) => return Err(fail("lock")(e)),
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                _ = file.read_to_string(&mut holder);
                let holder = match holder.trim() {
                    "" => "another process".into(),
                    holder => format!("process {holder}"),
                };
                return Err(LockError::Held { dir: dir.into(), holder });
            }
        }
        let write = |file: &mut File| {
            let program = std::env::current_exe().ok();
            let program = program.as_deref().and_then(Path::file_name).unwrap_or_default();
            file.rewind()?;
            file.set_len(0)?;
            write!(file, "{} ({})", std::process::id(), program.display())
        };
        // What is written only says more to another: a full disk is no reason not to start.
        let _ = write(&mut file);
        Ok(StateLock(file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_refused_and_told_who_the_first_is() {
        let dir = tempfile::tempdir().unwrap();
        let first = StateLock::take(dir.path()).unwrap();
        let error = StateLock::take(dir.path()).unwrap_err().to_string();
        let me = format!("is in use by process {} (", std::process::id());
        assert!(error.contains(&me) && error.contains("state.path"), "{error}");
        drop(first);
        StateLock::take(dir.path()).unwrap();
    }

    #[test]
    fn a_directory_that_is_not_there_is_named() {
        let error = StateLock::take(Path::new("/nowhere")).unwrap_err().to_string();
        assert!(error.starts_with("cannot open /nowhere/lock: "), "{error}");
    }
}
