//! MQTT 3.1.1 control packets as values; `protocol/codec.rs` turns bytes into them and back.

use bytes::Bytes;

/// Quality of service of a PUBLISH or a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum QoS {
    /// 0
    AtMostOnce,
    /// 1
    AtLeastOnce,
    /// 2, which is never granted
    ExactlyOnce,
}

/// CONNECT.
#[derive(Clone, PartialEq, Eq)]
pub struct Connect {
    /// `device` or `device/module`.
    pub client_id: String,
    /// Seconds; 0 is none.
    pub keep_alive: u16,
    /// Clean session flag.
    pub is_clean: bool,
    /// User name, if the flag is set.
    pub user_name: Option<String>,
    /// Password, if the flag is set. Never logged.
    pub password: Option<String>,
    /// What is to be sent in its name, should it go without DISCONNECT.
    pub will: Option<Will>,
}

/// The will of a client.
#[derive(Clone, PartialEq, Eq)]
pub struct Will {
    /// Topic name.
    pub topic: String,
    /// Body. Never logged.
    pub body: Bytes,
    /// To be retained, on a local topic.
    pub retain: bool,
}

impl std::fmt::Debug for Connect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CONNECT of `{}` as {:?}", self.client_id, self.user_name)
    }
}

/// PUBLISH.
#[derive(Clone, PartialEq, Eq)]
pub struct Publish {
    /// Sent before.
    pub dup: bool,
    /// Of this publish.
    pub qos: QoS,
    /// Retain flag; of messages on local topics only.
    pub retain: bool,
    /// Topic name.
    pub topic: String,
    /// Packet id; 0 with `QoS` 0.
    pub id: u16,
    /// Body. Never logged.
    pub payload: Bytes,
}

impl std::fmt::Debug for Publish {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Publish { dup, qos, topic, id, payload, .. } = self;
        write!(f, "PUBLISH {id} {qos:?} dup={dup} {topic}, {} bytes", payload.len())
    }
}

/// CONNACK return codes that are used (MQTT 3.1.1, 3.2.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectCode {
    /// 0
    Accepted,
    /// 1: another version than MQTT 3.1.1.
    OtherVersion,
    /// 2: no client id.
    BadClientId,
    /// 3: the client tries again.
    ServerUnavailable,
    /// 5: a client may give up for good.
    NotAuthorized,
}

/// What a client sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientPacket {
    /// The first packet.
    Connect(Box<Connect>),
    /// A message or a request.
    Publish(Publish),
    /// Acknowledges one of ours.
    PubAck(u16),
    /// Packet id; filters with the `QoS` asked for.
    Subscribe(u16, Vec<(String, QoS)>),
    /// Packet id; filters.
    Unsubscribe(u16, Vec<String>),
    /// Keep-alive.
    PingReq,
    /// The client leaves.
    Disconnect,
}

/// What we send to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerPacket {
    /// Session present flag; return code.
    ConnAck(bool, ConnectCode),
    /// A message or a request.
    Publish(Publish),
    /// Acknowledges one of the client's.
    PubAck(u16),
    /// Granted `QoS` per filter; `None` is 0x80.
    SubAck(u16, Vec<Option<QoS>>),
    /// Acknowledges an UNSUBSCRIBE.
    UnsubAck(u16),
    /// Keep-alive.
    PingResp,
}
