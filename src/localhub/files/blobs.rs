//! Blobs as Azure Storage's clients write them: whole, or block by block and then a list of these.

use std::fs::{self, File};
use std::io::{self, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::stream::{Stream, StreamExt};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::task::spawn_blocking;
use tokio_util::io::ReaderStream;

use super::staged::Staged;
use super::{Files, children, cost, failed, staged_file};
use crate::domain::service_error::ServiceError;
use crate::domain::upload::{Upload, block_file, block_list, file_name, of_file_name};
use crate::protocol::files::make_dir;
use crate::protocol::http::BodyStream;

/// A file that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// Without the device before it.
    pub name: String,
    /// Where it lies.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
    /// Unix time of its last change.
    pub modified: Duration,
}

impl Blob {
    /// Another one after each change.
    pub fn etag(&self) -> String {
        format!("\"0x{:X}-{:X}\"", self.modified.as_nanos(), self.size)
    }

    /// A part of it, as it is read from the disk.
    pub async fn read(
        &self,
        part: Range<u64>,
    ) -> Result<impl Stream<Item = Result<Bytes, String>> + use<>, ServiceError> {
        let cannot = |why: io::Error| failed("read the file", &why);
        let mut file = tokio::fs::File::open(&self.path).await.map_err(cannot)?;
        file.seek(SeekFrom::Start(part.start)).await.map_err(cannot)?;
        let part = file.take(part.end - part.start);
        let chunks = ReaderStream::with_capacity(part, CHUNK);
        Ok(chunks.map(|chunk| chunk.map_err(|why| why.to_string())))
    }
}

/// Bytes read at a time.
const CHUNK: usize = 64 * 1024;

/// What a client asks of a write.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// `Content-MD5`, decoded.
    pub md5: Option<Vec<u8>>,
    /// Not if there is one already.
    pub is_new: bool,
}

impl Files {
    /// Put Blob. Answers the MD5 of the content.
    pub async fn put(
        self: &Rc<Self>,
        upload: &Upload,
        body: &mut BodyStream,
        wish: &Wish,
    ) -> Result<[u8; 16], ServiceError> {
        self.check_new(upload, wish)?;
        let beside = staged_file(&self.staging(&upload.id));
        let staged = Staged::receive(self, beside, body).await?;
        check_md5(&staged, wish)?;
        let md5 = staged.md5;
        self.place(upload, staged).await?;
        Ok(md5)
    }

    /// Put Block.
    pub async fn put_block(
        self: &Rc<Self>,
        upload: &Upload,
        id: &str,
        body: &mut BodyStream,
        wish: &Wish,
    ) -> Result<[u8; 16], ServiceError> {
        let (directory, name) = (self.staging(&upload.id), block_file(id)?);
        let beside = staged_file(&directory);
        let staged = Staged::receive(self, beside, body).await?;
        check_md5(&staged, wish)?;
        let md5 = staged.md5;
        staged.keep(&directory.join(format!("block-{name}")))?;
        Ok(md5)
    }

    /// Put Block List: what the blocks make, in this order, is the blob.
    pub async fn put_block_list(
        self: &Rc<Self>,
        upload: &Upload,
        xml: &str,
        wish: &Wish,
    ) -> Result<(), ServiceError> {
        self.check_new(upload, wish)?;
        let directory = self.staging(&upload.id);
        let files = block_list(xml)?;
        let files = files.into_iter().map(|name| directory.join(format!("block-{name}")));
        let files: Vec<PathBuf> = files.collect();
        let mut size = 0;
        for file in &files {
            let missing = |_| {
                let why = "the list names a block that was not put since the last list";
                ServiceError::new(400, "InvalidBlockList", why)
            };
            size += fs::metadata(file).map_err(missing)?.len();
        }
        let beside = staged_file(&directory);
        let staged = Staged::new(self, beside, size)?;
        let path = staged.path().to_owned();
        let joined = spawn_blocking(move || join(&files, &path)).await;
        joined
            .map_err(io::Error::other)
            .flatten()
            .map_err(|why| failed("join the blocks", &why))?;
        self.place(upload, staged).await?;
        for block in children(&directory).unwrap_or_default() {
            if is_block(&block) {
                let size = fs::metadata(&block).map_or(0, |block| cost(block.len()));
                if fs::remove_file(&block).is_ok() {
                    self.refund(size);
                }
            }
        }
        Ok(())
    }

    /// To where it is found; on disk when this answers.
    async fn place(&self, upload: &Upload, staged: Staged) -> Result<(), ServiceError> {
        let directory = self.root.join(file_name(&upload.device));
        make_dir(&directory, 0o700).map_err(|why| failed("make a directory", &why))?;
        staged.keep(&directory.join(file_name(&upload.blob)))?;
        let synced = spawn_blocking(move || {
            File::open(&directory)?.sync_all()?;
            File::open(directory.parent().unwrap_or(&directory))?.sync_all()
        });
        let synced = synced.await.map_err(io::Error::other).flatten();
        synced.map_err(|why| failed("write the directory", &why))
    }

    fn check_new(&self, upload: &Upload, wish: &Wish) -> Result<(), ServiceError> {
        if wish.is_new && self.blob(&upload.device, &upload.blob).is_ok() {
            let why = format!(
                "{} is there already, and the request is not to overwrite it",
                upload.path()
            );
            return Err(ServiceError::new(409, "BlobAlreadyExists", why));
        }
        Ok(())
    }

    /// One file of a device.
    pub fn blob(&self, device: &str, name: &str) -> Result<Blob, ServiceError> {
        let path = self.root.join(file_name(device)).join(file_name(name));
        let missing = || {
            let why = format!("{device} has uploaded no file {name}");
            ServiceError::new(404, "BlobNotFound", why)
        };
        read(name.to_owned(), path).ok_or_else(missing)
    }

    /// All files of a device, in order of their names.
    pub fn list(&self, device: &str) -> Vec<Blob> {
        let paths = children(&self.root.join(file_name(device))).unwrap_or_default();
        let mut blobs: Vec<Blob> = paths
            .into_iter()
            .filter_map(|path| read(of_file_name(path.file_name()?.to_str()?)?, path))
            .collect();
        blobs.sort_by(|a, b| a.name.cmp(&b.name));
        blobs
    }

    /// Deletes a file.
    pub fn delete(&self, device: &str, name: &str) -> Result<(), ServiceError> {
        let blob = self.blob(device, name)?;
        fs::remove_file(&blob.path).map_err(|why| failed("delete the file", &why))?;
        self.refund(cost(blob.size));
        Ok(())
    }
}

fn read(name: String, path: PathBuf) -> Option<Blob> {
    let found = fs::symlink_metadata(&path).ok().filter(fs::Metadata::is_file)?;
    let modified = found.modified().ok()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    Some(Blob { name, path, size: found.len(), modified })
}

fn is_block(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("block-"))
}

fn join(parts: &[PathBuf], whole: &Path) -> io::Result<()> {
    let mut whole = File::create(whole)?;
    for part in parts {
        io::copy(&mut File::open(part)?, &mut whole)?;
    }
    whole.sync_all()
}

fn check_md5(staged: &Staged, wish: &Wish) -> Result<(), ServiceError> {
    match &wish.md5 {
        Some(md5) if *md5 != staged.md5 => {
            let why = "the body has another MD5 than Content-MD5 says: send it again";
            Err(ServiceError::new(400, "Md5Mismatch", why))
        }
        _ => Ok(()),
    }
}
