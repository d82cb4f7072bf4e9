//! WebSockets (RFC 6455) with the sub-protocol `mqtt`: once opened, bytes as those of a socket.
//!
//! A message of any size is read as the bytes in it, so that an MQTT packet may span frames. No
//! extension is taken (Node offers `permessage-deflate`), and no ping is sent: some clients break
//! on it, and MQTT has its own (spec edgehub.md 8).

use std::future::ready;
use std::io;
use std::rc::Rc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use hyper::Request;
use hyper::body::Incoming;
use hyper::header::{
    CONNECTION, HeaderName, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper_util::rt::TokioIo;
use sha1::{Digest, Sha1};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_util::io::{CopyToBytes, SinkWriter, StreamReader};

use super::HttpResponse;
use crate::protocol::sockets::ByteStream;

/// Takes the bytes of a WebSocket that was opened.
pub type Tunnel = Rc<dyn Fn(Box<dyn ByteStream>)>;

/// RFC 6455, 1.3.
const SALT: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const PROTOCOL: &str = "mqtt";
/// The largest packet fits into one message; a client may put several into one.
const LARGEST: usize = 1 << 20;
/// What a connection holds for reading and writing while little is said.
const BUFFER: usize = 4 << 10;

/// Whether a request asks for a WebSocket.
pub(super) fn is_asked(request: &Request<Incoming>) -> bool {
    has_word(request, &UPGRADE, "websocket") && has_word(request, &CONNECTION, "upgrade")
}

/// Opens it, or says why not. `tunnel` gets its bytes when the answer was sent.
pub(super) fn open(mut request: Request<Incoming>, tunnel: Tunnel) -> HttpResponse {
    if !has_word(&request, &SEC_WEBSOCKET_VERSION, "13") {
        let why = "the WebSocket version is 13 here";
        return HttpResponse::error(426, why).with_header("Sec-WebSocket-Version", "13");
    }
    if !has_word(&request, &SEC_WEBSOCKET_PROTOCOL, PROTOCOL) {
        return HttpResponse::error(400, "the WebSocket sub-protocol is `mqtt` here");
    }
    let Some(key) = request.headers().get(SEC_WEBSOCKET_KEY) else {
        return HttpResponse::error(400, "Sec-WebSocket-Key is missing");
    };
    let salted = Sha1::new().chain_update(key.as_bytes()).chain_update(SALT).finalize();
    let accept = STANDARD.encode(salted);
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::task::spawn_local(async move {
        match upgrade.await {
            Ok(upgraded) => tunnel(Box::new(bytes(TokioIo::new(upgraded)).await)),
            Err(why) => tracing::debug!(%why, "a WebSocket did not open"),
        }
    });
    HttpResponse::empty(101)
        .with_header(UPGRADE.as_str(), "websocket")
        .with_header(CONNECTION.as_str(), "Upgrade")
        .with_header(SEC_WEBSOCKET_ACCEPT.as_str(), &accept)
        .with_header(SEC_WEBSOCKET_PROTOCOL.as_str(), PROTOCOL)
}

/// Whether a word stands in a header that is a list.
fn has_word(request: &Request<Incoming>, name: &HeaderName, word: &str) -> bool {
    let values = request.headers().get_all(name).iter().filter_map(|value| value.to_str().ok());
    let mut words = values.flat_map(|value| value.split(','));
    words.any(|one| one.trim().eq_ignore_ascii_case(word))
}

/// The bytes in the messages of a WebSocket, both ways.
async fn bytes<S>(stream: S) -> impl ByteStream + use<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let config = WebSocketConfig::default()
        .read_buffer_size(BUFFER)
        .write_buffer_size(BUFFER)
        .max_message_size(Some(LARGEST))
        .max_frame_size(Some(LARGEST));
    let socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
    let (sink, stream) = socket.split();
    let read = stream.filter_map(|message| ready(content(message)));
    let write = sink
        .sink_map_err(io::Error::other)
        .with(|bytes: Bytes| ready(Ok::<_, io::Error>(Message::Binary(bytes))));
    tokio::io::join(StreamReader::new(read), SinkWriter::new(CopyToBytes::new(write)))
}

