//! Files that devices upload: plain files below the state directory, within a budget.
//!
//! `files/{device}/{blob}` are whole files, their names encoded (`domain/upload`);
//! `files/.open/{correlation id}/` is an upload that has begun and not ended: what it may write,
//! and the blocks that came. All of it is on disk before it is answered. There is one of these for
//! the life of the process: connections outlive a restart of `rest`.
//!
//! next: `staged.rs`, `blobs.rs`

mod blobs;
mod staged;
#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

pub use self::blobs::{Blob, Wish};
use super::random;
use crate::domain::sas;
use crate::domain::service_error::ServiceError;
use crate::domain::upload::{MOST, Upload, check_name, file_name};
use crate::protocol::files::{FileError, make_dir, read_text, write_atomically};

/// How long an upload may take.
const LIFE: u64 = 3600;
/// Uploads that a device may have begun and not ended.
const MOST_OPEN: usize = 10;
/// A file takes whole blocks of the disk, an empty one too.
const UNIT: u64 = 4096;
/// What a token is made of, in the directory of its upload.
const RECORD: &str = "upload.json";

/// How much may be kept.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a file.
    pub file: u64,
    /// Bytes of all files, with those that are being uploaded.
    pub total: u64,
}

/// See the module documentation.
pub struct Files {
    root: PathBuf,
    /// Signs the tokens of uploads.
    key: String,
    limits: Limits,
    used: Cell<u64>,
    open: RefCell<HashMap<String, Upload>>,
}

impl Files {
    /// Reads what is there. Tokens are signed with a key made of the owner's.
    pub fn open(root: &Path, owner_key: &str, limits: Limits) -> Result<Self, FileError> {
        let pending = root.join(".open");
        make_dir(root, 0o700)?;
        make_dir(&pending, 0o700)?;
        let key = sas::sign(owner_key, b"tokens of file uploads").unwrap_or_default();
        let mut open = HashMap::new();
        for directory in children(&pending)? {
            let record = read_text(&directory.join(RECORD)).ok();
            let record = record.and_then(|text| serde_json::from_str::<Upload>(&text).ok());
            // Another name: it was about to be removed. No record: it never was whole.
            let is_own = |upload: &Upload| directory.ends_with(&upload.id);
            let Some(upload) = record.filter(is_own) else {
                _ = fs::remove_dir_all(&directory);
                continue;
            };
            for path in children(&directory)?.iter().filter(|path| is_staged(path)) {
                _ = fs::remove_file(path); // its client's request ended with the process
            }
            open.insert(upload.id.clone(), upload);
        }
        let used = Cell::new(size_below(root)?);
        let key = STANDARD.encode(key);
        Ok(Files { root: root.into(), key, limits, used, open: RefCell::new(open) })
    }

    /// Begins an upload: what it may write, and the token.
    pub fn begin(
        &self,
        device: &str,
        generation: &str,
        blob: &str,
        now: u64,
    ) -> Result<(Upload, String), ServiceError> {
        check_name(blob)?;
        if file_name(device).len() > MOST {
            return Err(ServiceError::bad(format!("{device} is too long for a directory's name")));
        }
        self.sweep(now);
        let begun = self.open.borrow().values().filter(|upload| upload.device == device).count();
        if begun >= MOST_OPEN {
            let why = format!(
                "{device} has begun {begun} uploads and ended none of them: end them at \
                 …/files/notifications, or wait an hour"
            );
            return Err(ServiceError::new(403, "DeviceMaximumActiveFileUploadLimitExceeded", why));
        }
        let upload = Upload {
            id: random::token(),
            device: device.into(),
            generation: generation.into(),
            blob: blob.into(),
            expires: now + LIFE,
        };
        let token = upload.token(&self.key).map_err(|why| failed("sign", &why))?;
        let record = serde_json::to_vec(&upload).expect("an upload is JSON");
        self.charge(UNIT)?;
        let directory = self.staging(&upload.id);
        let made = make_dir(&directory, 0o700)
            .and_then(|()| write_atomically(&directory.join(RECORD), &record, 0o600));
        made.map_err(|why| failed("begin the upload", &why))?;
        self.open.borrow_mut().insert(upload.id.clone(), upload.clone());
        Ok((upload, token))
    }

