//! PUBLISH and PUBACK by hand: nearly all packets are of these two kinds, and their bodies are not
//! to be copied. A test holds them against rumqttc's.
//!
//! next: `codec.rs`

use bytes::{Buf, BufMut, BytesMut};

use super::{BadPacket, Frame};
use crate::domain::packet::{Publish, QoS};

const PUBACK: u8 = 0x40;

/// Takes a whole PUBLISH off the front of `bytes`, as `frame` says, with a body of `most` bytes at
/// most, which shares their memory.
pub(super) fn take_publish(
    bytes: &mut BytesMut,
    frame: Frame,
    most: usize,
) -> Result<Publish, BadPacket> {
    let flags = bytes[0];
    let mut packet = bytes.split_to(frame.length);
    packet.advance(frame.header);
    let malformed = |why: &str| BadPacket::Malformed(why.into());
    let qos = match flags >> 1 & 3 {
        0 => QoS::AtMostOnce,
        1 => QoS::AtLeastOnce,
        2 => QoS::ExactlyOnce,
        _ => return Err(malformed("PUBLISH of QoS 3")),
    };
    let length = packet.try_get_u16().map_err(|_| malformed("PUBLISH without a topic"))?;
    if packet.len() < usize::from(length) {
        return Err(malformed("PUBLISH ends within its topic"));
    }
    let topic = str::from_utf8(&packet[..length.into()]);
    let topic = topic.map_err(|_| malformed("topic name that is not UTF-8"))?;
    if topic.is_empty() || topic.contains('\0') {
        return Err(malformed("topic name that is empty, or has a NUL"));
    }
    let topic = topic.to_owned();
    packet.advance(length.into());
    let id = match qos {
        QoS::AtMostOnce => 0,
        _ => packet.try_get_u16().map_err(|_| malformed("PUBLISH without a packet id"))?,
    };
    if qos != QoS::AtMostOnce && id == 0 {
        return Err(malformed("packet id 0"));
    }
    if packet.len() > most {
        return Err(BadPacket::TooLarge(packet.len()));
    }
    let (dup, retain, payload) = (flags & 8 != 0, flags & 1 != 0, packet.freeze());
    Ok(Publish { dup, qos, retain, topic, id, payload })
}

/// Takes a whole PUBACK off the front of `bytes`, if that is what is there.
pub(super) fn take_puback(bytes: &mut BytesMut) -> Option<u16> {
    let [PUBACK, 2, high, low] = *bytes.first_chunk()? else { return None };
    bytes.advance(4);
    Some(u16::from_be_bytes([high, low]))
}

/// Appends a PUBLISH.
pub(super) fn put_publish(publish: &Publish, bytes: &mut BytesMut) -> Result<(), BadPacket> {
    let Publish { dup, qos, retain, topic, id, payload } = publish;
    let has_id = *qos != QoS::AtMostOnce;
    if has_id && *id == 0 {
        return Err(BadPacket::Malformed("packet id 0".into()));
    }
    let length = u16::try_from(topic.len())
        .map_err(|_| BadPacket::Malformed("topic of more than 65535 bytes".into()))?;
    let remaining = 2 + topic.len() + 2 * usize::from(has_id) + payload.len();
    if remaining > 268_435_455 {
        return Err(BadPacket::TooLarge(remaining));
    }
    bytes.reserve(5 + remaining);
    let qos = match qos {
        QoS::AtMostOnce => 0,
        QoS::AtLeastOnce => 2,
        QoS::ExactlyOnce => 4,
    };
    bytes.put_u8(0x30 | u8::from(*dup) << 3 | qos | u8::from(*retain));
    put_length(remaining, bytes);
    bytes.put_u16(length);
    bytes.put_slice(topic.as_bytes());
    if has_id {
        bytes.put_u16(*id);
    }
    bytes.put_slice(payload);
    Ok(())
}

/// Appends a PUBACK.
pub(super) fn put_puback(id: u16, bytes: &mut BytesMut) {
    let [high, low] = id.to_be_bytes();
    bytes.extend_from_slice(&[PUBACK, 2, high, low]);
}

fn put_length(mut length: usize, bytes: &mut BytesMut) {
    while length > 0x7f {
        bytes.put_u8(0x80 | (length & 0x7f) as u8);
        length >>= 7;
    }
    bytes.put_u8(length as u8);
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use rumqttc::mqttbytes;
    use rumqttc::mqttbytes::v4;

    use super::super::{decode, encode};
    use super::*;
    use crate::domain::packet::{ClientPacket, ServerPacket};

    /// As rumqttc reads it; what the domain forbids is left out.
    fn theirs(bytes: &[u8]) -> Option<Publish> {
        let read = v4::Packet::read(&mut BytesMut::from(bytes), usize::MAX);
        let Ok(v4::Packet::Publish(read)) = read else { return None };
        if read.topic.is_empty() || read.topic.contains(['+', '#', '\0']) {
            return None;
        }
        let qos = match read.qos {
            mqttbytes::QoS::AtMostOnce => QoS::AtMostOnce,
            mqttbytes::QoS::AtLeastOnce => QoS::AtLeastOnce,
            mqttbytes::QoS::ExactlyOnce => QoS::ExactlyOnce,
        };
        let v4::Publish { dup, retain, topic, pkid, payload, .. } = read;
        Some(Publish { dup, qos, retain, topic, id: pkid, payload })
    }

    proptest! {
        #[test]
        fn any_bytes_are_the_same_publish_as_for_rumqttc_or_none_for_both(
            flags in 0..16u8,
            body in prop::collection::vec(prop_oneof![Just(0), Just(3), any::<u8>()], 0..200),
        ) {
            let mut bytes = BytesMut::from(&[0x30 | flags][..]);
            put_length(body.len(), &mut bytes);
            bytes.extend_from_slice(&body);
            let (theirs, whole) = (theirs(&bytes), bytes.clone());
            let ours = match decode(&mut bytes) {
                Ok(Some(ClientPacket::Publish(ours))) => Some(ours),
                _ => None,
            };
            prop_assert_eq!(ours, theirs, "{:?}", whole);
        }

        #[test]
        fn what_is_written_rumqttc_reads(
            (dup, retain, qos) in (any::<bool>(), any::<bool>(), 0..3usize),
            topic in "[a-zü/]{1,300}",
            id in 1..=u16::MAX,
            body in prop::collection::vec(any::<u8>(), 0..20_000),
        ) {
            let qos = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][qos];
            let id = if qos == QoS::AtMostOnce { 0 } else { id };
            let publish = Publish { dup, qos, retain, topic, id, payload: Bytes::from(body) };
            let mut bytes = BytesMut::new();
            encode(&ServerPacket::Publish(publish.clone()), &mut bytes).unwrap();
            prop_assert_eq!(theirs(&bytes), Some(publish));
        }
    }

    #[test]
    fn a_puback_is_four_bytes_both_ways() {
        let mut bytes = BytesMut::new();
        put_puback(0x1234, &mut bytes);
        let mut theirs = BytesMut::new();
        v4::PubAck::new(0x1234).write(&mut theirs).unwrap();
        assert_eq!(bytes, theirs);
        bytes.extend_from_slice(&[0xC0, 0]);
        assert_eq!(take_puback(&mut bytes), Some(0x1234));
        assert_eq!((take_puback(&mut bytes), bytes.len()), (None, 2));
    }
}
