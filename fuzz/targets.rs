//! What is fuzzed, as plain functions: the fuzzer calls them (`make fuzz`), and so does a test with
//! the corpora and some thousand random inputs (`integration/fuzz.rs`). A finding is a panic.

#[path = "routes.rs"]
pub mod routes;

use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::BytesMut;
use edge_runtime::actors::endpoint::doorkeeper::Doorkeeper;
use edge_runtime::actors::endpoint::reader::{ReadEnd, Reader};
use edge_runtime::domain::bag::Bag;
use edge_runtime::domain::connection_string::ConnectionString;
use edge_runtime::domain::identity::Identity;
use edge_runtime::domain::packet::{ClientPacket, ServerPacket};
use edge_runtime::domain::sas::{self, SasToken};
use edge_runtime::domain::topic::{self, ClientTopic, FilterClass, MAX_TOPIC};
use edge_runtime::domain::user_name::UserName;
use edge_runtime::protocol::codec;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A target.
pub type Target = fn(&[u8]);

/// Each with the name of its corpus.
pub const ALL: &[(&str, Target)] = &[
    ("codec", codec),
    ("reader", reader),
    ("topic", topic),
    ("bag", bag),
    ("log_in", log_in),
    ("route_text", routes::route_text),
    ("route_eval", routes::route_eval),
];

/// The packets at the front of `bytes`, and whether something bad follows.
fn decode_all(bytes: &[u8]) -> (Vec<ClientPacket>, bool) {
    let (mut bytes, mut packets) = (BytesMut::from(bytes), Vec::new());
    loop {
        let before = bytes.len();
        let frame = codec::peek(&bytes);
        match codec::decode(&mut bytes) {
            Ok(Some(packet)) => {
                let length = frame.expect("it was decoded").expect("its header is there").length;
                assert_eq!(before - bytes.len(), length, "decoding takes one frame: {packet:?}");
                packets.push(packet);
            }
            Ok(None) => {
                assert_eq!(bytes.len(), before, "what is not whole stays");
                return (packets, false);
            }
            Err(_) => return (packets, true),
        }
    }
}

/// Bytes of a client: decoded frame by frame; what is sent on is read back as it was.
pub fn codec(input: &[u8]) {
    let _ = codec::check_first(input);
    for packet in decode_all(input).0 {
        if let ClientPacket::Publish(publish) = packet {
            let mut bytes = BytesMut::new();
            let packet = ServerPacket::Publish(publish.clone());
            if codec::encode(&packet, &mut bytes).is_ok() {
                let back = codec::decode(&mut bytes).expect("what we write can be read");
                assert_eq!(back, Some(ClientPacket::Publish(publish)));
            }
        }
    }
}

/// A stream that gives the input in parts: the first byte says how large they are.
struct Parts {
    bytes: Vec<u8>,
    at: usize,
    part: usize,
}

