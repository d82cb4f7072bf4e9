//! Where the workload socket of a module lies: a directory of its own, which is mounted into the
//! module's container, so that a socket made anew is found there (interfaces 3).

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::hex::hex;

/// Name of the socket in the module's directory.
pub const SOCKET: &str = "s.sock";

/// The longest path of a socket, in bytes; the kernel takes 107.
const LONGEST: usize = 100;

/// The directory of a module's socket, below the state directory.
pub fn directory(state: &Path, module: &str) -> PathBuf {
    let all = state.join("workload");
    let plain = all.join(module);
    let is_name = !matches!(module, "" | "." | "..") && !module.contains('/');
    if is_name && plain.join(SOCKET).as_os_str().len() <= LONGEST {
        return plain;
    }
    let hash = Sha256::digest(module);
    all.join(hex(&hash[..8]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_has_the_modules_name_where_that_is_short_enough() {
        let state = Path::new("/var/lib/edge-runtime");
        assert_eq!(directory(state, "sensor"), state.join("workload/sensor"));
        let long = "m".repeat(128);
        let hashed = directory(state, &long);
        assert_eq!(hashed.file_name().unwrap().len(), 16);
        assert!(hashed.join(SOCKET).as_os_str().len() <= LONGEST);
        assert_ne!(hashed, directory(state, &format!("{long}2")));
    }

    #[test]
    fn no_module_gets_a_directory_outside_its_own() {
        let state = Path::new("/s");
        for name in ["..", ".", "", "a/../../b"] {
            let directory = directory(state, name);
            assert_eq!(directory.parent(), Some(Path::new("/s/workload")), "{name}");
            assert_eq!(directory.file_name().unwrap().len(), 16);
        }
    }
}
