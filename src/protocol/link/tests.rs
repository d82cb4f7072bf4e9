//! The driver against a scripted parent: real sockets, real packets, byte by byte.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::protocol::certs::Authority;
use crate::protocol::tls::{ClientAuthorities, TlsServer};

const CONNACK: &[u8] = &[0x20, 2, 0, 0];

/// Reads packets and answers them; dropped, it closes.
struct Parent(TcpStream);

impl Parent {
    async fn packet(&mut self) -> (u8, Vec<u8>) {
        let first = self.0.read_u8().await.unwrap();
        let (mut length, mut shift) = (0, 0);
        loop {
            let byte = self.0.read_u8().await.unwrap();
            length |= usize::from(byte & 0x7F) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await.unwrap();
        (first, body)
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    async fn publish(&mut self, qos: u8, topic: &str, id: u16, payload: &[u8]) {
        let mut body = (topic.len() as u16).to_be_bytes().to_vec();
        body.extend(topic.as_bytes());
        if qos > 0 {
            body.extend(id.to_be_bytes());
        }
        body.extend(payload);
        let head = [0x30 | qos << 1, u8::try_from(body.len()).unwrap()];
        self.send(&[&head[..], &body].concat()).await;
    }
}

/// Topic, id and payload of a PUBLISH.
fn parts(body: &[u8]) -> (String, u16, &[u8]) {
    let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
    let topic = String::from_utf8(body[2..2 + length].to_vec()).unwrap();
    let rest = &body[2 + length..];
    (topic, u16::from_be_bytes([rest[0], rest[1]]), &rest[2..])
}

async fn dial() -> (LinkSender, LinkReceiver, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, receiver) = open(&Address::plain("127.0.0.1", port), login());
    (sender, receiver, listener)
}

fn login() -> Login {
    Login {
        client_id: "gw/$edgeHub".into(),
        user_name: "hub/gw/$edgeHub/?api-version=2021-04-12&link=1".into(),
        password: "secret".into(),
    }
}

async fn connected() -> (LinkSender, LinkReceiver, Parent) {
    let (sender, mut receiver, listener) = dial().await;
    let serve = async {
        let mut parent = Parent(listener.accept().await.unwrap().0);
        let (first, body) = parent.packet().await;
        assert_eq!(first, 0x10);
        assert_eq!(body[7] & 0b10, 0b10, "clean session");
        assert_eq!(u16::from_be_bytes([body[8], body[9]]), 10, "keep-alive");
        parent.send(CONNACK).await;
        parent
    };
    let (event, parent) = tokio::join!(receiver.next(), serve);
    assert!(matches!(event, Some(LinkEvent::Connected)));
    (sender, receiver, parent)
}

/// Lets both sides run until the connection has something to tell.
async fn with<T>(receiver: &mut LinkReceiver, script: impl Future<Output = T>) -> (LinkEvent, T) {
    let (event, done) = tokio::join!(receiver.next(), script);
    (event.unwrap(), done)
}

#[tokio::test]
async fn each_puback_is_told_by_the_number_of_its_publish() {
    let (sender, mut receiver, mut parent) = connected().await;
    sender.publish(70, "devices/a/messages/events/".into(), "one".into()).unwrap();
    sender.publish(71, "devices/b/messages/events/".into(), "two".into()).unwrap();
    let (event, ()) = with(&mut receiver, async {
        let (_, one) = parent.packet().await;
        let (_, two) = parent.packet().await;
        assert_eq!(parts(&one), ("devices/a/messages/events/".into(), 1, &b"one"[..]));
        assert_eq!(parts(&two), ("devices/b/messages/events/".into(), 2, &b"two"[..]));
        parent.send(&[0x40, 2, 0, 2, 0x40, 2, 0, 1]).await;
    })
    .await;
    assert!(matches!(event, LinkEvent::Acked(71)));
    assert!(matches!(receiver.next().await, Some(LinkEvent::Acked(70))));
}

#[tokio::test]
async fn what_the_parent_publishes_is_acknowledged_when_we_say_so() {
    let (sender, mut receiver, mut parent) = connected().await;
    let (event, ()) = with(&mut receiver, parent.publish(1, "$iothub/x", 9, b"{}")).await;
    let LinkEvent::Received(topic, payload, Some(ack)) = event else { panic!("not a PUBLISH") };
    assert_eq!((topic.as_str(), &payload[..]), ("$iothub/x", &b"{}"[..]));
    sender.ack(&ack).unwrap();
    let (event, ()) = with(&mut receiver, async {
        assert_eq!(parent.packet().await, (0x40, vec![0, 9]));
        parent.publish(0, "$iothub/y", 0, b"").await;
    })
    .await;
    assert!(matches!(event, LinkEvent::Received(_, _, None)));
}

#[tokio::test]
async fn a_subscription_is_granted_or_not() {
    for (code, wanted) in [(1, true), (0x80, false)] {
        let (sender, mut receiver, mut parent) = connected().await;
        sender.subscribe("$iothub/devices/#").unwrap();
        let (event, ()) = with(&mut receiver, async {
            let (first, body) = parent.packet().await;
            assert_eq!(first, 0x82);
            parent.send(&[0x90, 3, body[0], body[1], code]).await;
        })
        .await;
        assert!(matches!(event, LinkEvent::Subscribed(is_granted) if is_granted == wanted));
    }
}

#[tokio::test]
async fn a_close_in_good_order_is_told_from_a_cut() {
    let (_sender, mut receiver, parent) = connected().await;
    drop(parent);
    let Some(LinkEvent::Lost(how, _)) = receiver.next().await else { panic!("it goes on") };
    assert_eq!(how, Lost::Closed);
    assert!(receiver.next().await.is_none());

    let (_sender, mut receiver, mut parent) = connected().await;
    parent.send(&[0x30, 20, 0]).await; // half a packet
    drop(parent);
    let Some(LinkEvent::Lost(how, _)) = receiver.next().await else { panic!("it goes on") };
    assert_eq!(how, Lost::Cut);
}

#[tokio::test]
async fn a_refused_log_in_is_told_from_a_parent_that_is_not_ready_or_not_there() {
    for (code, wanted) in [(5, Lost::Refused), (3, Lost::Cut)] {
        let (_sender, mut receiver, listener) = dial().await;
        let (event, ()) = with(&mut receiver, async {
            let mut parent = Parent(listener.accept().await.unwrap().0);
            parent.packet().await;
            parent.send(&[0x20, 2, 0, code]).await;
        })
        .await;
        assert!(matches!(event, LinkEvent::Lost(how, _) if how == wanted), "CONNACK {code}");
    }
    let (_sender, mut receiver, listener) = dial().await;
    drop(listener);
    assert!(matches!(receiver.next().await, Some(LinkEvent::Lost(Lost::Cut, _))));
}

#[tokio::test]
async fn only_silence_is_death_not_a_late_answer_to_a_ping() {
    let (_sender, mut receiver, mut parent) = connected().await;
    tokio::time::pause(); // timers jump whenever both sides wait
    let begin = Instant::now();
    let script = async {
        for _ in 0..4 {
            assert_eq!(parent.packet().await.0, 0xC0);
        }
        parent.publish(0, "$iothub/x", 0, b"").await; // no PINGRESP came, but this
        parent
    };
    // four pings and no answer would be 40 s: the link is dead before
    let event = tokio::select! { event = receiver.next() => event, _ = script => None };
    assert!(matches!(event, Some(LinkEvent::Lost(Lost::Cut, _))));
    assert_eq!(begin.elapsed().as_secs(), 30);
}

#[tokio::test]
async fn the_certificate_is_checked_against_the_hubs_name_whatever_was_dialled() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::load_or_make(&dir.path().join("ca.pem"), "test CA").unwrap();
    let names = BTreeSet::from(["hub.local".to_owned()]);
    let certificate = authority.certify(&names, Duration::from_secs(1_790_000_000)).unwrap();
    let server = TlsServer::new(&certificate, ClientAuthorities::default()).unwrap();
    let trust = Trust::Pem(authority.pem().as_bytes().to_vec(), "test CA".into());
    for (name, is_taken) in [("hub.local", true), ("other.local", false), ("127.0.0.1", false)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let address = Address::tls("127.0.0.1", port, name, &trust).unwrap();
        let (_sender, mut receiver) = open(&address, login());
        let serve = async {
            let Ok(mut stream) = server.accept(listener.accept().await.unwrap().0).await else {
                return;
            };
            let mut connect = [0; 16];
            if stream.read_exact(&mut connect).await.is_ok() {
                stream.write_all(CONNACK).await.unwrap();
            }
        };
        let (event, ()) = with(&mut receiver, serve).await;
        assert_eq!(matches!(event, LinkEvent::Connected), is_taken, "{name}");
    }
}
