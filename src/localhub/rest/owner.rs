//! The hub's one policy, `iothubowner`, and the file in which its key is kept and given away.

use std::fmt;
use std::path::Path;

use crate::domain::connection_string::{BadConnectionString, ConnectionString};
use crate::localhub::random;
use crate::protocol::files::{self, FileError};

/// The policy that may do everything.
pub(super) const POLICY: &str = "iothubowner";
const FILE: &str = "iothubowner.connection-string";

/// The hub's own policy. `Debug` shows no key.
#[derive(Clone)]
pub struct Owner {
    /// As clients know the hub.
    pub hostname: String,
    /// Of the policy `iothubowner`, base64.
    pub key: String,
}

/// Why there is no owner.
#[derive(Debug, thiserror::Error)]
pub enum OwnerError {
    /// The file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// It holds something else.
    #[error("{FILE} is damaged: {0}; delete it, and a new key is made")]
    Damaged(#[from] BadConnectionString),
}

impl Owner {
    /// Reads the key from the state directory, or makes one; the file always names `hostname`.
    pub fn load_or_make(directory: &Path, hostname: &str) -> Result<Self, OwnerError> {
        let path = directory.join(FILE);
        let key = match files::read_text(&path) {
            Ok(text) => ConnectionString::parse(&text)?.key.reveal().to_owned(),
            Err(error) if error.is_not_found() => random::key(),
            Err(error) => return Err(error.into()),
        };
        let owner = Owner { hostname: hostname.to_owned(), key };
        let text = format!("{}\n", owner.connection_string());
        files::write_atomically(&path, text.as_bytes(), 0o600)?;
        Ok(owner)
    }

    /// What service clients are given.
    pub fn connection_string(&self) -> String {
        let Owner { hostname, key } = self;
        format!("HostName={hostname};SharedAccessKeyName={POLICY};SharedAccessKey={key}")
    }
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{POLICY} of {}", self.hostname)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_key_stays_the_name_follows_and_nobody_else_reads_it() {
        let directory = tempfile::tempdir().unwrap();
        let first = Owner::load_or_make(directory.path(), "one").unwrap();
        let second = Owner::load_or_make(directory.path(), "two").unwrap();
        assert_eq!((first.key.clone(), "two"), (second.key.clone(), second.hostname.as_str()));
        let path = directory.path().join(FILE);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.trim(), second.connection_string());
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(!format!("{first:?}").contains(&first.key));
        std::fs::write(&path, "nonsense").unwrap();
        let why = Owner::load_or_make(directory.path(), "one").unwrap_err().to_string();
        assert!(why.contains("damaged"), "{why}");
    }
}
