//! Encrypts what must not lie open on the disk: the keys of identities, and deployments.
//!
//! AES-256-GCM with a key of its own in a file that only its owner may read. It protects copies
//! of the database (backups, support bundles), not against who can read the whole directory.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};

/// See the module documentation.
pub struct Vault {
    key: LessSafeKey,
    random: SystemRandom,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vault")
    }
}

/// Why there is no vault, or no value.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The file with the key cannot be used.
    #[error("key file {path}: {why}; without it clients are known again once the parent was asked")]
    KeyFile {
        /// Which file.
        path: String,
        /// What the system said.
        why: io::Error,
    },
    /// The system gave no random bytes.
    #[error("no random bytes from the system")]
    NoRandom,
    /// Sealed with another key, for another name, or damaged.
    #[error("sealed value is damaged, or was sealed with another key")]
    NotOurs,
}

impl Vault {
    /// Reads the key, or makes it on first start.
    pub fn open(path: &Path) -> Result<Self, VaultError> {
        let random = SystemRandom::new();
        let bytes = match fs::read(path) {
            Ok(bytes) => {
                let private = fs::Permissions::from_mode(0o600); // a copy may have lost it
                fs::set_permissions(path, private).map_err(|why| key_file(path, why))?;
                bytes
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => make_key(path, &random)?,
            Err(why) => return Err(key_file(path, why)),
        };
        let unusable = |_| key_file(path, io::Error::other("it is not a key of 32 bytes"));
        Self::of_key(&bytes).map_err(unusable)
    }

    /// With a key that is kept elsewhere; 32 bytes.
    pub fn of_key(bytes: &[u8]) -> Result<Self, VaultError> {
        let key = UnboundKey::new(&AES_256_GCM, bytes).map_err(|_| VaultError::NotOurs)?;
        Ok(Vault { key: LessSafeKey::new(key), random: SystemRandom::new() })
    }

    /// A new key.
    pub fn new_key(&self) -> Result<[u8; 32], VaultError> {
        let mut key = [0; 32];
        self.random.fill(&mut key).map_err(|_| VaultError::NoRandom)?;
        Ok(key)
    }

    /// Encrypts `value`; it can be opened under the same `name` only.
    pub fn seal(&self, name: &[u8], value: &[u8]) -> Result<Vec<u8>, VaultError> {
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).map_err(|_| VaultError::NoRandom)?;
        let mut sealed = value.to_vec();
        let at = Nonce::assume_unique_for_key(nonce);
        let done = self.key.seal_in_place_append_tag(at, Aad::from(name), &mut sealed);
        done.map_err(|_| VaultError::NotOurs)?;
        Ok([&nonce, &*sealed].concat())
    }

    /// Decrypts what was sealed under this name.
    pub fn open_value(&self, name: &[u8], sealed: &[u8]) -> Result<Vec<u8>, VaultError> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN).ok_or(VaultError::NotOurs)?;
        let at = Nonce::try_assume_unique_for_key(nonce).map_err(|_| VaultError::NotOurs)?;
        let mut value = sealed.to_vec();
        let value = self.key.open_in_place(at, Aad::from(name), &mut value);
        value.map(|value| value.to_vec()).map_err(|_| VaultError::NotOurs)
    }
}

impl Vault {
    /// As `open_value`; what was written before such values were sealed is JSON, and taken as it is.
    pub fn open_or_plain(&self, name: &[u8], value: &[u8]) -> Result<Vec<u8>, VaultError> {
        match self.open_value(name, value) {
            Err(VaultError::NotOurs) if value.starts_with(b"{") => Ok(value.to_vec()),
            opened => opened,
        }
    }
}

/// The key is on disk, whole and private, before it is used for the first time.
fn make_key(path: &Path, random: &SystemRandom) -> Result<Vec<u8>, VaultError> {
    let mut key = vec![0; 32];
    random.fill(&mut key).map_err(|_| VaultError::NoRandom)?;
    let draft = path.with_extension("new");
    let write = || {
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        file.write_all(&key)?;
        file.sync_all()?;
        fs::rename(&draft, path)?;
        fs::File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    write().map_err(|why| key_file(path, why))?;
    Ok(key)
}

fn key_file(path: &Path, why: io::Error) -> VaultError {
    VaultError::KeyFile { path: path.display().to_string(), why }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_opened_with_the_key_of_the_file_and_under_its_name_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vault.key");
        let sealed = Vault::open(&path).unwrap().seal(b"gw/m", b"secret").unwrap();
        assert!(!sealed.windows(6).any(|part| part == b"secret"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

        let again = Vault::open(&path).unwrap();
        assert_eq!(again.open_value(b"gw/m", &sealed).unwrap(), b"secret");
        assert!(again.open_value(b"gw/n", &sealed).is_err(), "moved to another name");
        assert!(again.open_value(b"gw/m", &sealed[..5]).is_err());
        let mut damaged = sealed.clone();
        *damaged.last_mut().unwrap() ^= 1;
        assert!(again.open_value(b"gw/m", &damaged).is_err());

        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        Vault::open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let other = Vault::open(&dir.path().join("other.key")).unwrap();
        assert!(other.open_value(b"gw/m", &sealed).is_err());
        fs::write(&path, b"short").unwrap();
        assert!(Vault::open(&path).is_err());
    }
}
