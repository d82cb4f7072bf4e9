//! File upload as device clients do it: the hand-shake, the blob itself as Azure Storage's clients
//! send it, and the notification that ends it. What came is listed, fetched and deleted by the owner.
//!
//! next: `../files/mod.rs`

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::stream::StreamExt;
use serde_json::{Value, json};

use super::auth::Caller;
use super::{Answer, Rest, identity, json as body};
use crate::actors::clock;
use crate::domain::iso8601;
use crate::domain::service_error::ServiceError;
use crate::domain::upload::{CONTAINER, Upload};
use crate::localhub::files::{Blob, Wish};
use crate::localhub::random;
use crate::protocol::http::{BodyStream, HttpRequest, HttpResponse};

/// Bytes of a refused body that are read all the same, so that its sender reads the answer.
const DRAINED: usize = 16 << 20;
/// Most bytes of a block list.
const MOST_LIST: usize = 8 << 20;

impl Rest {
    /// `POST /devices/{id}/files`.
    pub(super) async fn begin_upload(&self, request: &HttpRequest, device: &str) -> Answer {
        let entry = self.find(&identity(device, None)?).await?;
        let json = body(request)?;
        let name = json.get("blobName").and_then(Value::as_str).unwrap_or_default();
        let now = clock::unix_time().as_secs();
        let (upload, token) = self.files.begin(device, &entry.generation, name, now)?;
        Ok(HttpResponse::json(
            200,
            &json!({
                "correlationId": upload.id,
                "hostName": self.owner.hostname,
                "containerName": CONTAINER,
                "blobName": upload.path(),
                "sasToken": token,
            }),
        ))
    }

    /// The client says how its upload went; Node's says of which in the path.
    pub(super) fn end_upload(&self, request: &HttpRequest, device: &str, id: &[&str]) -> Answer {
        let json = body(request)?;
        let given = json.get("correlationId").and_then(Value::as_str);
        let id = id.first().copied().or(given).unwrap_or_default();
        let upload = self.files.end(id, device)?;
        let is_success = json.get("isSuccess").and_then(Value::as_bool).unwrap_or(false);
        tracing::info!(device, blob = upload.blob, is_success, "upload ended");
        Ok(HttpResponse::empty(204))
    }

    /// `GET /devices/{id}/files`; of a device that is gone, too.
    pub(super) fn list_files(&self, device: &str) -> Answer {
        identity(device, None)?;
        let files = self.files.list(device).into_iter().map(|blob| {
            json!({
                "blobName": format!("{device}/{}", blob.name),
                "name": blob.name,
                "size": blob.size,
                "lastModified": iso8601::text(blob.modified),
                "etag": blob.etag(),
            })
        });
        Ok(HttpResponse::json(200, &files.collect::<Vec<_>>()))
    }

    /// `/uploads/{device}/{blob}`. Errors are XML, as Azure Storage's clients read them.
    pub(super) async fn blob(&self, request: &HttpRequest, path: &[&str]) -> HttpResponse {
        let mut stream = request.stream();
        match self.blob_answer(request, path, &mut stream).await {
            Ok(answer) => answer,
            Err(error) => {
                drain(&mut stream).await;
                refusal(&error)
            }
        }
    }

    async fn blob_answer(
        &self,
        request: &HttpRequest,
        path: &[&str],
        stream: &mut BodyStream,
    ) -> Answer {
        let [device, name @ ..] = path else { return Err(no_such(request)) };
        let name = name.join("/");
        let by_token = request.query.contains_key("sig");
        let upload = if by_token { Some(self.upload(request, device, &name).await?) } else { None };
        if upload.is_none() && self.caller(request).await? != Caller::Service {
            let why = "a device writes and reads a file with the token that POST …/files gives it";
            return Err(ServiceError::unauthorized(why));
        }
        match (request.method.as_str(), &upload) {
            ("PUT", Some(upload)) => self.write(request, upload, stream).await,
            ("GET" | "HEAD", _) if !request.query.contains_key("comp") => {
                read(request, &self.files.blob(device, &name)?).await
            }
            ("DELETE", None) => {
                self.files.delete(device, &name)?;
                Ok(signed(HttpResponse::empty(202)))
            }
            ("PUT", None) => {
                let why = "an upload begins with POST /devices/{id}/files, which gives its token";
                Err(ServiceError::new(403, "AuthenticationFailed", why))
            }
            _ => Err(no_such(request)),
        }
    }

    /// What the token in the query is for, if its device is still the one that was given it.
    async fn upload(
        &self,
        request: &HttpRequest,
        device: &str,
        name: &str,
    ) -> Result<Upload, ServiceError> {
        let of = |name: &str| request.query.get(name).map(String::as_str).unwrap_or_default();
        let now = clock::unix_time().as_secs();
        // A `+` that was not escaped was read as a space.
        let signature = of("sig").replace(' ', "+");
        let path = format!("{device}/{name}");
        let upload = self.files.find(of("si"), &path, &signature, now)?;
        let entry = self.find(&identity(device, None)?).await;
        match entry {
            Ok(entry) if entry.is_enabled && entry.generation == upload.generation => Ok(upload),
            Err(error) if error.status == 503 => Err(error),
            _ => {
                let why =
                    format!("{device} is disabled, or is not the device any more that began it");
                Err(ServiceError::new(403, "AuthenticationFailed", why))
            }
        }
    }

