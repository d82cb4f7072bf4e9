//! A file on its way: written beside its place, charged to the budget byte by byte, and gone with
//! all that it took if it does not become whole (the client went away, or sent too much).

use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use futures_util::stream::StreamExt;
use md5::{Digest, Md5};
use tokio::io::AsyncWriteExt;

use super::{Files, cost, failed};
use crate::domain::service_error::ServiceError;
use crate::protocol::http::BodyStream;

/// See the module documentation.
pub(super) struct Staged {
    files: Rc<Files>,
    path: PathBuf,
    charged: u64,
    is_kept: bool,
    /// Of the content.
    pub(super) md5: [u8; 16],
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.is_kept {
            _ = fs::remove_file(&self.path); // perhaps it was never made
            self.files.refund(self.charged);
        }
    }
}

impl Staged {
    /// Charges for a file of this size that is about to be written to `path`.
    pub(super) fn new(files: &Rc<Files>, path: PathBuf, size: u64) -> Result<Self, ServiceError> {
        files.check_size(size)?;
        files.charge(cost(size))?;
        let (files, charged) = (Rc::clone(files), cost(size));
        Ok(Staged { files, path, charged, is_kept: false, md5: [0; 16] })
    }

    /// Reads a body to its end; on disk when this answers.
    pub(super) async fn receive(
        files: &Rc<Files>,
        path: PathBuf,
        body: &mut BodyStream,
    ) -> Result<Self, ServiceError> {
        let mut staged = Staged::new(files, path, 0)?;
        let cannot = |why: std::io::Error| failed("write the file", &why);
        let mut file = tokio::fs::File::create(&staged.path).await.map_err(cannot)?;
        let (mut size, mut md5) = (0, Md5::new());
        while let Some(chunk) = body.next().await {
            let chunk =
                chunk.map_err(|why| ServiceError::bad(format!("the body is broken: {why}")))?;
            size += chunk.len() as u64;
            files.check_size(size)?;
            let more = cost(size) - staged.charged;
            files.charge(more)?;
            staged.charged += more;
            md5.update(&chunk);
            file.write_all(&chunk).await.map_err(cannot)?;
        }
        file.sync_all().await.map_err(cannot)?;
        staged.md5 = md5.finalize().into();
        Ok(staged)
    }

    /// Where it is for now.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Puts it into its place, instead of what is there. Nothing is awaited, so that the budget
    /// and the disk agree.
    pub(super) fn keep(mut self, place: &Path) -> Result<(), ServiceError> {
        let old = fs::symlink_metadata(place).map_or(0, |old| cost(old.len()));
        fs::rename(&self.path, place).map_err(|why| failed("rename the file", &why))?;
        self.is_kept = true;
        self.files.refund(old);
        Ok(())
    }
}

impl Files {
    pub(super) fn check_size(&self, size: u64) -> Result<(), ServiceError> {
        if size <= self.limits.file {
            return Ok(());
        }
        let why = format!("a file has {} bytes at most (files.max_file_bytes)", self.limits.file);
        Err(ServiceError::new(413, "RequestBodyTooLarge", why))
    }
}
