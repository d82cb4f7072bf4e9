//! The audit log: who did what to this device, one JSON object a line, in a file of its own that
//! is turned over when it is full. What is to be in it has the target `audit`; it is in the
//! ordinary log, too. Secrets are in neither.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::fmt::MakeWriter;

use super::logging::one_line;

/// The target of what is to be in it.
pub const TARGET: &str = "audit";

/// Where it is, and how much of it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditFile {
    /// The newest; older ones have `.1`, `.2`, … behind it.
    pub path: PathBuf,
    /// Of each.
    pub max_bytes: u64,
    /// Older ones that are kept.
    pub kept: u32,
}

/// Writes to it. Cheap to clone. What cannot be written is not: the ordinary log has it.
#[derive(Clone, Debug)]
pub(super) struct Writer(Arc<Mutex<Open>>);

#[derive(Debug)]
struct Open {
    to: AuditFile,
    file: Option<(File, u64)>,
    is_told: bool,
}

impl Writer {
    pub(super) fn new(to: AuditFile) -> Self {
        Writer(Arc::new(Mutex::new(Open { to, file: None, is_told: false })))
    }
}

impl Open {
    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        let is_full = self
            .file
            .as_ref()
            .is_some_and(|(_, size)| *size > 0 && *size + line.len() as u64 > self.to.max_bytes);
        if is_full {
            self.file = None;
            turn_over(&self.to)?;
        }
        if self.file.is_none() {
            let mut options = OpenOptions::new();
            let file = options.append(true).create(true).mode(0o600).open(&self.to.path)?;
            let size = file.metadata()?.len();
            self.file = Some((file, size));
            if size > 0 && size + line.len() as u64 > self.to.max_bytes {
                return self.append(line); // it was full when it was opened
            }
        }
        let Some((file, size)) = &mut self.file else { return Ok(()) };
        file.write_all(line)?;
        *size += line.len() as u64;
        Ok(())
    }
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

fn turn_over(to: &AuditFile) -> io::Result<()> {
    if to.kept == 0 {
        return fs::remove_file(&to.path);
    }
    for number in (1..to.kept).rev() {
        match fs::rename(numbered(&to.path, number), numbered(&to.path, number + 1)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
    }
    fs::rename(&to.path, numbered(&to.path, 1))
}

impl Write for Writer {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match open.append(&one_line(line)) {
            Ok(()) => open.is_told = false,
            Err(why) => {
                open.file = None; // it may be there again later
                if !std::mem::replace(&mut open.is_told, true) {
                    let path = open.to.path.display();
                    let told =
                        format!("edge-runtime: the audit log {path} cannot be written: {why}\n");
                    let _ = io::stderr().write_all(told.as_bytes()); // nobody is left to tell
                }
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Writer {
    type Writer = Writer;

    fn make_writer(&'a self) -> Writer {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_full_file_is_turned_over_and_the_oldest_goes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        let to = AuditFile { path: path.clone(), max_bytes: 10, kept: 2 };
        let mut writer = Writer::new(to.clone());
        for line in ["one-1\n", "two-2\n", "three\n"] {
            writer.write_all(line.as_bytes()).unwrap();
        }
        let mut again = Writer::new(to.clone()); // after a restart it goes on where it was
        again.write_all(b"4\n").unwrap();
        again.write_all(b"five-5\n").unwrap();
        let read = |path: &Path| fs::read_to_string(path).unwrap();
        assert_eq!(read(&path), "five-5\n");
        assert_eq!(read(&numbered(&path, 1)), "three\n4\n");
        assert_eq!(read(&numbered(&path, 2)), "two-2\n");
        assert!(!numbered(&path, 3).exists());
        let mut full = Writer::new(to); // after another one, which finds no room in it
        full.write_all(b"six-six\n").unwrap();
        assert_eq!(read(&path), "six-six\n");
        assert_eq!(read(&numbered(&path, 1)), "five-5\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn what_cannot_be_written_stops_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("nowhere/audit.log");
        let mut writer = Writer::new(AuditFile { path: path.clone(), max_bytes: 10, kept: 1 });
        writer.write_all(b"lost\n").unwrap();
        fs::create_dir(path.parent().unwrap()).unwrap();
        writer.write_all(b"there\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "there\n");
    }
}