    async fn write(
        &self,
        request: &HttpRequest,
        upload: &Upload,
        stream: &mut BodyStream,
    ) -> Answer {
        let wish = wish(request)?;
        let comp = request.query.get("comp").map(String::as_str).unwrap_or_default();
        let md5 = match comp {
            "" => {
                let kind = request.header("x-ms-blob-type").unwrap_or_default();
                if kind != "BlockBlob" {
                    let why = format!("x-ms-blob-type is BlockBlob here, not `{kind}`");
                    return Err(ServiceError::new(400, "InvalidHeaderValue", why));
                }
                Some(self.files.put(upload, stream, &wish).await?)
            }
            "block" => {
                let id = request.query.get("blockid").map(String::as_str).unwrap_or_default();
                Some(self.files.put_block(upload, &id.replace(' ', "+"), stream, &wish).await?)
            }
            "blocklist" => {
                let xml = collect(stream).await?;
                self.files.put_block_list(upload, &xml, &wish).await?;
                None
            }
            _ => return Err(no_such(request)),
        };
        let mut answer = signed(HttpResponse::empty(201));
        if let Some(md5) = md5 {
            answer = answer.with_header("Content-MD5", &STANDARD.encode(md5));
        }
        if comp != "block" {
            answer = described(answer, &self.files.blob(&upload.device, &upload.blob)?);
        }
        Ok(answer.with_header("x-ms-request-server-encrypted", "false"))
    }
}

fn wish(request: &HttpRequest) -> Result<Wish, ServiceError> {
    let md5 = request.header("content-md5").map(|text| STANDARD.decode(text.trim()));
    let bad = |_| ServiceError::new(400, "InvalidMd5", "Content-MD5 is not base64");
    let is_new = request.header("if-none-match").is_some_and(|etag| etag.trim_matches('"') == "*");
    Ok(Wish { md5: md5.transpose().map_err(bad)?, is_new })
}

/// The file, or the part of it that is asked for.
async fn read(request: &HttpRequest, blob: &Blob) -> Answer {
    let range = request.header("x-ms-range").or_else(|| request.header("range"));
    let whole = 0..blob.size;
    let (status, part) = match range.as_deref().map(|range| part(range, blob.size)) {
        None => (200, whole),
        Some(Some(part)) => (206, part),
        Some(None) => {
            let why = format!("the range is not one of the {} bytes of this file", blob.size);
            return Err(ServiceError::new(416, "InvalidRange", why));
        }
    };
    let length = part.end - part.start;
    let answer = if request.method == "HEAD" {
        HttpResponse::empty(status)
    } else {
        let file = blob.read(part.clone()).await?;
        HttpResponse::stream(status, "application/octet-stream", file)
    };
    let mut answer = described(signed(answer), blob)
        .with_header("Content-Length", &length.to_string())
        .with_header("Accept-Ranges", "bytes")
        .with_header("x-ms-blob-type", "BlockBlob");
    if status == 206 {
        let range = format!("bytes {}-{}/{}", part.start, part.end - 1, blob.size);
        answer = answer.with_header("Content-Range", &range);
    }
    Ok(answer)
}

/// Of `bytes=a-b` or `bytes=a-`.
fn part(text: &str, size: u64) -> Option<std::ops::Range<u64>> {
    let (first, last) = text.trim().strip_prefix("bytes=")?.split_once('-')?;
    let first: u64 = first.parse().ok()?;
    let end = if last.is_empty() { size } else { last.parse::<u64>().ok()?.checked_add(1)? };
    (first < end && first < size).then(|| first..end.min(size))
}

/// With what every answer of a storage has.
fn signed(answer: HttpResponse) -> HttpResponse {
    answer
        .with_header("x-ms-request-id", &random::token())
        .with_header("x-ms-version", "2021-08-06")
}

fn described(answer: HttpResponse, blob: &Blob) -> HttpResponse {
    let modified = iso8601::http_date(blob.modified);
    answer.with_header("ETag", &blob.etag()).with_header("Last-Modified", &modified)
}

fn refusal(error: &ServiceError) -> HttpResponse {
    let escape = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let (code, message) = (error.code, escape(&error.message));
    let xml = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>{code}</Code><Message>{message}\
         </Message></Error>"
    );
    signed(HttpResponse::bytes(error.status, "application/xml", xml))
        .with_header("x-ms-error-code", code)
}

fn no_such(request: &HttpRequest) -> ServiceError {
    let why = format!(
        "{} {} is not served: Put Blob, Put Block, Put Block List, Get Blob and Delete Blob of \
         /{CONTAINER}/{{device}}/{{blob}} are",
        request.method, request.path
    );
    ServiceError::new(501, "NotImplemented", why)
}

async fn collect(stream: &mut BodyStream) -> Result<String, ServiceError> {
    let mut all = Vec::new();
    while let Some(chunk) = stream.next().await {
        all.extend(chunk.map_err(|why| ServiceError::bad(format!("the body is broken: {why}")))?);
        if all.len() > MOST_LIST {
            let why = format!("a block list has {MOST_LIST} bytes at most");
            return Err(ServiceError::new(413, "RequestBodyTooLarge", why));
        }
    }
    String::from_utf8(all).map_err(|_| ServiceError::bad("the block list is not UTF-8"))
}

/// What a client still sends, for a while.
async fn drain(stream: &mut BodyStream) {
    let mut left = DRAINED;
    let all = async {
        while let Some(Ok(chunk)) = stream.next().await {
            left = left.saturating_sub(chunk.len());
            if left == 0 {
                break;
            }
        }
    };
    _ = tokio::time::timeout(Duration::from_secs(10), all).await; // it reads the answer, or not
}
