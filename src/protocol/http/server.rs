//! Reads requests from a stream (TCP, TLS or a unix socket) and writes what the handler answers.
//!
//! A slow or silent peer costs a connection, never the thread: header, body and idle time have
//! limits. Dropping a [`Server`] ends its connections.

use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{StreamExt, unfold};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::{JoinHandle, JoinSet};

use super::callers::Callers;
use super::web_socket::{self, Tunnel};
use super::{BodyStream, Handler, HttpBody, HttpRequest, HttpResponse, Peer, parse_query};
use crate::protocol::sockets::ByteStream;

/// Connections that are told that they are too many, at a time.
const REFUSED: usize = 8;
/// Whom the system does not name.
const NOBODY: u32 = u32::MAX;

/// What one peer may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a body; more is answered with 413.
    pub body: usize,
    /// From the first byte of a connection, or the end of an answer, to the end of a header.
    pub header_time: Duration,
    /// From the end of the header to the end of the body.
    pub body_time: Duration,
    /// Connections at one time; more wait in the listener's backlog.
    pub connections: usize,
    /// Of them of one user at a unix socket; more are answered with 429, and nobody waits.
    pub of_user: Option<usize>,
    /// Whether a body is left to the handler, to be read as it comes: of any size, with
    /// `body_time` for each part of it.
    pub late: fn(&HttpRequest) -> bool,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            body: 1 << 20,
            header_time: Duration::from_secs(60),
            body_time: Duration::from_secs(30),
            connections: 64,
            of_user: None,
            late: |_| false,
        }
    }
}

/// Serves one connection until the peer leaves or breaks the rules.
pub async fn serve_connection<S>(stream: S, handler: Handler, limits: Limits) -> io::Result<()>
where
    S: ByteStream + 'static,
{
    serve(stream, handler, None, limits).await
}

/// As [`serve_connection`]; WebSockets, on any path, are opened and go to `tunnel`.
pub async fn serve_with_web_sockets<S>(
    stream: S,
    handler: Handler,
    tunnel: Tunnel,
    limits: Limits,
) -> io::Result<()>
where
    S: ByteStream + 'static,
{
    serve(stream, handler, Some(tunnel), limits).await
}

async fn serve<S>(
    stream: S,
    handler: Handler,
    tunnel: Option<Tunnel>,
    limits: Limits,
) -> io::Result<()>
where
    S: ByteStream + 'static,
{
    let service = service_fn(move |request| {
        let (handler, tunnel) = (handler.clone(), tunnel.clone());
        async move {
            Ok::<_, Infallible>(match tunnel.filter(|_| web_socket::is_asked(&request)) {
                Some(tunnel) => to_wire(web_socket::open(request, tunnel)),
                None => answer(request, handler, limits).await,
            })
        }
    });
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_time)
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await
        .map_err(io::Error::other)
}

async fn answer(request: Request<Incoming>, handler: Handler, limits: Limits) -> Response<Wire> {
    let (head, body) = request.into_parts();
    let mut asked = to_request(&head, Bytes::new());
    if (limits.late)(&asked) {
        let chunks = as_it_comes(body, limits.body_time);
        asked.late = Some(Rc::new(RefCell::new(Some(chunks))));
        return to_wire(handler(asked).await);
    }
    let body = Limited::new(body, limits.body).collect();
    let response = match tokio::time::timeout(limits.body_time, body).await {
        Err(_) => HttpResponse::error(408, "the body did not come in time").closing(),
        Ok(Err(e)) if e.is::<LengthLimitError>() => {
            let message = format!("the body is larger than {} bytes", limits.body);
            HttpResponse::error(413, message).closing()
        }
        Ok(Err(e)) => HttpResponse::error(400, format!("the body is broken: {e}")).closing(),
        Ok(Ok(body)) => handler(HttpRequest { body: body.to_bytes(), ..asked }).await,
    };
    to_wire(response)
}

fn as_it_comes(body: Incoming, time: Duration) -> BodyStream {
    let chunks = unfold(Some(body.into_data_stream()), move |body| async move {
        let mut body = body?;
        match tokio::time::timeout(time, body.next()).await {
            Ok(Some(Ok(chunk))) => Some((Ok(chunk), Some(body))),
            Ok(Some(Err(why))) => Some((Err(why.to_string()), None)),
            Ok(None) => None,
            Err(_) => Some((Err("it did not come in time".to_owned()), None)),
        }
    });
    chunks.boxed_local()
}

impl HttpResponse {
    /// What follows on the connection cannot be read any more.
    fn closing(self) -> Self {
        self.with_header("Connection", "close")
    }
}

