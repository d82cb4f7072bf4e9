//! A unix socket as a file that is never half there.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tokio::net::UnixListener;

use crate::protocol::files::{FileError, make_dir};

/// Listens at `path` in place of what was there. Made at `beside`, out of every container's
/// reach, and moved: whoever connects finds the old one or the new, and with its mode.
pub(super) fn listen(path: &Path, beside: &Path, mode: u32) -> Result<UnixListener, FileError> {
    let fail = |e| FileError::new("listen on", path, e);
    for dir in [path.parent(), beside.parent()].into_iter().flatten() {
        make_dir(dir, 0o755)?;
    }
    remove_file(beside).map_err(fail)?;
    let listener = UnixListener::bind(beside).map_err(fail)?;
    fs::set_permissions(beside, Permissions::from_mode(mode)).map_err(fail)?;
    match fs::rename(beside, path) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::CrossesDevices => {
            remove_file(path).map_err(fail)?;
            let listener = UnixListener::bind(path).map_err(fail)?;
            fs::set_permissions(path, Permissions::from_mode(mode)).map_err(fail)?;
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
