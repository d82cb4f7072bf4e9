//! Those who come and do not log in: silent, slow, half a hand-shake, a giant CONNECT. Each is
//! closed in time, all of them together take little, and who logs in is let in meanwhile.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use edge_runtime::protocol::tls::{ClientStream, TlsClient};
use rustls::pki_types::ServerName;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::crowd::{Client, from, make_devices, trust};
use crate::gauge::{KIB, MIB, is_unhurt, memory, round_trips, settled, timed};
use crate::support::world::World;

/// Most strangers at a time (`actors/endpoint/doorkeeper.rs`).
const STRANGERS: u64 = 1_024;
/// A hand-shake, and CONNECT, must be there within 20 s each; the rest is for a slow machine.
const CLOSED: Duration = Duration::from_secs(60);
/// What one of them may cost.
const ONE: u64 = 32 * KIB;

/// The first bytes of a TLS hand-shake.
fn client_hello(tls: &TlsClient, to: SocketAddr) -> Vec<u8> {
    let name = ServerName::try_from(to.ip().to_string()).unwrap();
    let mut client = rustls::ClientConnection::new(tls.config(), name).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

async fn inside(tls: TlsClient, to: SocketAddr) -> ClientStream {
    let stream = TcpStream::connect(to).await.unwrap();
    tls.connect(&to.ip().to_string(), stream).await.unwrap()
}

/// Writes byte after byte until the other side closes; how long that took.
async fn dribble<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, bytes: Vec<u8>) -> Duration {
    let begin = Instant::now();
    let mut answer = [0; 256];
    for byte in bytes.iter().chain(std::iter::repeat(&bytes[bytes.len() - 1])) {
        let write = async {
            stream.write_all(&[*byte]).await?;
            stream.flush().await
        };
        if write.await.is_err() {
            break;
        }
        let read = timeout(Duration::from_millis(500), stream.read(&mut answer)).await;
        if matches!(read, Ok(Ok(0) | Err(_))) {
            break;
        }
    }
    begin.elapsed()
}

/// Says this and no more.
async fn wait<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, bytes: Vec<u8>) -> Duration {
    let begin = Instant::now();
    let _ = stream.write_all(&bytes).await;
    let _ = stream.flush().await;
    let mut answer = [0; 256];
    while !matches!(stream.read(&mut answer).await, Ok(0) | Err(_)) {}
    begin.elapsed()
}

#[test]
fn who_is_silent_or_slow_is_closed_in_time_and_keeps_nobody_out() {
    let mut world = World::start(&json!({ "all": "FROM /messages/* INTO $upstream" }));
    let devices = make_devices(&world, "good", 3);
    let (tls, to, edge) = (trust(&world), devices[0].address, world.edge.id());
    let hello = client_hello(&tls, to);
    let connect = devices[2].connect_packet().to_vec();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut witness = Client::connect(&devices[0], &tls, from(41)).await.unwrap();
        let before = round_trips(&mut witness, 30).await;
        let memory_before = settled(edge);
        let mut slow = JoinSet::new();
        for n in 0..30 {
            let (hello, connect, tls) = (hello.clone(), connect.clone(), tls.clone());
            let open = async move || TcpStream::connect(to).await.unwrap();
            match n % 5 {
                0 => slow.spawn(async move { wait(open().await, hello[..40].to_vec()).await }),
                1 => slow.spawn(async move { dribble(open().await, hello).await }),
                2 => slow.spawn(async move { dribble(inside(tls, to).await, connect).await }),
                3 => slow.spawn(async move { wait(inside(tls, to).await, vec![]).await }),
                _ => slow.spawn(async move { wait(inside(tls, to).await, vec![0x10]).await }),
            };
        }
        sleep(Duration::from_millis(500)).await;
        let mut silent = JoinSet::new();
        for _ in 0..1_200 {
            let stream = TcpStream::connect(to).await.unwrap();
            silent.spawn(wait(stream, vec![]));
        }
        let (took, other) = timed(Client::connect(&devices[1], &tls, from(42))).await;
        println!("with {STRANGERS} at the door another came in within {took:.1?}");
        let mut other = other.unwrap();
        is_unhurt("round trips", before, round_trips(&mut witness, 30).await);
        other.publish(1, b"good").await.unwrap();
        sleep(Duration::from_secs(3)).await;
        // From where the silent ones are: the longest-standing one of them goes.
        let (took, same_place) = timed(Client::connect(&devices[2], &tls, None)).await;
        println!("and one from where they are within {took:.1?}");
        same_place.unwrap().publish(1, b"good").await.unwrap();
        let grown = memory(edge).saturating_sub(memory_before);
        println!("{} KiB for all of them", grown / KIB);
        assert!(grown <= STRANGERS * ONE + 2 * MIB, "{grown} bytes");
        let mut longest = Duration::ZERO;
        while let Some(took) = timeout(CLOSED, silent.join_next()).await.expect("closed") {
            longest = longest.max(took.unwrap());
        }
        println!("the last silent one was closed after {longest:.1?}");
        while let Some(took) = timeout(CLOSED, slow.join_next()).await.expect("closed") {
            longest = longest.max(took.unwrap());
        }
        println!("the last slow one was closed after {longest:.1?}");
        assert!(longest < CLOSED, "{longest:?}");
        round_trips(&mut witness, 3).await;
    });
    let lines = world.edge.log_since_start().lines().count();
    assert!(lines < 400, "{lines} lines in the log");
    assert!(world.edge.ended().is_none());
}

#[test]
fn giant_connects_take_a_bounded_room() {
    const MANY: usize = 200;
    const AT_ONCE: u64 = 40;
    const LENGTH: usize = 98_000;
    let mut world = World::start(&json!({ "all": "FROM /messages/* INTO $upstream" }));
    let devices = make_devices(&world, "good", 1);
    let (tls, to, edge) = (trust(&world), devices[0].address, world.edge.id());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let before = settled(edge);
        let mut giant = vec![0x10, 0xd0, 0xfd, 0x05];
        giant.resize(LENGTH, b'x'); // the last bytes never come
        let mut giants = JoinSet::new();
        for _ in 0..MANY {
            let (tls, giant) = (tls.clone(), giant.clone());
            giants.spawn(async move { wait(inside(tls, to).await, giant).await });
        }
        let mut closed = 0;
        while let Ok(Some(_)) = timeout(Duration::from_secs(3), giants.join_next()).await {
            closed += 1;
        }
        let grown = memory(edge).saturating_sub(before);
        println!("{MANY} giants: {closed} closed at once, {} KiB for all of them", grown / KIB);
        assert!(closed >= MANY - AT_ONCE as usize, "{closed} closed");
        assert!(grown <= AT_ONCE * 160 * KIB + MANY as u64 * ONE + 2 * MIB, "{grown} bytes");
        let mut good = Client::connect(&devices[0], &tls, from(43)).await.unwrap();
        good.publish(1, b"good").await.unwrap();
        let rest = async { while giants.join_next().await.is_some() {} };
        timeout(CLOSED, rest).await.expect("all are closed");
    });
    assert!(world.edge.ended().is_none());
}
