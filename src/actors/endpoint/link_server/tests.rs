//! An edge on a socket in memory, before a backend of stand-ins; time is driven.

use std::cell::RefCell;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::*;
use crate::actors::endpoint::stream::ByteStream;
use crate::actors::stand_in::{Log, port, settle};
use crate::domain::bag::Bag;
use crate::domain::delivery::{LiveShare, Loaded, Share};
use crate::domain::link::stamp::{self, Stamps};
use crate::domain::link::up::LinkUp;
use crate::domain::packet::Connect;
use crate::domain::row::{Key, Offset, Priority, Row, Stamp};
use crate::messages::identities::Granted;
use crate::messages::queue::{Ingest, Pull, Verdict};
use crate::messages::registry::AskScope;
use crate::messages::upstream::LinkAnswer;

struct Scene {
    edge: DuplexStream,
    /// The answer to whether somebody is in scope.
    scope: Rc<RefCell<u16>>,
    /// Bodies, as they were stored.
    stored: Log<Bytes>,
    _link: Addr<LinkServer>,
}

fn leaf() -> Identity {
    Identity::parse("leaf").unwrap()
}

impl Scene {
    async fn new() -> Self {
        tokio::time::pause();
        let (stored, scope) = (Log::<Bytes>::default(), Rc::new(RefCell::new(200)));
        let (seen, status) = (Rc::clone(&stored), Rc::clone(&scope));
        let backend = Backend {
            open: port(|_: Open| {
                Ok(Opened { epoch: 1, is_present: false, filters: vec![], unacked: vec![] })
            }),
            scope: port(move |_: AskScope| {
                let (status, body) = (*status.borrow(), Bytes::new());
                LinkAnswer { status, body, version: None }
            }),
            ingest: port(move |Ingest(batch, _): Ingest| {
                seen.borrow_mut().extend(batch.iter().map(|one| one.body.clone()));
                Ok(batch.iter().map(|_| Verdict::Stored).collect())
            }),
            pull: port(|pull: Pull| {
                let key = Key { priority: Priority::DEFAULT, offset: Offset(7) };
                let row = Row {
                    key,
                    sender: leaf(),
                    route: "c2d".into(),
                    input: None,
                    stamp: None,
                    bag: Bag::default(),
                    body: Bytes::from_static(b"hello"),
                };
                let is_wanted = pull.from.is_before(key) && pull.without.is_empty();
                Ok(if is_wanted { vec![row].into() } else { Loaded::default() })
            }),
            ..Backend::default()
        };
        let (edge, ours) = tokio::io::duplex(1 << 16);
        let (read, half) = tokio::io::split(Box::new(ours) as Box<dyn ByteStream>);
        let connect = Connect {
            client_id: "gw/$edgeHub".into(),
            keep_alive: 0,
            is_clean: true,
            user_name: None,
            password: None,
            will: None,
        };
        let greeted = Greeted {
            reader: Reader::new(read),
            half,
            connect,
            log_in: Box::new(LogIn {
                identity: Identity::parse("gw/$edgeHub").unwrap(),
                token: None,
                certificate: None,
                link: Some(1),
                place: None,
            }),
            granted: Granted { until: u64::MAX, by_device: false },
            peer: "test".into(),
        };
        let settings = ConnectionSettings {
            limits: LIMITS,
            parking: crate::actors::endpoint::budget::Shared::new(1 << 20),
            window: 10,
            share: Share::NONE,
            live: LiveShare::NONE,
            unwritten: Default::default(),
            watch: Default::default(),
        };
        let link =
            LinkServer::accept(greeted, Rc::new(backend), &settings, Obituary::unsupervised());
        let mut scene = Scene { edge, scope, stored, _link: link };
        assert_eq!(scene.read().await, ["CONNACK"]);
        scene
    }

    /// PUBLISH, QoS 1.
    async fn send(&mut self, up: &LinkUp, id: u16, body: &[u8]) {
        let topic = up.to_string();
        let length = u16::try_from(topic.len()).unwrap().to_be_bytes();
        let rest = [&length[..], topic.as_bytes(), &id.to_be_bytes(), body].concat();
        let mut packet = vec![0x32];
        let mut left = rest.len();
        while left >= 128 {
            packet.push(u8::try_from(left % 128).unwrap() | 0x80);
            left /= 128;
        }
        packet.push(u8::try_from(left).unwrap());
        packet.extend(rest);
        self.edge.write_all(&packet).await.unwrap();
        settle().await;
    }

