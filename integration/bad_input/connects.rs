//! What comes before a client is let in: bytes that are no TLS, TLS without MQTT, a first packet
//! that is none, another version of MQTT, no client id.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use edge_runtime::protocol::tls::{TlsClient, Trust};
use rumqttc::mqttbytes::v4::Packet;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::mqtt::{LogIn, Mqtt};
use crate::support::rest::token;
use crate::support::world::World;
use crate::witness::{SOON, Witness, taken};

const TLS: u16 = 8883;

/// Bytes of a client that is not one of ours.
fn garbage() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("zeros", vec![0; 64]),
        ("ones", vec![0xff; 4096]),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: gw\r\n\r\n".to_vec()),
        ("AMQP", b"AMQP\x03\x01\x00\x00".to_vec()),
        ("a packet of 256 MiB", vec![0x10, 0xff, 0xff, 0xff, 0x7f, 0, 4]),
        ("an endless length", vec![0x10, 0x80, 0x80, 0x80, 0x80, 0x80]),
        ("PINGREQ first", vec![0xc0, 0]),
        ("PUBLISH first", vec![0x30, 5, 0, 1, b't', b'h', b'i']),
        ("CONNACK of a client", vec![0x20, 2, 0, 0]),
        ("the beginning of a CONNECT of 300,000 bytes", vec![0x10, 0xe0, 0xa7, 0x12, 0, 4]),
        ("an empty CONNECT", vec![0x10, 0]),
        ("a CONNECT cut short", vec![0x10, 8, 0, 4, b'M', b'Q', b'T', b'T', 4, 0xc2]),
    ]
}

/// What came back until the other side closed.
fn exchange(address: SocketAddr, bytes: &[u8], hangs_up: bool) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let mut answer = Vec::new();
    let _ = stream.write_all(bytes); // it may be closed already
    if hangs_up {
        let _ = stream.shutdown(std::net::Shutdown::Write);
    }
    match stream.read_to_end(&mut answer) {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("not closed"),
        _ => answer,
    }
}

/// The same inside TLS.
fn exchange_inside(world: &World, host: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let ca = world.folder.path().join("edge/certs/device-ca.pem");
    let client = TlsClient::new(&Trust::from_file(Some(&ca)).unwrap()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let talk = async {
        let stream = tokio::net::TcpStream::connect(host).await.unwrap();
        let mut stream = client.connect(&host.ip().to_string(), stream).await.unwrap();
        let _ = stream.write_all(bytes).await; // it may be closed already
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await; // a reset closes as well
        answer
    };
    runtime.block_on(async { tokio::time::timeout(SOON, talk).await }).expect("it is closed")
}

fn world() -> (World, Vec<Witness>) {
    let world = World::start(&json!({ "all": "FROM /messages/* INTO $upstream" }));
    let key = world.hub.service.make_leaf("direct", "");
    let witnesses = [world.leaf("leaf"), world.hub.log_in("direct", &key)];
    let witnesses = witnesses.iter().map(Witness::start).collect();
    (world, witnesses)
}

#[test]
fn bytes_that_make_no_sense_are_closed_on_and_disturb_nobody() {
    let (mut world, mut witnesses) = world();
    let edge = SocketAddr::from((world.edge_address, TLS));
    let hub = SocketAddr::from((world.hub.address, TLS));
    let before = taken(&world);
    let mut served = 0;
    for (what, bytes) in garbage() {
        println!("{what}");
        for address in [edge, hub] {
            let answer = exchange(address, &bytes, true); // it could be the beginning of TLS
            // A TLS alert at most.
            assert!(answer.first().is_none_or(|kind| *kind == 21), "{what}: {answer:?}");
        }
        assert_eq!(exchange_inside(&world, edge, &bytes), b"", "{what} inside TLS");
        let plain = SocketAddr::from((world.hub.address, 1883));
        assert_eq!(exchange(plain, &bytes, false), b"", "{what} without TLS");
        witnesses.iter_mut().for_each(Witness::is_served);
        served += 1;
    }
    // Someone who says nothing, and someone who goes in the middle of it.
    let silent: Vec<_> = (0..50).map(|_| TcpStream::connect(edge).unwrap()).collect();
    witnesses.iter_mut().for_each(Witness::is_served);
    drop(silent);
    assert_eq!(taken(&world), before + served + 1);
    assert!(world.edge.ended().is_none() && world.hub.program.ended().is_none());
    let closed = "first packet is not CONNECT: closed";
    for log in [world.edge.log_since_start(), world.hub.program.log_since_start()] {
        assert_eq!(log.matches(closed).count(), garbage().len(), "each is in the log, once: {log}");
    }
}

/// A CONNECT, with what a good one has unless it is said otherwise.
struct Hello<'a> {
    protocol: &'a str,
    level: u8,
    client: &'a str,
    user: String,
    is_clean: bool,
    /// Properties of MQTT 5.
    extra: &'a [u8],
}

