//! A unix socket as a file that is never half there.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use tokio::net::UnixListener;

use crate::protocol::files::{FileError, make_dir};

/// Who may connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// Of the file.
    pub mode: u32,
    /// Whose it is beside its owner; `None`: the process's own.
    pub group: Option<u32>,
}

impl Rights {
    fn give(self, path: &Path) -> io::Result<()> {
        if self.group.is_some() {
            chown(path, None, self.group)?;
        }
        fs::set_permissions(path, Permissions::from_mode(self.mode))
    }
}

/// Listens at `path` in place of what was there. Made at `beside`, out of every container's
/// reach, and moved: whoever connects finds the old one or the new, and with its rights.
pub(super) fn listen(
    path: &Path,
    beside: &Path,
    rights: Rights,
) -> Result<UnixListener, FileError> {
    let fail = |e| FileError::new("listen on", path, e);
    for dir in [path.parent(), beside.parent()].into_iter().flatten() {
        make_dir(dir, 0o755)?;
    }
    remove_file(beside).map_err(fail)?;
    let listener = UnixListener::bind(beside).map_err(fail)?;
    rights.give(beside).map_err(fail)?;
    match fs::rename(beside, path) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::CrossesDevices => {
            remove_file(path).map_err(fail)?;
            let listener = UnixListener::bind(path).map_err(fail)?;
            rights.give(path).map_err(fail)?;
            remove_file(beside).map_err(fail)?;
            return Ok(listener);
        }
        Err(e) => return Err(fail(e)),
    }
    Ok(listener)
}

fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}