    async fn message(&mut self, seq: u16, attempt: u64) -> Vec<String> {
        let stamps = Stamps { stamp: Stamp { run: 1, seq: u64::from(seq) }, low: 1, attempt };
        let up = LinkUp::Telemetry(leaf(), stamp::add(&Bag::default(), stamps));
        self.send(&up, seq, &seq.to_string().into_bytes()).await;
        self.read().await
    }

    async fn attach(&mut self, rid: u64, c2d: bool) -> Vec<String> {
        let features = format!("{{\"c2d\":{c2d},\"methods\":false,\"desired\":false}}");
        self.send(&LinkUp::Attach(leaf(), rid), 99, features.as_bytes()).await;
        self.read().await
    }

    /// As an edge waits: it pings.
    async fn wait(&mut self, tens_of_seconds: u64) {
        for _ in 0..tens_of_seconds {
            tokio::time::sleep(Duration::from_secs(10)).await;
            self.edge.write_all(&[0xC0, 0]).await.unwrap();
        }
    }

    /// What came: topics of messages, names of other packets.
    async fn read(&mut self) -> Vec<String> {
        settle().await;
        let mut packets = Vec::new();
        let mut byte = [0];
        while let Ok(Ok(1)) =
            tokio::time::timeout(Duration::from_millis(1), self.edge.read(&mut byte)).await
        {
            let kind = byte[0] >> 4;
            let (mut length, mut shift) = (0, 0);
            loop {
                self.edge.read_exact(&mut byte).await.unwrap();
                length |= usize::from(byte[0] & 127) << shift;
                shift += 7;
                if byte[0] < 128 {
                    break;
                }
            }
            let mut rest = vec![0; length];
            self.edge.read_exact(&mut rest).await.unwrap();
            packets.push(match kind {
                13 => continue,
                2 => "CONNACK".into(),
                4 => format!("PUBACK {}", u16::from_be_bytes([rest[0], rest[1]])),
                3 => {
                    let end = 2 + usize::from(u16::from_be_bytes([rest[0], rest[1]]));
                    String::from_utf8(rest[2..end].to_vec()).unwrap()
                }
                other => format!("packet {other}"),
            });
        }
        packets
    }
}

#[actix::test]
async fn a_sender_that_cannot_be_looked_up_is_refused_until_its_next_try() {
    let mut scene = Scene::new().await;
    let refused = |seq: u16| {
        let topic = format!("$iothub/devices/leaf/messages/refused/503/?$seq={seq}&$run=1");
        [topic, format!("PUBACK {seq}")]
    };
    *scene.scope.borrow_mut() = 503;
    assert_eq!(scene.message(1, 0).await, refused(1));
    *scene.scope.borrow_mut() = 200;
    assert_eq!(scene.message(2, 0).await, refused(2), "it would overtake the first");
    assert_eq!(scene.message(1, 1).await, ["PUBACK 1"]);
    assert_eq!(scene.message(2, 1).await, ["PUBACK 2"]);
    assert_eq!(*scene.stored.borrow(), ["1", "2"]);
}

#[actix::test]
async fn a_sender_out_of_scope_is_refused_and_nothing_of_it_is_stored() {
    let mut scene = Scene::new().await;
    *scene.scope.borrow_mut() = 404;
    let refused = "$iothub/devices/leaf/messages/refused/404/?$seq=1&$run=1";
    assert_eq!(scene.message(1, 0).await, [refused, "PUBACK 1"]);
    assert!(scene.stored.borrow().is_empty());
}

#[actix::test]
async fn a_message_has_a_minute_from_when_it_was_given_last() {
    let mut scene = Scene::new().await;
    let message = "$iothub/devices/leaf/messages/devicebound/%24.lock=7";
    let answer = |rid: u64| format!("$iothub/devices/leaf/res/200/?$rid={rid}");
    let attached = scene.attach(1, true).await;
    assert!(attached.contains(&message.to_owned()), "{attached:?}");
    scene.wait(4).await;
    assert!(scene.attach(2, false).await.contains(&answer(2)));
    let attached = scene.attach(3, true).await;
    assert!(attached.contains(&message.to_owned()), "{attached:?}");
    scene.wait(4).await;
    assert_eq!(scene.read().await, Vec::<String>::new(), "the time of the first giving");
    scene.wait(3).await;
    assert_eq!(scene.read().await, [message], "the time of the second one is over");
}