/// What a message adds to the bytes; the end comes as the end of the stream.
fn content(message: Result<Message, Error>) -> Option<io::Result<Bytes>> {
    match message {
        Ok(Message::Binary(bytes)) => Some(Ok(bytes)),
        Ok(Message::Text(_)) => Some(Err(io::Error::other("a text message; MQTT is binary"))),
        Ok(_) | Err(Error::ConnectionClosed | Error::AlreadyClosed) => None,
        Err(error) => Some(Err(io::Error::other(error))),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::task::LocalSet;

    use super::*;
    use crate::protocol::http::{Limits, handler, serve_with_web_sockets};

    /// That of the RFC.
    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
    type Opened = Rc<RefCell<Vec<Box<dyn ByteStream>>>>;

    /// Asks a server for a WebSocket; the head of its answer, the stream, what was opened.
    async fn ask(headers: &str) -> (String, TcpStream, Opened) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        let opened = Opened::default();
        let into = Rc::clone(&opened);
        let tunnel: Tunnel = Rc::new(move |stream| into.borrow_mut().push(stream));
        let answer = handler(async |_| HttpResponse::text(200, "an answer to a request"));
        tokio::task::spawn_local(serve_with_web_sockets(server, answer, tunnel, Limits::default()));
        let request = format!("GET /$iothub/websocket HTTP/1.1\r\nHost: h\r\n{headers}\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(client.read_u8().await.unwrap());
        }
        (String::from_utf8(head).unwrap(), client, opened)
    }

    fn headers(version: u8, protocol: &str) -> String {
        format!(
            "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Key: {KEY}\r\n\
             Sec-WebSocket-Version: {version}\r\nSec-WebSocket-Protocol: {protocol}\r\n\
             Sec-WebSocket-Extensions: permessage-deflate\r\n"
        )
    }

    #[tokio::test]
    async fn bytes_go_both_ways_however_they_are_framed() {
        let test = async {
            let (head, stream, opened) = ask(&headers(13, "AMQPWSB10, mqtt")).await;
            let head = head.to_ascii_lowercase();
            assert!(head.starts_with("http/1.1 101"), "{head}");
            assert!(head.contains(&format!("accept: {}", ACCEPT.to_ascii_lowercase())), "{head}");
            assert!(head.contains("protocol: mqtt") && !head.contains("extensions"), "{head}");
            tokio::task::yield_now().await;
            let mut client = WebSocketStream::from_raw_socket(stream, Role::Client, None).await;
            client.send(Message::Binary(Bytes::from_static(b"hel"))).await.unwrap();
            client.send(Message::Ping(Bytes::new())).await.unwrap();
            client.send(Message::Binary(Bytes::from_static(b"lo, you"))).await.unwrap();
            let mut server = opened.borrow_mut().pop().expect("it was opened");
            let mut read = [0; 5];
            server.read_exact(&mut read).await.unwrap();
            assert_eq!(&read, b"hello");
            let mut rest = [0; 5];
            server.read_exact(&mut rest).await.unwrap();
            assert_eq!(&rest, b", you");
            server.write_all(b"welcome").await.unwrap();
            server.flush().await.unwrap();
            let mut heard = Vec::new();
            while heard.len() < 7 {
                match client.next().await.unwrap().unwrap() {
                    Message::Binary(bytes) => heard.extend(bytes),
                    Message::Pong(_) => {}
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(heard, b"welcome");
            client.close(None).await.unwrap();
            assert_eq!(server.read(&mut rest).await.unwrap(), 0, "its end is the end");
        };
        LocalSet::new().run_until(test).await;
    }

    #[tokio::test]
    async fn what_is_not_mqtt_ends_the_stream() {
        let test = async {
            let text = Message::text("hello");
            let large = Message::Binary(vec![0; LARGEST + 1].into());
            for message in [text, large] {
                let (_, stream, opened) = ask(&headers(13, "mqtt")).await;
                tokio::task::yield_now().await;
                let mut client = WebSocketStream::from_raw_socket(stream, Role::Client, None).await;
                let mut server = opened.borrow_mut().pop().expect("it was opened");
                tokio::task::spawn_local(async move { client.send(message).await });
                assert!(server.read_u8().await.is_err());
            }
        };
        LocalSet::new().run_until(test).await;
    }

    #[tokio::test]
    async fn other_requests_are_answered_or_told_why_not() {
        let test = async {
            for (headers, status) in [
                (headers(8, "mqtt"), "426"),
                (headers(13, "AMQPWSB10"), "400"),
                (
                    headers(13, "mqtt").replace(KEY, "").replace("Sec-WebSocket-Key: \r\n", ""),
                    "400",
                ),
                (String::new(), "200"),
            ] {
                let (head, _, opened) = ask(&headers).await;
                assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{headers}{head}");
                assert!(opened.borrow().is_empty());
            }
        };
        LocalSet::new().run_until(test).await;
    }
}
