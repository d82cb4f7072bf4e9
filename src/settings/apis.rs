//! Settings of the management API and of the audit log.

use std::path::PathBuf;

use serde::Deserialize;

use super::values::Size;
use crate::protocol::audit::AuditFile;

/// See [`EdgeSettings`](super::EdgeSettings).
#[derive(Clone, Debug, Deserialize)]
pub struct Management {
    /// Path of the socket.
    pub socket: PathBuf,
    /// Of the socket, octal.
    pub(super) mode: String,
    /// Its group.
    pub group: Option<String>,
}

impl Management {
    /// Of the socket.
    pub fn mode(&self) -> u32 {
        u32::from_str_radix(&self.mode, 8).unwrap_or(0o600)
    }
}

/// See [`EdgeSettings`](super::EdgeSettings).
#[derive(Clone, Debug, Deserialize)]
pub struct Audit {
    /// The newest file.
    pub file: PathBuf,
    /// Of each.
    pub max_bytes: Size,
    /// Older ones.
    pub kept: u32,
}

impl Audit {
    /// For the log.
    pub fn to_file(&self) -> AuditFile {
        let Size(max_bytes) = self.max_bytes;
        AuditFile { path: self.file.clone(), max_bytes, kept: self.kept }
    }
}
