//! MQTT 3.1.1 framing: bytes to `domain::packet` and back, with rumqttc's codec, but for PUBLISH and
//! PUBACK (`hot.rs`).
//!
//! Chosen over rumqttd's, which is faster per packet but hides packet id, `QoS` and DUP (ADR 2).
//!
//! next: `actors/endpoint/reader.rs`

mod client;
mod hot;

pub use self::client::{decode_answer, encode_request};

use bytes::BytesMut;
use rumqttc::mqttbytes::v4::{
    self, ConnAck, ConnectReturnCode, SubAck, SubscribeReasonCode, UnsubAck,
};
use rumqttc::mqttbytes::{self, Error};

use crate::domain::packet::{ClientPacket, Connect, ConnectCode, QoS, ServerPacket, Will};

/// Largest body of a PUBLISH; one byte more and the connection is closed (architecture 4.1).
pub const MAX_PAYLOAD: usize = 262_144;

/// Largest remaining length of any packet: body, topic, packet id.
const MAX_PACKET: usize = MAX_PAYLOAD + 65_535 + 4;

/// Largest CONNECT: ids, a user name, a token, and the largest will. Nobody has logged in when it
/// is read, so no more than that is kept of it.
const MAX_CONNECT: usize = 98_304;

/// Why a connection that sent this is closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPacket {
    /// Above [`MAX_PAYLOAD`].
    #[error("payload of {0} bytes is above the limit")]
    TooLarge(usize),
    /// Not MQTT 3.1.1, or not what a client may send.
    #[error("malformed packet: {0}")]
    Malformed(String),
    /// CONNECT of another version: the client is told so (MQTT 3.1.1, 3.1.2.2).
    #[error("MQTT of protocol level {0}; this is MQTT 3.1.1, level 4")]
    OtherVersion(u8),
}

/// A packet that has begun to arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Whole length, header included.
    pub length: usize,
    /// Of the fixed header.
    pub header: usize,
    /// A PUBLISH: room must be reserved for it before it is read.
    pub is_publish: bool,
}

/// Looks at the fixed header at the front of `bytes`; `None` until it is complete.
pub fn peek(bytes: &[u8]) -> Result<Option<Frame>, BadPacket> {
    peek_at_most(bytes, MAX_PACKET)
}

/// The same, of a packet whose remaining length is `most` at most.
fn peek_at_most(bytes: &[u8], most: usize) -> Result<Option<Frame>, BadPacket> {
    let Some((first, rest)) = bytes.split_first() else { return Ok(None) };
    let mut remaining = 0usize;
    for (index, byte) in rest.iter().take(4).enumerate() {
        remaining |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            if remaining > most {
                return Err(BadPacket::TooLarge(remaining));
            }
            let (header, is_publish) = (index + 2, first >> 4 == 3);
            return Ok(Some(Frame { length: header + remaining, header, is_publish }));
        }
    }
    if rest.len() >= 4 {
        return Err(BadPacket::Malformed("remaining length of more than 4 bytes".into()));
    }
    Ok(None)
}

/// Looks at what a connection begins with, as far as it is there: a CONNECT of a sensible size.
/// Answers its length, 0 while that is not known.
pub fn check_first(bytes: &[u8]) -> Result<usize, BadPacket> {
    if bytes.first().is_some_and(|first| *first != 0x10) {
        return Err(BadPacket::Malformed("not a CONNECT of MQTT".into()));
    }
    match peek(bytes)? {
        Some(frame) if frame.length > MAX_CONNECT => {
            Err(BadPacket::Malformed(format!("CONNECT of {} bytes", frame.length)))
        }
        frame => Ok(frame.map_or(0, |frame| frame.length)),
    }
}

/// Bit 0 of the flags of a CONNECT of MQTT 3.1.1, which rumqttc does not look at (MQTT-3.1.2-3).
fn has_reserved_flag(packet: &[u8]) -> bool {
    let lengths = packet.iter().skip(1).take_while(|byte| **byte & 0x80 != 0).count() + 1;
    packet.get(1 + lengths + 7).is_some_and(|flags| flags & 1 == 1)
}

