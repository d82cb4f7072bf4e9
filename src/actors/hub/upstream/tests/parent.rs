//! A parent that does what a test says, packet by packet.

use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::domain::packet::{ClientPacket, Connect, ConnectCode, Publish, QoS, ServerPacket};
use crate::protocol::codec;

pub(super) struct Parent {
    listener: TcpListener,
    stream: Option<TcpStream>,
    read: BytesMut,
    /// Published while something else was waited for.
    kept: Vec<Publish>,
}

impl Parent {
    pub(super) async fn bind() -> (Self, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        (Parent { listener, stream: None, read: BytesMut::new(), kept: Vec::new() }, port)
    }

    /// Closes in good order: all that came is read first.
    pub(super) fn cut(&mut self) {
        let stream = self.stream.take().unwrap();
        let mut rest = [0; 4096];
        while stream.try_read(&mut rest).is_ok_and(|length| length > 0) {}
        self.read.clear();
        self.kept.clear();
    }

    /// Goes without a word, as a cut cable does once it is noticed.
    pub(super) fn reset(&mut self) {
        self.stream.take().unwrap().set_zero_linger().unwrap();
        self.read.clear();
        self.kept.clear();
    }

    async fn packet(&mut self) -> ClientPacket {
        let next = async {
            loop {
                if let Some(packet) = codec::decode(&mut self.read).unwrap() {
                    return packet;
                }
                let stream = self.stream.as_mut().unwrap();
                let length = stream.read_buf(&mut self.read).await.unwrap();
                assert!(length > 0, "the edge closed");
            }
        };
        timeout(Duration::from_secs(5), next).await.expect("nothing comes")
    }

    async fn send(&mut self, packet: &ServerPacket) {
        let mut bytes = BytesMut::new();
        codec::encode(packet, &mut bytes).unwrap();
        self.stream.as_mut().unwrap().write_all(&bytes).await.unwrap();
    }

    async fn connect(&mut self) -> Connect {
        let accepted = timeout(Duration::from_secs(5), self.listener.accept()).await;
        self.stream = Some(accepted.expect("nobody dials").unwrap().0);
        let ClientPacket::Connect(connect) = self.packet().await else { panic!("no CONNECT") };
        *connect
    }

    /// CONNECT and CONNACK.
    pub(super) async fn accept(&mut self) -> Connect {
        let connect = self.connect().await;
        self.send(&ServerPacket::ConnAck(false, ConnectCode::Accepted)).await;
        connect
    }

    pub(super) async fn refuse(&mut self, code: u8) -> Connect {
        let connect = self.connect().await;
        self.stream.as_mut().unwrap().write_all(&[0x20, 2, 0, code]).await.unwrap();
        connect
    }

    /// SUBSCRIBE and SUBACK with this code.
    pub(super) async fn grant(&mut self, code: u8) {
        let ClientPacket::Subscribe(id, filters) = self.packet().await else {
            panic!("no SUBSCRIBE")
        };
        assert_eq!(filters, [("$iothub/devices/#".to_owned(), QoS::AtLeastOnce)]);
        let granted = (code < 2).then_some(QoS::AtLeastOnce);
        self.send(&ServerPacket::SubAck(id, vec![granted])).await;
    }

    /// All of it, and the edge's own identities attached.
    pub(super) async fn serve(&mut self) {
        self.accept().await;
        self.grant(1).await;
        for own in ["$edgeHub", "$edgeAgent"] {
            let rid = self.asked(&format!("$iothub/devices/gw/modules/{own}/attach/PUT/")).await;
            let answer = format!("$iothub/devices/gw/modules/{own}/res/200/?$rid={rid}");
            self.say(&answer, "").await;
        }
    }

    /// The next PUBLISH that `is_wanted`; others are kept.
    async fn find(&mut self, is_wanted: impl Fn(&Publish) -> bool) -> Publish {
        if let Some(at) = self.kept.iter().position(&is_wanted) {
            return self.kept.remove(at);
        }
        loop {
            match self.packet().await {
                ClientPacket::Publish(publish) if is_wanted(&publish) => return publish,
                ClientPacket::Publish(publish) => self.kept.push(publish),
                ClientPacket::PubAck(_) => {}
                ClientPacket::PingReq => self.send(&ServerPacket::PingResp).await,
                other => panic!("{other:?}"),
            }
        }
    }

    /// The next message: topic, body, packet id.
    pub(super) async fn published(&mut self) -> (String, String, u16) {
        let message = self.find(|publish| publish.topic.starts_with("devices/")).await;
        (message.topic, String::from_utf8(message.payload.to_vec()).unwrap(), message.id)
    }

    /// Nothing more comes.
    pub(super) async fn is_quiet(&mut self) -> bool {
        let more = self.find(|publish| publish.topic.starts_with("devices/"));
        timeout(Duration::from_millis(50), more).await.is_err()
    }

    /// The request with this topic was acknowledged: its number.
    pub(super) async fn asked(&mut self, topic: &str) -> u64 {
        let request = self.find(|publish| publish.topic.starts_with(topic)).await;
        self.ack(request.id).await;
        let (_, rid) = request.topic.split_once("$rid=").unwrap();
        rid.split('&').next().unwrap().parse().unwrap()
    }

    pub(super) async fn asked_topic(&mut self, topic: &str) {
        let publish = self.find(|publish| publish.topic == topic).await;
        self.ack(publish.id).await;
    }

    pub(super) async fn attach(&mut self, who: &str) -> (u64, String) {
        let topic = format!("$iothub/devices/{who}/attach/PUT/?$rid=");
        let publish = self.find(|publish| publish.topic.starts_with(&topic)).await;
        self.ack(publish.id).await;
        let payload = String::from_utf8(publish.payload.to_vec()).unwrap();
        (publish.topic[topic.len()..].parse().unwrap(), payload)
    }

    pub(super) async fn ack(&mut self, id: u16) {
        self.send(&ServerPacket::PubAck(id)).await;
    }

    /// A PUBLISH, QoS 0.
    pub(super) async fn say(&mut self, topic: &str, payload: &str) {
        self.publish(topic, payload, QoS::AtMostOnce, 0).await;
    }

    /// A PUBLISH, QoS 1; waits for its PUBACK.
    pub(super) async fn order(&mut self, topic: &str, payload: &str) {
        self.publish(topic, payload, QoS::AtLeastOnce, 77).await;
        assert_eq!(self.packet().await, ClientPacket::PubAck(77));
    }

    async fn publish(&mut self, topic: &str, payload: &str, qos: QoS, id: u16) {
        let (topic, payload) = (topic.to_owned(), payload.to_owned().into());
        let publish = Publish { dup: false, qos, retain: false, topic, id, payload };
        self.send(&ServerPacket::Publish(publish)).await;
    }
}