fn to_request(head: &hyper::http::request::Parts, body: Bytes) -> HttpRequest {
    let headers = head.headers.iter();
    let headers = headers.map(|(n, v)| (n.as_str().into(), Bytes::copy_from_slice(v.as_bytes())));
    HttpRequest {
        method: head.method.as_str().to_ascii_uppercase(),
        path: head.uri.path().into(),
        query: parse_query(head.uri.query().unwrap_or_default()),
        headers: headers.collect(),
        body,
        late: None,
        peer: None,
    }
}

fn to_wire(response: HttpResponse) -> Response<Wire> {
    let mut wire = Response::new(Wire(response.body));
    *wire.status_mut() =
        StatusCode::from_u16(response.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in &response.headers {
        let header = (HeaderName::try_from(name.as_str()), HeaderValue::try_from(value.as_str()));
        match header {
            (Ok(name), Ok(value)) => _ = wire.headers_mut().append(name, value),
            _ => tracing::warn!(%name, "a header of an answer cannot be sent"),
        }
    }
    wire
}

/// A body on its way out.
struct Wire(HttpBody);

impl Body for Wire {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match &mut self.0 {
            HttpBody::Full(body) if body.is_empty() => Poll::Ready(None),
            HttpBody::Full(body) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(body))))),
            HttpBody::Stream(stream) => stream
                .poll_next_unpin(cx)
                .map(|next| next.map(|c| c.map(Frame::data).map_err(io::Error::other))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.0, HttpBody::Full(body) if body.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            HttpBody::Full(body) => SizeHint::with_exact(body.len() as u64),
            HttpBody::Stream(_) => SizeHint::default(),
        }
    }
}

/// Requests say who connected.
fn of_peer(handler: Handler, peer: Peer) -> Handler {
    Rc::new(move |request| handler(HttpRequest { peer: Some(peer), ..request }))
}

/// Says that there are too many. A few at a time; who comes beside them is closed without a word.
async fn refuse<S: ByteStream + 'static>(stream: S, most: usize) {
    let time = Duration::from_secs(5);
    let limits = Limits { header_time: time, body_time: time, ..Limits::default() };
    let why = format!("this user has {most} connections here, or all are taken: end some of them");
    let answer: Handler =
        Rc::new(move |_| Box::pin(std::future::ready(HttpResponse::error(429, &why).closing())));
    let served = tokio::time::timeout(time * 2, serve_connection(stream, answer, limits));
    let _ = served.await; // it was refused anyway
}

/// A listening socket that is being served, on the current thread. Ends when it is dropped.
#[derive(Debug)]
pub struct Server(JoinHandle<()>);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Server {
    /// Serves a unix socket.
    pub fn unix(listener: UnixListener, handler: Handler, limits: Limits) -> Self {
        let accept = async move || {
            let (stream, _) = listener.accept().await?;
            let peer = stream.peer_cred().ok();
            let peer = peer.map(|it| Peer { uid: it.uid(), pid: it.pid().unwrap_or_default() });
            Ok((stream, peer))
        };
        Self::spawn(accept, handler, limits)
    }

    /// Serves a TCP port.
    pub fn tcp(listener: TcpListener, handler: Handler, limits: Limits) -> Self {
        let accept = async move || Ok((listener.accept().await?.0, None));
        Self::spawn(accept, handler, limits)
    }

    fn spawn<S>(
        mut accept: impl AsyncFnMut() -> io::Result<(S, Option<Peer>)> + 'static,
        handler: Handler,
        limits: Limits,
    ) -> Self
    where
        S: ByteStream + 'static,
    {
        Server(tokio::task::spawn_local(async move {
            let mut connections = JoinSet::new();
            let mut refused = JoinSet::new();
            let callers = limits.of_user.map(|each| (Callers::new(each, limits.connections), each));
            loop {
                while callers.is_none() && connections.len() >= limits.connections {
                    connections.join_next().await;
                }
                while connections.try_join_next().is_some() {}
                while refused.try_join_next().is_some() {}
                match accept().await {
                    Ok((stream, peer)) => {
                        let user = peer.map_or(NOBODY, |peer: Peer| peer.uid);
                        let seat = match &callers {
                            None => None,
                            Some((callers, each)) => match callers.enter(user) {
                                None if refused.len() < REFUSED => {
                                    refused.spawn_local(refuse(stream, *each));
                                    continue;
                                }
                                None => continue,
                                seat => seat,
                            },
                        };
                        let handler = match peer {
                            Some(peer) => of_peer(handler.clone(), peer),
                            None => handler.clone(),
                        };
                        let connection = serve_connection(stream, handler, limits);
                        connections.spawn_local(async move {
                            let _seat = seat;
                            if let Err(why) = connection.await {
                                tracing::debug!(%why, "an HTTP connection ended");
                            }
                        });
                    }
                    // Out of file descriptors, or a peer that left at once: others may come.
                    Err(why) => {
                        tracing::warn!(%why, "cannot accept an HTTP connection; trying again");
                        tokio::time::sleep(Duration::from_millis(200)).await;
                    }
                }
            }
        }))
    }
}
