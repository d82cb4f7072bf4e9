//! A small disk of its own: an ext4 in a file.

use std::fs::{File, remove_file};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// See the module documentation. Unmounted when it is dropped.
pub(crate) struct SmallDisk {
    place: PathBuf,
    device: String,
    _folder: TempDir,
}

fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(format!("{program}: {}", text(&output.stderr))),
    }
}

impl SmallDisk {
    /// `None` where this machine cannot make one, which it says.
    pub(crate) fn make(bytes: u64) -> Option<Self> {
        match Self::try_make(bytes) {
            Ok(disk) => Some(disk),
            Err(why) => {
                eprintln!("SKIPPED: no disk of {bytes} bytes can be made here: {why}");
                None
            }
        }
    }

    fn try_make(bytes: u64) -> Result<Self, String> {
        let folder = tempfile::tempdir().unwrap();
        let (image, place) = (folder.path().join("disk"), folder.path().join("place"));
        File::create(&image).unwrap().set_len(bytes).unwrap();
        std::fs::create_dir(&place).unwrap();
        let image = image.to_str().unwrap();
        run("mkfs.ext4", &["-q", "-m", "0", "-O", "^has_journal", image])?;
        let device = run("losetup", &["--find", "--show", image])?;
        if let Err(why) = run("mount", &[&device, place.to_str().unwrap()]) {
            let _ = run("losetup", &["--detach", &device]);
            return Err(why);
        }
        Ok(SmallDisk { place, device, _folder: folder })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.place
    }

    fn ballast(&self) -> PathBuf {
        self.place.join("ballast")
    }

    /// Takes so many bytes more, or what there is.
    pub(crate) fn fill(&self, bytes: usize) {
        let mut file = File::options().create(true).append(true).open(self.ballast()).unwrap();
        for _ in 0..bytes / 4_096 {
            if file.write_all(&[1; 4_096]).is_err() {
                break;
            }
        }
        let _ = file.sync_all(); // it is full
    }

    /// Takes all that is left.
    pub(crate) fn fill_all(&self) {
        self.fill(1 << 30);
    }

    /// Gives back what was taken.
    pub(crate) fn free(&self) {
        remove_file(self.ballast()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // A process that was killed may hold it for a moment.
        for _ in 0..50 {
            if run("umount", &[self.place.to_str().unwrap()]).is_ok() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        let _ = run("losetup", &["--detach", &self.device]);
    }
}