impl<'a> Hello<'a> {
    fn of(log_in: &'a LogIn) -> Self {
        let user = format!("{}/{}/?api-version=2021-04-12", log_in.hub, log_in.id);
        Hello { protocol: "MQTT", level: 4, client: &log_in.id, user, is_clean: true, extra: b"" }
    }

    fn bytes(&self, password: &str) -> BytesMut {
        let mut body = BytesMut::new();
        let text = |body: &mut BytesMut, text: &str| {
            body.put_u16(u16::try_from(text.len()).unwrap());
            body.put_slice(text.as_bytes());
        };
        text(&mut body, self.protocol);
        body.put_u8(self.level);
        body.put_u8(0xc0 | (u8::from(self.is_clean) << 1));
        body.put_u16(60);
        body.put_slice(self.extra);
        text(&mut body, self.client);
        text(&mut body, &self.user);
        text(&mut body, password);
        let mut bytes = BytesMut::from(&[0x10][..]);
        let length = body.len();
        bytes.put_u8(u8::try_from(length % 128).unwrap() | if length > 127 { 0x80 } else { 0 });
        if length > 127 {
            bytes.put_u8(u8::try_from(length / 128).unwrap());
        }
        bytes.unsplit(body);
        bytes
    }
}

/// The return code, after which the connection is closed; none if it is closed without.
fn code(log_in: &LogIn, hello: &Hello<'_>) -> Option<u8> {
    let resource = format!("{}/devices/{}", log_in.hub, log_in.id);
    let mut mqtt = Mqtt::open(log_in.address).unwrap();
    mqtt.write(&hello.bytes(&token(&resource, &log_in.key, None))).unwrap();
    let code = match mqtt.read(SOON) {
        Ok(Some(Packet::ConnAck(ack))) => Some(ack.code as u8),
        Ok(other) => panic!("{other:?}"),
        Err(_) => None,
    };
    assert_eq!(mqtt.is_closed_within(SOON), code != Some(0), "{code:?}");
    code
}

#[test]
fn another_version_and_a_missing_client_id_get_their_own_return_code() {
    let (world, mut witnesses) = world();
    let key = world.hub.service.make_leaf("direct-2", "");
    for log_in in [world.leaf("leaf-2"), world.hub.log_in("direct-2", &key)] {
        let hello = || Hello::of(&log_in);
        println!("{}", log_in.id);
        assert_eq!(code(&log_in, &Hello { protocol: "MQIsdp", level: 3, ..hello() }), Some(1));
        assert_eq!(code(&log_in, &Hello { level: 3, ..hello() }), Some(1));
        assert_eq!(code(&log_in, &Hello { level: 5, extra: &[0], ..hello() }), Some(1));
        assert_eq!(code(&log_in, &Hello { protocol: "HTTP", ..hello() }), None);
        assert_eq!(code(&log_in, &Hello { client: "", ..hello() }), Some(2));
        assert_eq!(code(&log_in, &Hello { client: "", is_clean: false, ..hello() }), Some(2));
        assert_eq!(
            code(&log_in, &Hello { client: "leaf", ..hello() }),
            Some(5),
            "not its user name"
        );
        assert_eq!(
            code(&log_in, &Hello { client: "a b", user: "h/a b/?api-version=1".into(), ..hello() }),
            Some(5)
        );
        assert_eq!(
            code(&log_in, &Hello { user: log_in.id.clone(), ..hello() }),
            Some(5),
            "no host"
        );
        witnesses.iter_mut().for_each(Witness::is_served);
        // It is its own CONNECT that was wrong, and nothing else: the right one is let in.
        assert!(log_in.connect().is_ok());
        let mut twice = log_in.connect().unwrap();
        twice.write(&hello().bytes("")).unwrap();
        assert!(twice.is_closed_within(SOON), "a second CONNECT");
        let mut mqtt = log_in.connect().unwrap();
        mqtt.write(&[0x62, 2, 0, 1]).unwrap(); // PUBREL
        assert!(mqtt.is_closed_within(SOON), "what belongs to QoS 2");
    }
    std::thread::sleep(Duration::from_millis(100));
    witnesses.iter_mut().for_each(Witness::is_served);
}

#[test]
fn who_is_no_edge_may_not_be_a_link() {
    let (world, mut witnesses) = world();
    let key = world.hub.service.make_leaf("direct-2", "");
    let edge = world.hub.log_in("direct-2", &key);
    let clients = [world.leaf("leaf-2"), world.module("module"), edge];
    for log_in in &clients {
        for version in ["1", "9", "x"] {
            let user = format!("{}/{}/?api-version=2021-04-12", log_in.hub, log_in.id);
            let user = format!("{user}&link={version}");
            assert_eq!(code(log_in, &Hello { user, ..Hello::of(log_in) }), Some(5), "{version}");
        }
    }
    let (edge, hub) = (world.edge.log_since_start(), world.hub.program.log_since_start());
    assert!(edge.contains("this edge serves no links"), "{edge}");
    assert!(hub.contains("not $edgeHub of an edge device"), "{hub}");
    witnesses.iter_mut().for_each(Witness::is_served);
}
