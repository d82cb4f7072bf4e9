//! HTTP/1.1 for our small APIs: a request and an answer as plain values, so that callers never
//! name the crate behind it.
//!
//! next: `server.rs`, which reads requests from any stream and writes what a handler answers.

mod callers;
mod server;
#[cfg(test)]
mod tests;
mod web_socket;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::{LocalBoxStream, Stream, StreamExt};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::domain::service_error::ServiceError;

pub use self::server::{Limits, Server, serve_connection, serve_with_web_sockets};
pub use self::web_socket::Tunnel;

/// What answers requests. Runs on the current thread.
pub type Handler = Rc<dyn Fn(HttpRequest) -> LocalBoxFuture<'static, HttpResponse>>;

/// Makes a [`Handler`] of an async function.
pub fn handler<F, A>(answer: F) -> Handler
where
    F: Fn(HttpRequest) -> A + 'static,
    A: Future<Output = HttpResponse> + 'static,
{
    Rc::new(move |request| Box::pin(answer(request)))
}

/// A whole request.
#[derive(Clone, Default)]
pub struct HttpRequest {
    /// In upper case.
    pub method: String,
    /// As sent: neither decoded nor normalised, without the query.
    pub path: String,
    /// Decoded; of keys that are there twice the last.
    pub query: BTreeMap<String, String>,
    /// Names in lower case, values as sent.
    pub headers: Vec<(String, Bytes)>,
    /// Whole; empty if it is to be read as it comes.
    pub body: Bytes,
    /// What is to be read as it comes (`Limits::late`).
    pub(crate) late: Late,
    /// The process at the other end of a unix socket, when it connected.
    pub peer: Option<Peer>,
}

/// See [`HttpRequest::peer`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// Its user.
    pub uid: u32,
    /// Itself; 0 if the system does not say.
    pub pid: i32,
}

/// A body that is read once, as it comes.
pub(crate) type Late = Option<Rc<RefCell<Option<BodyStream>>>>;

impl HttpRequest {
    /// For tests and for calls inside the process.
    pub fn new(method: &str, target: &str) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        HttpRequest {
            method: method.into(),
            path: path.into(),
            query: parse_query(query),
            ..Self::default()
        }
    }

    /// Segments of the path, each percent-decoded; a slash at the end adds none.
    pub fn segments(&self) -> Vec<String> {
        let path = self.path.trim_matches('/');
        let decode = |s: &str| percent_decode_str(s).decode_utf8_lossy().into_owned();
        if path.is_empty() { Vec::new() } else { path.split('/').map(decode).collect() }
    }

    /// Bytes of a header; the case of its name does not matter.
    pub fn header_bytes(&self, name: &str) -> Option<&Bytes> {
        let is_it = |(n, _): &&(String, Bytes)| n.eq_ignore_ascii_case(name);
        self.headers.iter().find(is_it).map(|(_, value)| value)
    }

    /// A header as text: UTF-8 if it is valid, else ISO-8859-1.
    pub fn header(&self, name: &str) -> Option<String> {
        self.header_bytes(name).map(|value| header_text(value))
    }

    /// The body as JSON, whatever its content type says.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, String> {
        serde_json::from_slice(&self.body).map_err(|e| format!("the body is not as expected: {e}"))
    }

    /// The body as it comes; what was read by somebody else is not there any more.
    pub fn stream(&self) -> BodyStream {
        let late = self.late.as_ref().and_then(|late| late.borrow_mut().take());
        late.unwrap_or_else(|| {
            let whole = Some(self.body.clone()).filter(|body| !body.is_empty());
            futures_util::stream::iter(whole.map(Ok)).boxed_local()
        })
    }

    /// A number in the query.
    pub fn number(&self, key: &str) -> Option<u64> {
        self.query.get(key)?.parse().ok()
    }
}

impl fmt::Debug for HttpRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}, {} bytes", self.method, self.path, self.body.len())
    }
}

/// Header bytes as text: UTF-8 if valid, else ISO-8859-1 (interfaces 4).
pub fn header_text(value: &[u8]) -> String {
    match std::str::from_utf8(value) {
        Ok(text) => text.to_owned(),
        Err(_) => value.iter().map(|&b| char::from(b)).collect(),
    }
}

fn parse_query(query: &str) -> BTreeMap<String, String> {
    let decode = |s: &str| {
        let s = s.replace('+', " ");
        percent_decode_str(&s).decode_utf8_lossy().into_owned()
    };
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.map(|(key, value)| (decode(key), decode(value))).collect()
}

impl From<ServiceError> for HttpResponse {
    fn from(error: ServiceError) -> Self {
        let answer = HttpResponse::bytes(error.status, "application/json", error.body());
        answer.with_header("iothub-errorcode", error.code)
    }
}

/// Chunks of a body as they come; an error ends the connection.
pub type BodyStream = LocalBoxStream<'static, Result<Bytes, String>>;

/// A body.
pub enum HttpBody {
    /// All of it.
    Full(Bytes),
    /// Chunk by chunk, for as long as the reader stays.
    Stream(BodyStream),
}

/// An answer.
pub struct HttpResponse {
    /// 200, ….
    pub status: u16,
    /// Names and values; `Content-Length` and the like are added.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: HttpBody,
    /// Why its caller was refused, for the log of whoever keeps the door; not sent.
    pub refused: Option<String>,
}

impl fmt::Debug for HttpResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "answer {}", self.status)
    }
}

impl HttpResponse {
    /// No body.
    pub fn empty(status: u16) -> Self {
        let body = HttpBody::Full(Bytes::new());
        HttpResponse { status, headers: Vec::new(), body, refused: None }
    }

    /// A body of the given type.
    pub fn bytes(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        let answer = HttpResponse { body: HttpBody::Full(body.into()), ..Self::empty(status) };
        answer.with_header("Content-Type", content_type)
    }

    /// Plain text.
    pub fn text(status: u16, body: impl Into<String>) -> Self {
        Self::bytes(status, "text/plain; charset=utf-8", body.into())
    }

    /// A JSON body, with the content type by which Node reads it (spec sdk.md 1.3).
    pub fn json(status: u16, body: &impl Serialize) -> Self {
        match serde_json::to_vec(body) {
            Ok(body) => Self::bytes(status, "application/json", body),
            Err(e) => Self::text(500, format!("the answer cannot be written as JSON: {e}")),
        }
    }

    /// `{"message": …}`.
    pub fn error(status: u16, message: impl fmt::Display) -> Self {
        Self::json(status, &serde_json::json!({ "message": message.to_string() }))
    }

    /// A body that is written as it comes.
    pub fn stream<S>(status: u16, content_type: &str, body: S) -> Self
    where
        S: Stream<Item = Result<Bytes, String>> + 'static,
    {
        let body = HttpBody::Stream(body.boxed_local());
        HttpResponse { body, ..Self::empty(status) }.with_header("Content-Type", content_type)
    }

    /// Adds a header.
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The body if it is there as a whole (tests).
    pub fn full_body(&self) -> Option<&Bytes> {
        match &self.body {
            HttpBody::Full(body) => Some(body),
            HttpBody::Stream(_) => None,
        }
    }
}