impl AsyncRead for Parts {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let end = (self.at + self.part.min(into.remaining())).min(self.bytes.len());
        into.put_slice(&self.bytes[self.at..end]);
        self.at = end;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Parts {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

thread_local! {
    static RUNTIME: tokio::runtime::Runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime can be made");
    static KEEPER: Doorkeeper = Doorkeeper::new(1_000);
}

/// Our framing: however the bytes come, the reader finds the packets that are in them, and ends.
pub fn reader(input: &[u8]) {
    let Some((part, bytes)) = input.split_first() else { return };
    let stream = Parts { bytes: bytes.to_vec(), at: 0, part: usize::from(*part).max(1) };
    let (half, _) = tokio::io::split(Box::new(stream) as _);
    let mut reader = Reader::new(half);
    let end = RUNTIME.with(|runtime| {
        runtime.block_on(async {
            let mut packets = Vec::new();
            if bytes.first() == Some(&0x10) {
                let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
                let (_seat, visit) = KEEPER.with(|it| it.enter(address)).expect("there is room");
                match reader.first(&visit).await {
                    Ok(packet) => packets.push(packet),
                    Err(end) => return (packets, end),
                }
            }
            loop {
                match reader.next().await {
                    Ok(packet) => packets.push(packet),
                    Err(end) => return (packets, end),
                }
            }
        })
    });
    let (expected, is_bad) = decode_all(bytes);
    let (packets, end) = end;
    // A CONNECT that is too large ends the reading before it is whole.
    if !matches!(end, ReadEnd::Bad(_)) {
        assert_eq!(end, ReadEnd::Closed);
        assert!(!is_bad, "the reader found nothing bad in it");
        assert_eq!(packets, expected);
    } else {
        assert_eq!(packets[..], expected[..packets.len()]);
    }
}

fn who(first: u8) -> Identity {
    let id = if first & 1 == 0 { "d" } else { "d/m" };
    Identity::parse(id).expect("it is one")
}

/// Topics and filters of a client, which the first byte names.
pub fn topic(input: &[u8]) {
    let Some((first, text)) = input.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let who = who(*first);
    if let Ok(ClientTopic::Telemetry(bag)) = topic::parse_publish(text, &who) {
        assert!(text.starts_with(&who.resource()), "of nobody else");
        for sent in [topic::input(&who, "", &bag), topic::devicebound(&who, &bag)] {
            assert!(sent.len() <= MAX_TOPIC + 300, "it can be sent on");
        }
        let delivered = topic::delivery(&who, "in", &who, &bag);
        assert!(topic::matches(&format!("{}/inputs/#", who.resource()), &delivered));
        let again = format!("{}/messages/events/{}", who.resource(), bag.as_str());
        assert_eq!(topic::parse_publish(&again, &who), Ok(ClientTopic::Telemetry(bag)));
    }
    let class = topic::classify(text, &who);
    if !matches!(class, FilterClass::Unknown) {
        assert!(topic::is_filter(text));
    }
    let (filter, name) = text.split_once(' ').unwrap_or((text, text));
    let is_plain = !filter.contains(['+', '#']);
    assert_eq!(topic::matches(filter, name) && is_plain, filter == name && is_plain);
    assert!(topic::matches("#", name));
    let _ = topic::features(&[(text.to_owned(), true)], &who);
}

/// Property bags: what was read is canonical, and says the same when it is read again.
pub fn bag(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(bag) = Bag::parse(text) else { return };
    let again = Bag::parse(bag.as_str()).expect("what we write can be read");
    assert_eq!(again, bag);
    let pairs: Vec<_> = bag.pairs().collect();
    let made = Bag::from_pairs(pairs.iter().map(|(name, value)| (&**name, value.as_deref())));
    assert_eq!(made, bag);
    for (name, value) in &pairs {
        assert_eq!(bag.get(name), Some(value.clone()), "{name} is there once");
    }
    if let Some((name, _)) = pairs.first() {
        assert_eq!(bag.without(&[name]).pairs().count(), pairs.len() - 1);
        assert_eq!(bag.with(&[(name, "x=&/ü")]).value(name).as_deref(), Some("x=&/ü"));
    }
}

/// What is in a CONNECT beside its frame: ids, the user name, the token; and connection strings.
pub fn log_in(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(user) = UserName::parse(text) {
        let id = user.identity.as_str();
        assert_eq!(Identity::parse(id).as_ref(), Ok(&user.identity));
    }
    if let Ok(token) = SasToken::parse(text) {
        let keys = ["c2VjcmV0IGtleQ==".to_owned()];
        let _ = (token.check(&keys, 1, 300), format!("{token:?}"));
        if let Some(identity) = token.identity() {
            assert!(token.is_for(&identity).is_ok(), "it is for whom it says");
        }
    }
    let _ = Identity::parse(text);
    let _ = ConnectionString::parse(text);
    let _ = ConnectionString::parse_device(text);
    if text.len() < 200
        && let Ok(made) = sas::make(text, "c2VjcmV0IGtleQ==", 1_000, None)
    {
        let token = SasToken::parse(&made).expect("what we make can be read");
        assert_eq!(token.resource().as_deref(), Ok(text));
        assert_eq!(token.check(&["c2VjcmV0IGtleQ==".to_owned()], 999, 0), Ok(1_000));
    }
}