    /// The upload that may write or read `path` with this token.
    pub fn find(
        &self,
        id: &str,
        path: &str,
        signature: &str,
        now: u64,
    ) -> Result<Upload, ServiceError> {
        let refused = |why: String| ServiceError::new(403, "AuthenticationFailed", why);
        let upload = self.open.borrow().get(id).cloned();
        let gone = || refused("the upload of this token has ended, or never began".into());
        let upload = upload.ok_or_else(gone)?;
        upload.check(path, signature, &self.key, now).map_err(refused)?;
        Ok(upload)
    }

    /// Its device says how it went: the token is of no use any more.
    pub fn end(&self, id: &str, device: &str) -> Result<Upload, ServiceError> {
        let mut open = self.open.borrow_mut();
        match open.get(id) {
            Some(upload) if upload.device == device => {}
            _ => {
                let why = format!("{device} has begun no upload with the correlationId {id}");
                return Err(ServiceError::bad(why));
            }
        }
        let upload = open.remove(id).expect("it was there");
        self.discard(&self.staging(id));
        Ok(upload)
    }

    /// Forgets uploads that were never ended.
    fn sweep(&self, now: u64) {
        let is_late = |upload: &Upload| upload.expires < now;
        let late =
            self.open.borrow_mut().extract_if(|_, upload| is_late(upload)).collect::<Vec<_>>();
        for (id, upload) in late {
            tracing::info!(device = upload.device, blob = upload.blob, "upload was never ended");
            self.discard(&self.staging(&id));
        }
    }

    fn staging(&self, id: &str) -> PathBuf {
        self.root.join(".open").join(id)
    }

    /// Removes the directory of an upload and gives back what it took. What is still being written
    /// there is given back by whoever writes it.
    fn discard(&self, directory: &Path) {
        let paths = children(directory).unwrap_or_default();
        let done = paths.iter().filter(|path| !is_staged(path));
        let size = done.map(|path| fs::metadata(path).map_or(0, |found| cost(found.len()))).sum();
        // First its name, so that nothing more is made in it.
        let gone = directory.with_extension("gone");
        match fs::rename(directory, &gone).and_then(|()| fs::remove_dir_all(&gone)) {
            Ok(()) => self.refund(size),
            Err(why) => tracing::warn!(%why, ?directory, "cannot be removed"),
        }
    }

    /// Takes bytes of the budget.
    fn charge(&self, bytes: u64) -> Result<(), ServiceError> {
        let used = self.used.get() + bytes;
        if used > self.limits.total {
            let why = format!(
                "the hub keeps files of {} bytes at most (files.max_bytes); delete some",
                self.limits.total
            );
            return Err(ServiceError::new(413, "InsufficientStorage", why));
        }
        self.used.set(used);
        Ok(())
    }

    fn refund(&self, bytes: u64) {
        self.used.set(self.used.get().saturating_sub(bytes));
    }
}

fn failed(what: &str, why: &dyn std::fmt::Display) -> ServiceError {
    tracing::error!(%why, "cannot {what}");
    ServiceError::new(500, "InternalError", format!("cannot {what}: {why}"))
}

/// A file that is still being written.
fn staged_file(directory: &Path) -> PathBuf {
    directory.join(format!("put-{}", random::token()))
}

fn is_staged(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("put-"))
}

/// What a file of this size takes.
fn cost(size: u64) -> u64 {
    size.max(1).div_ceil(UNIT) * UNIT
}

fn children(directory: &Path) -> Result<Vec<PathBuf>, FileError> {
    let cannot = |why| FileError::new("read", directory, why);
    let entries = fs::read_dir(directory).map_err(cannot)?;
    entries.map(|entry| entry.map(|entry| entry.path()).map_err(cannot)).collect()
}

/// What all files below take. No links are followed: nobody but the owner could make one.
fn size_below(directory: &Path) -> Result<u64, FileError> {
    let mut size = 0;
    for path in children(directory)? {
        let found = fs::symlink_metadata(&path);
        let found = found.map_err(|why| FileError::new("read", &path, why))?;
        size += if found.is_dir() { size_below(&path)? } else { cost(found.len()) };
    }
    Ok(size)
}