/// Level of a whole CONNECT that is not of MQTT 3.1.1: MQTT 3.1 (`MQIsdp`) or 5, say. rumqttc
/// takes 5 for 4, and would misread what follows.
fn other_version(packet: &[u8]) -> Option<u8> {
    let lengths = packet.iter().skip(1).take_while(|byte| **byte & 0x80 != 0).count() + 1;
    let body = packet.get(1 + lengths..).filter(|_| packet[0] >> 4 == 1)?;
    let (length, rest) = body.split_first_chunk()?;
    let (name, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
    let level = *rest.first()?;
    let is_other = (name == b"MQTT" && level != 4) || name == b"MQIsdp";
    is_other.then_some(level)
}

/// Takes one packet off the front of `bytes`; `None` until it is complete.
pub fn decode(bytes: &mut BytesMut) -> Result<Option<ClientPacket>, BadPacket> {
    if let Some(id) = hot::take_puback(bytes) {
        return Ok(Some(ClientPacket::PubAck(id)));
    }
    if let Ok(Some(frame)) = peek(bytes)
        && let Some(whole) = bytes.get(..frame.length)
    {
        if frame.is_publish {
            let publish = hot::take_publish(bytes, frame, MAX_PAYLOAD)?;
            // Not of a hub: it puts the name of a method into a topic as it is.
            if publish.topic.contains(['+', '#']) {
                return Err(BadPacket::Malformed("topic name with a wildcard".into()));
            }
            return Ok(Some(ClientPacket::Publish(publish)));
        }
        if let Some(level) = other_version(whole) {
            return Err(BadPacket::OtherVersion(level));
        }
    }
    let has_reserved_flag = has_reserved_flag(bytes);
    let packet = match v4::Packet::read(bytes, MAX_PACKET) {
        Ok(packet) => packet,
        Err(Error::InsufficientBytes(_)) => return Ok(None),
        Err(Error::PayloadSizeLimitExceeded(size)) => return Err(BadPacket::TooLarge(size)),
        Err(error) => return Err(BadPacket::Malformed(error.to_string())),
    };
    Ok(Some(match packet {
        v4::Packet::Connect(_) if has_reserved_flag => {
            return Err(BadPacket::Malformed("CONNECT with the reserved flag set".into()));
        }
        v4::Packet::Subscribe(v4::Subscribe { pkid: 0, .. })
        | v4::Packet::Unsubscribe(v4::Unsubscribe { pkid: 0, .. }) => {
            return Err(BadPacket::Malformed("packet id 0".into()));
        }
        v4::Packet::Connect(connect) => ClientPacket::Connect(Box::new(connect_of(connect))),
        v4::Packet::PubAck(ack) => ClientPacket::PubAck(ack.pkid),
        v4::Packet::Subscribe(subscribe) => {
            let filters = subscribe.filters.into_iter();
            let filters = filters.map(|filter| (filter.path, qos_of(filter.qos))).collect();
            ClientPacket::Subscribe(subscribe.pkid, filters)
        }
        v4::Packet::Unsubscribe(unsubscribe) => {
            ClientPacket::Unsubscribe(unsubscribe.pkid, unsubscribe.topics)
        }
        v4::Packet::PingReq => ClientPacket::PingReq,
        v4::Packet::Disconnect => ClientPacket::Disconnect,
        other => {
            return Err(BadPacket::Malformed(format!("a client does not send {other:?}")));
        }
    }))
}

/// Appends one packet to `bytes`.
pub fn encode(packet: &ServerPacket, bytes: &mut BytesMut) -> Result<(), BadPacket> {
    let written = match packet {
        ServerPacket::ConnAck(is_present, code) => {
            let code = match code {
                ConnectCode::Accepted => ConnectReturnCode::Success,
                ConnectCode::OtherVersion => ConnectReturnCode::RefusedProtocolVersion,
                ConnectCode::BadClientId => ConnectReturnCode::BadClientId,
                ConnectCode::ServerUnavailable => ConnectReturnCode::ServiceUnavailable,
                ConnectCode::NotAuthorized => ConnectReturnCode::NotAuthorized,
            };
            ConnAck::new(code, *is_present).write(bytes)
        }
        ServerPacket::Publish(publish) => return hot::put_publish(publish, bytes),
        ServerPacket::PubAck(id) => {
            hot::put_puback(*id, bytes);
            Ok(4)
        }
        ServerPacket::SubAck(id, granted) => {
            let codes = granted.iter().map(|qos| match qos {
                Some(qos) => SubscribeReasonCode::Success(rumqttc_qos(*qos)),
                None => SubscribeReasonCode::Failure,
            });
            SubAck::new(*id, codes.collect()).write(bytes)
        }
        ServerPacket::UnsubAck(id) => UnsubAck::new(*id).write(bytes),
        ServerPacket::PingResp => {
            bytes.extend_from_slice(&[0xD0, 0]);
            Ok(2)
        }
    };
    written.map(drop).map_err(|error| BadPacket::Malformed(error.to_string()))
}

fn connect_of(connect: v4::Connect) -> Connect {
    let (user_name, password) = match connect.login {
        Some(login) => (Some(login.username), Some(login.password)),
        None => (None, None),
    };
    Connect {
        client_id: connect.client_id,
        keep_alive: connect.keep_alive,
        is_clean: connect.clean_session,
        user_name: user_name.filter(|name| !name.is_empty()),
        password: password.filter(|password| !password.is_empty()),
        will: connect.last_will.map(|it| Will {
            topic: it.topic,
            body: it.message,
            retain: it.retain,
        }),
    }
}

fn qos_of(qos: mqttbytes::QoS) -> QoS {
    match qos {
        mqttbytes::QoS::AtMostOnce => QoS::AtMostOnce,
        mqttbytes::QoS::AtLeastOnce => QoS::AtLeastOnce,
        mqttbytes::QoS::ExactlyOnce => QoS::ExactlyOnce,
    }
}

fn rumqttc_qos(qos: QoS) -> mqttbytes::QoS {
    match qos {
        QoS::AtMostOnce => mqttbytes::QoS::AtMostOnce,
        QoS::AtLeastOnce => mqttbytes::QoS::AtLeastOnce,
        QoS::ExactlyOnce => mqttbytes::QoS::ExactlyOnce,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::domain::packet::Publish;

    fn wire(publish: &Publish) -> BytesMut {
        let mut bytes = BytesMut::new();
        encode(&ServerPacket::Publish(publish.clone()), &mut bytes).unwrap();
        bytes
    }

    fn publish(payload: usize) -> Publish {
        Publish {
            dup: false,
            qos: QoS::AtLeastOnce,
            retain: false,
            topic: "devices/d/messages/events/".into(),
            id: 7,
            payload: Bytes::from(vec![1; payload]),
        }
    }

    #[test]
    fn the_largest_payload_is_taken_and_one_byte_more_is_not() {
        let largest = publish(MAX_PAYLOAD);
        let taken = decode(&mut wire(&largest)).unwrap();
        assert_eq!(taken, Some(ClientPacket::Publish(largest)));
        let refused = decode(&mut wire(&publish(MAX_PAYLOAD + 1)));
        assert_eq!(refused, Err(BadPacket::TooLarge(MAX_PAYLOAD + 1)));
    }

    #[test]
    fn a_packet_in_parts_is_waited_for() {
        let whole = wire(&publish(300));
        let length = whole.len();
        assert_eq!(peek(&whole[..1]).unwrap(), None);
        assert_eq!(peek(&whole[..3]).unwrap(), Some(Frame { length, header: 3, is_publish: true }));
        assert_eq!(decode(&mut BytesMut::from(&whole[..length - 1])).unwrap(), None);
    }

    #[test]
    fn a_connect_of_another_version_is_told_apart_from_what_is_no_connect() {
        let decoded = |name: &[u8], level: u8| {
            let name = [&[0, name.len() as u8], name].concat();
            let body = [&name[..], &[level, 2, 0, 60, 0, 0]].concat();
            decode(&mut BytesMut::from(&[&[0x10, body.len() as u8], &body[..]].concat()[..]))
        };
        assert_eq!(decoded(b"MQIsdp", 3), Err(BadPacket::OtherVersion(3)));
        assert_eq!(decoded(b"MQTT", 5), Err(BadPacket::OtherVersion(5)));
        assert!(matches!(decoded(b"MQTT", 4), Ok(Some(ClientPacket::Connect(_)))));
        assert!(matches!(decoded(b"HTTP", 4), Err(BadPacket::Malformed(_))));
    }

    #[test]
    fn a_connection_begins_with_a_connect_of_a_sensible_size() {
        assert_eq!(check_first(&[]), Ok(0));
        assert_eq!(check_first(&[0x10]), Ok(0));
        assert_eq!(check_first(&[0x10, 0xff, 0x01, 0]), Ok(258));
        for bad in [&b"GET /"[..], b"AMQP", &[0x30, 2], &[0x11, 2], &[0x10, 0x80, 0x80, 7]] {
            assert!(check_first(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_mqtt_forbids_is_malformed_although_it_could_be_read() {
        let is_malformed =
            |bytes: &[u8]| matches!(decode(&mut bytes.into()), Err(BadPacket::Malformed(_)));
        assert!(!is_malformed(b"\x10\x0c\0\x04MQTT\x04\x02\0\x3c\0\0"));
        assert!(is_malformed(b"\x10\x0c\0\x04MQTT\x04\x03\0\x3c\0\0"), "reserved flag");
        assert!(!is_malformed(b"\x82\x06\0\x01\0\x01a\x01"));
        assert!(is_malformed(b"\x82\x06\0\0\0\x01a\x01"), "SUBSCRIBE with packet id 0");
        assert!(is_malformed(b"\xa2\x05\0\0\0\x01a"), "UNSUBSCRIBE with packet id 0");
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_codec_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = peek(&bytes);
            let _ = decode(&mut BytesMut::from(&bytes[..]));
        }
    }
}
