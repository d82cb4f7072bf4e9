//! Over real sockets on loopback.

use std::cell::Cell;

use futures_util::stream::{self, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::task::LocalSet;

use super::*;
use crate::protocol::http_client::{AskError, ClientRequest, Place, ask, follow};

const SOON: std::time::Duration = std::time::Duration::from_secs(5);

async fn serve(answer: Handler) -> (Server, Place, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let limits = Limits { body: 10, ..Limits::default() };
    (Server::tcp(listener, answer, limits), Place::Tcp("127.0.0.1".into(), port), port)
}

#[test]
fn paths_and_queries_are_taken_apart_and_decoded() {
    let request = HttpRequest::new("GET", "/modules/%24edgeHub/a%2Fb/?tail=5&follow&x=a%20b+c");
    assert_eq!(request.segments(), ["modules", "$edgeHub", "a/b"]);
    assert_eq!(request.number("tail"), Some(5));
    assert_eq!(request.query["follow"], "");
    assert_eq!(request.query["x"], "a b c");
    assert!(HttpRequest::new("GET", "/").segments().is_empty());
}

#[test]
fn header_values_are_utf_8_or_else_latin_1() {
    assert_eq!(header_text("é".as_bytes()), "é");
    assert_eq!(header_text(&[0xe9]), "é");
}

#[tokio::test]
async fn a_request_arrives_as_sent_and_its_answer_comes_back() {
    let test = async {
        let answer = handler(async |request: HttpRequest| {
            let header = request.header("X-THING").unwrap_or_default();
            let body = String::from_utf8_lossy(&request.body).into_owned();
            HttpResponse::json(201, &(request.method.as_str(), request.segments(), header, body))
        });
        let (_server, place, _) = serve(answer).await;
        let request = ClientRequest::new("PUT", "/a/b?c=d").with_header("x-thing", "ü");
        let answer = ask(&place, ClientRequest { body: "hello".into(), ..request }, SOON).await;
        let answer = answer.unwrap();
        assert_eq!(answer.status, 201);
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.body, r#"["PUT",["a","b"],"ü","hello"]"#);
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn a_body_above_the_limit_is_refused_and_never_reaches_the_handler() {
    let test = async {
        let answer = handler(async |_| panic!("it must not come here"));
        let (_server, place, _) = serve(answer).await;
        let request =
            ClientRequest { body: "x".repeat(11).into(), ..ClientRequest::new("PUT", "/") };
        let answer = ask(&place, request, SOON).await.unwrap();
        assert_eq!((answer.status, answer.header("connection")), (413, Some("close")));
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn one_connection_carries_many_requests_over_a_unix_socket() {
    let test = async {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.sock");
        let count = Rc::new(Cell::new(0));
        let answer = handler(move |_| {
            count.set(count.get() + 1);
            std::future::ready(HttpResponse::text(200, count.get().to_string()))
        });
        let listener = UnixListener::bind(&path).unwrap();
        let _server = Server::unix(listener, answer, Limits::default());
        let mut stream = tokio::net::UnixStream::connect(&path).await.unwrap();
        for expected in [b"1", b"2"] {
            stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
            let mut answer = [0; 1024];
            let n = stream.read(&mut answer).await.unwrap();
            assert!(answer[..n].starts_with(b"HTTP/1.1 200 OK\r\n"));
            assert!(answer[..n].ends_with(expected));
        }
        let answer = ask(&Place::Unix(path), ClientRequest::new("GET", "/"), SOON).await.unwrap();
        assert_eq!(answer.body, "3");
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn a_stream_is_given_as_it_comes_and_ends_with_its_reader() {
    let test = async {
        let (done, is_dropped) = tokio::sync::oneshot::channel::<()>();
        let done = Rc::new(Cell::new(Some(done)));
        let answer = handler(move |_| {
            let held = done.take();
            let chunks = stream::once(async { Ok(Bytes::from("first\n")) }).chain(stream::once(
                async move {
                    std::future::pending::<()>().await;
                    drop(held);
                    Ok(Bytes::new())
                },
            ));
            std::future::ready(HttpResponse::stream(200, "text/plain", chunks))
        });
        let (_server, place, _) = serve(answer).await;
        let (head, mut body) = follow(&place, ClientRequest::new("GET", "/"), SOON).await.unwrap();
        assert_eq!(head.status, 200);
        assert_eq!(body.next().await.unwrap().unwrap(), "first\n");
        drop(body);
        assert!(is_dropped.await.is_err(), "the server let go of the stream");
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn dropping_a_server_ends_its_connections() {
    let test = async {
        let (server, place, port) = serve(handler(async |_| HttpResponse::empty(204))).await;
        let mut open = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        open.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        assert!(open.read(&mut [0; 256]).await.unwrap() > 0);
        drop(server);
        assert_eq!(open.read(&mut [0; 256]).await.unwrap(), 0);
        let gone = ask(&place, ClientRequest::new("GET", "/"), SOON).await;
        assert!(matches!(gone, Err(AskError::Connect { .. })));
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn a_server_that_is_silent_costs_its_deadline_only() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::time::pause();
    let place = Place::Tcp("127.0.0.1".into(), port);
    let answer = ask(&place, ClientRequest::new("GET", "/"), SOON).await;
    assert!(matches!(answer, Err(AskError::TimedOut(_))));
}

#[tokio::test(start_paused = true)]
async fn who_is_slow_or_falls_silent_is_closed_in_time_and_who_says_too_much_is_told() {
    let test = async {
        let answer = handler(async |_| HttpResponse::empty(204));
        let limits = Limits { body: 10, ..Limits::default() };
        let huge = "POST / HTTP/1.1\r\ncontent-length: 99999999999\r\n\r\n0123456789a";
        let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(70_000));
        for (said, heard, time) in [
            ("", "", limits.header_time),
            ("GET / HT", "", limits.header_time),
            ("GET / HTTP/1.1\r\n\r\n", " 204 ", limits.header_time),
            ("POST / HTTP/1.1\r\ncontent-length: 9\r\n\r\nabc", " 408 ", limits.body_time),
            (huge, " 413 ", SOON),
            (long.as_str(), " 414 ", SOON),
        ] {
            let begin = tokio::time::Instant::now();
            let (mut client, server) = tokio::io::duplex(1 << 20);
            tokio::task::spawn_local(serve_connection(server, answer.clone(), limits));
            client.write_all(said.as_bytes()).await.unwrap();
            let mut all = String::new();
            _ = client.read_to_string(&mut all).await; // until it is closed
            assert!(all.contains(heard), "{said:.40}: {all}");
            assert!(begin.elapsed() <= time, "{said:.40}: {:?}", begin.elapsed());
        }
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn a_user_with_too_many_connections_is_told_so_and_nobody_waits() {
    let test = async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.sock");
        let answer = handler(async |_| HttpResponse::empty(204));
        let limits = Limits { of_user: Some(2), ..Limits::default() };
        let _server = Server::unix(UnixListener::bind(&path).unwrap(), answer, limits);
        let mut held = Vec::new();
        for _ in 0..2 {
            let mut stream = tokio::net::UnixStream::connect(&path).await.unwrap();
            stream.write_all(b"GET / HT").await.unwrap();
            held.push(stream);
        }
        let get = async || {
            let request = ClientRequest::new("GET", "/");
            ask(&Place::Unix(path.clone()), request, SOON).await.map(|answer| answer.status)
        };
        assert_eq!(get().await.unwrap(), 429);
        held.pop();
        for _ in 0..1_000 {
            if get().await.unwrap() == 204 {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("who left some room has none");
    };
    LocalSet::new().run_until(test).await;
}
