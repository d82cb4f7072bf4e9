//! The list of modules that a restart brings back, and directories that go.

use std::fs;
use std::io;
use std::path::Path;

use crate::protocol::files::{FileError, make_dir, read_text, write_atomically};

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
