//! Asks HTTP servers: over a unix socket, TCP or TLS; one connection per request.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{LocalBoxStream, StreamExt, unfold};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::http::header_text;
use super::tls::TlsClient;

/// Where a server is.
#[derive(Clone, Debug)]
pub enum Place {
    /// A socket file.
    Unix(PathBuf),
    /// Host and port, in the clear.
    Tcp(String, u16),
    /// Host and port, and whom to trust.
    Tls(String, u16, TlsClient),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::Unix(path) => write!(f, "{}", path.display()),
            Place::Tcp(host, port) => write!(f, "http://{host}:{port}"),
            Place::Tls(host, port, _) => write!(f, "https://{host}:{port}"),
        }
    }
}

/// A request.
#[derive(Clone, Debug, Default)]
pub struct ClientRequest {
    /// `GET`, ….
    pub method: String,
    /// Path and query, encoded.
    pub target: String,
    /// Names and values; `Host` and the length are added.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Bytes,
}

impl ClientRequest {
    /// Without headers and body.
    pub fn new(method: &str, target: impl Into<String>) -> Self {
        ClientRequest { method: method.into(), target: target.into(), ..Self::default() }
    }

    /// Adds a header.
    pub fn with_header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets a JSON body.
    pub fn with_json(mut self, body: &serde_json::Value) -> Self {
        self.body = body.to_string().into();
        self.with_header("Content-Type", "application/json")
    }
}

/// A whole answer.
#[derive(Clone, Debug, Default)]
pub struct ClientAnswer {
    /// 200, ….
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Bytes,
}

impl ClientAnswer {
    /// Whether it is a 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let is_it = |(n, _): &&(String, String)| n.eq_ignore_ascii_case(name);
        self.headers.iter().find(is_it).map(|(_, value)| value.as_str())
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody there, or the handshake failed.
    #[error("cannot connect to {place}: {why}")]
    Connect {
        /// Where.
        place: String,
        /// Why.
        why: io::Error,
    },
    /// Not in time.
    #[error("{0} did not answer in time")]
    TimedOut(String),
    /// Something else than HTTP, or it ended too early.
    #[error("{place} broke off: {why}")]
    Broken {
        /// Where.
        place: String,
        /// Why.
        why: String,
    },
    /// It cannot be sent.
    #[error("the request cannot be sent: {0}")]
    Request(String),
}

/// Asks and reads the whole answer, within `deadline`.
pub async fn ask(
    place: &Place,
    request: ClientRequest,
    deadline: Duration,
) -> Result<ClientAnswer, AskError> {
    let all = async {
        let (response, connection) = send(place, request).await?;
        let (status, headers) = head(&response);
        let body = response.into_body().collect().await.map_err(|e| broken(place, &e))?.to_bytes();
        connection.0.abort();
        Ok(ClientAnswer { status, headers, body })
    };
    timeout(deadline, all).await.map_err(|_| AskError::TimedOut(place.to_string()))?
}

/// Chunks of an answer as they come.
pub type AnswerStream = LocalBoxStream<'static, Result<Bytes, AskError>>;

/// Asks and reads the head of the answer within `deadline`; its body comes as it is written.
pub async fn follow(
    place: &Place,
    request: ClientRequest,
    deadline: Duration,
) -> Result<(ClientAnswer, AnswerStream), AskError> {
    let sent = timeout(deadline, send(place, request)).await;
    let (response, connection) = sent.map_err(|_| AskError::TimedOut(place.to_string()))??;
    let (status, headers) = head(&response);
    let place = place.clone();
    let body = unfold((response.into_body(), connection), move |(mut body, connection)| {
        let place = place.clone();
        async move {
            loop {
                match body.frame().await? {
                    Ok(frame) => {
                        let Ok(data) = frame.into_data() else { continue };
                        return Some((Ok(data), (body, connection)));
                    }
                    Err(e) => return Some((Err(broken(&place, &e)), (body, connection))),
                }
            }
        }
    });
    Ok((ClientAnswer { status, headers, body: Bytes::new() }, body.boxed_local()))
}

fn head(response: &Response<Incoming>) -> (u16, Vec<(String, String)>) {
    let headers = response.headers().iter();
    let headers = headers.map(|(n, v)| (n.as_str().to_owned(), header_text(v.as_bytes())));
    (response.status().as_u16(), headers.collect())
}

fn broken(place: &Place, why: &hyper::Error) -> AskError {
    AskError::Broken { place: place.to_string(), why: why.to_string() }
}

trait Stream: AsyncRead + AsyncWrite + Send {}
impl<T: AsyncRead + AsyncWrite + Send> Stream for T {}

async fn connect(place: &Place) -> io::Result<Pin<Box<dyn Stream>>> {
    let tcp = async |host: &str, port: u16| {
        let stream = TcpStream::connect((host.trim_matches(['[', ']']), port)).await?;
        stream.set_nodelay(true)?;
        Ok::<_, io::Error>(stream)
    };
    Ok(match place {
        Place::Unix(path) => Box::pin(UnixStream::connect(path).await?),
        Place::Tcp(host, port) => Box::pin(tcp(host, *port).await?),
        Place::Tls(host, port, tls) => Box::pin(tls.connect(host, tcp(host, *port).await?).await?),
    })
}

/// Drives a connection for as long as its answer is read.
struct Connection(JoinHandle<()>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn send(
    place: &Place,
    request: ClientRequest,
) -> Result<(Response<Incoming>, Connection), AskError> {
    let unsendable = |e: &dyn std::fmt::Display| AskError::Request(e.to_string());
    let host = match place {
        Place::Unix(_) => "localhost".to_owned(),
        Place::Tls(host, 443, _) | Place::Tcp(host, 80) => host.clone(),
        Place::Tcp(host, port) | Place::Tls(host, port, _) => format!("{host}:{port}"),
    };
    let target: Uri = request.target.parse().map_err(|e| unsendable(&e))?;
    let host = HeaderValue::try_from(host).map_err(|e| unsendable(&e))?;
    let mut wire = Request::builder().method(request.method.as_str()).uri(target);
    wire = wire.header(HOST, host);
    for (name, value) in &request.headers {
        let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|e| unsendable(&e))?;
        wire = wire.header(name.as_str(), value);
    }
    let wire = wire.body(Full::new(request.body)).map_err(|e| unsendable(&e))?;
    let stream = connect(place).await;
    let stream = stream.map_err(|why| AskError::Connect { place: place.to_string(), why })?;
    let shaken = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = shaken.map_err(|e| broken(place, &e))?;
    let connection = Connection(tokio::spawn(async move {
        if let Err(why) = connection.await {
            tracing::debug!(%why, "an HTTP connection of ours ended");
        }
    }));
    let response = sender.send_request(wire).await.map_err(|e| broken(place, &e))?;
    Ok((response, connection))
}
