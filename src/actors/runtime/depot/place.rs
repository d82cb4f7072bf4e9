//! Which directory is meant by what a twin says, and whether the queue may lie there.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Where the queue may lie, by the settings of this device.
#[derive(Clone, Debug)]
pub(in crate::actors::runtime) struct Places {
    /// `store.queue`: without a word of the twin.
    pub(in crate::actors::runtime) home: PathBuf,
    /// `store.allowed_roots`: below these, as the twin says.
    pub(in crate::actors::runtime) roots: Vec<PathBuf>,
}

impl Places {
    /// The directory that is meant, without links and `..` in it; it is there. `None`: home, which
    /// is made if need be.
    pub(super) fn directory(&self, location: Option<&str>) -> Result<PathBuf, String> {
        let Some(location) = location else {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.home);
            let home = made.and_then(|()| self.home.canonicalize());
            return home.map_err(|error| format!("{}: {error}", self.home.display()));
        };
        let path = Path::new(location);
        if !path.is_absolute() {
            return Err(format!("`{location}` must be a path from the root, as \"/data/queue\""));
        }
        match path.canonicalize() {
            Ok(path) if !self.is_allowed(&path) => Err(self.not_allowed(location)),
            Ok(path) if !path.is_dir() => Err(format!("{location} is no directory")),
            Ok(path) => Ok(path),
            // What is not allowed is not looked at any closer.
            Err(_) if !self.roots.iter().any(|root| path.starts_with(root)) => {
                Err(self.not_allowed(location))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(format!(
                "there is no directory {location}: make it, or plug in the device that it is on"
            )),
            Err(error) => Err(format!("{location}: {error}")),
        }
    }

    /// A directory without links in its path.
    fn is_allowed(&self, path: &Path) -> bool {
        let roots = self.roots.iter().filter_map(|root| root.canonicalize().ok());
        roots.into_iter().any(|root| path.starts_with(root))
    }

    fn not_allowed(&self, location: &str) -> String {
        if self.roots.is_empty() {
            return format!(
                "{location} is not allowed: store.allowed_roots of this device is empty; name \
                 there the directories below which the queue may lie"
            );
        }
        let roots: Vec<_> = self.roots.iter().map(|root| root.display().to_string()).collect();
        let roots = roots.join(", ");
        format!("{location} is not below one of store.allowed_roots of this device: {roots}")
    }

    /// Whether the directory, which was allowed, still is the one that is meant.
    pub(super) fn is_still(&self, directory: &Path) -> bool {
        directory.canonicalize().is_ok_and(|now| now == directory)
    }

    /// Whether that is home, by whatever name.
    pub(super) fn is_home(&self, directory: &Path) -> bool {
        self.home.canonicalize().is_ok_and(|home| home == directory)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{create_dir, create_dir_all};
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_what_lies_below_a_root_is_allowed_whatever_the_path_looks_like() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        let at = |name: &str| folder.join(name);
        create_dir_all(at("disk/queue")).unwrap();
        create_dir(at("disk-2")).unwrap();
        create_dir(at("else")).unwrap();
        symlink(at("else"), at("disk/link")).unwrap();
        symlink(at("disk"), at("root")).unwrap();
        std::fs::write(at("disk/file"), "").unwrap();
        let places = Places { home: at("home"), roots: vec![at("root"), at("unplugged")] };
        let directory = |name: &str| places.directory(Some(at(name).to_str().unwrap()));
        let queue = Ok(at("disk/queue"));
        assert_eq!(directory("disk/queue"), queue);
        assert_eq!(directory("root/../disk/queue"), queue, "links and dots lead below a root");
        assert_eq!(directory("root"), Ok(at("disk")));
        for outside in ["else", "disk/link", "root/../else", "disk-2", "", "home", "no/where"] {
            let why = directory(outside).unwrap_err();
            assert!(why.contains("store.allowed_roots") && why.contains("/root"), "{why}");
        }
        let why = |name: &str| directory(name).unwrap_err();
        assert!(why("root/new").contains("make it"), "{}", why("root/new"));
        assert!(why("unplugged/queue").contains("plug in the device"));
        assert!(why("root/file").contains("no directory"));
        assert!(places.directory(Some("disk/queue")).unwrap_err().contains("from the root"));
        let none = Places { roots: Vec::new(), ..places.clone() };
        let why = none.directory(Some("/tmp")).unwrap_err();
        assert!(why.contains("store.allowed_roots of this device is empty"), "{why}");
        assert_eq!(places.directory(None), Ok(at("home")), "it is made");
        assert!(places.is_home(&at("home")) && !places.is_home(&at("disk")));
        assert!(places.is_still(&at("disk/queue")) && !places.is_still(&at("disk/link")));
    }
}
