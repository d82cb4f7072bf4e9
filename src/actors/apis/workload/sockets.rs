//! The sockets as files, and the list of modules that a restart brings back.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tokio::net::UnixListener;

use crate::protocol::files::{FileError, make_dir, read_text, write_atomically};

/// Listens at `path` in place of what was there. Made at `beside`, out of every container's
/// reach, and moved: whoever connects finds the old one or the new, and with its mode.
pub(super) fn listen(path: &Path, beside: &Path) -> Result<UnixListener, FileError> {
    let fail = |e| FileError::new("listen on", path, e);
    for dir in [path.parent(), beside.parent()].into_iter().flatten() {
        make_dir(dir, 0o755)?;
    }
    remove_file(beside).map_err(fail)?;
    let listener = UnixListener::bind(beside).map_err(fail)?;
    fs::set_permissions(beside, Permissions::from_mode(0o666)).map_err(fail)?;
    match fs::rename(beside, path) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::CrossesDevices => {
            remove_file(path).map_err(fail)?;
            let listener = UnixListener::bind(path).map_err(fail)?;
            fs::set_permissions(path, Permissions::from_mode(0o666)).map_err(fail)?;
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

/// Removes the directory of a module that is gone. A container that still has it mounted keeps
/// what it has.
pub(super) fn remove(directory: &Path) {
    if let Err(why) = fs::remove_dir_all(directory)
        && why.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(%why, path = %directory.display(), "cannot remove a workload directory");
    }
}

/// The modules that had sockets when the runtime was last told.
pub(super) fn load(state: &Path) -> Vec<String> {
    let path = state.join(MODULES);
    let text = match read_text(&path) {
        Err(e) if e.is_not_found() => return Vec::new(),
        text => text.map_err(|e| e.to_string()),
    };
    let list = text.and_then(|text| serde_json::from_str(&text).map_err(|e| e.to_string()));
    list.unwrap_or_else(|why| {
        tracing::warn!(%why, path = %path.display(), "cannot tell which modules had sockets");
        Vec::new()
    })
}

/// Outside of what is mounted: a container cannot change it.
const MODULES: &str = "workload/modules.json";

/// Keeps the list for the next start.
pub(super) fn save(state: &Path, modules: &[String]) -> Result<(), FileError> {
    make_dir(&state.join("workload"), 0o755)?;
    let text = serde_json::to_string(modules).unwrap_or_default();
    write_atomically(&state.join(MODULES), text.as_bytes(), 0o600)
}
