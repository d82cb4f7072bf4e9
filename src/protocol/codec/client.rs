//! The client's side: what it sends, as bytes, and what it is answered.
//!
//! next: `protocol/link/mod.rs`

use bytes::BytesMut;
use rumqttc::mqttbytes::Error;
use rumqttc::mqttbytes::v4::{self, ConnectReturnCode, SubscribeFilter, SubscribeReasonCode};

use super::{BadPacket, hot, peek_at_most, qos_of, rumqttc_qos};
use crate::domain::packet::{ClientPacket, Connect, ConnectCode, ServerPacket};

/// Appends one packet of a client, which sends no will, to `bytes`.
pub fn encode_request(packet: &ClientPacket, bytes: &mut BytesMut) -> Result<(), BadPacket> {
    let written = match packet {
        ClientPacket::Connect(connect) => connect_of(connect).write(bytes),
        ClientPacket::Publish(publish) => return hot::put_publish(publish, bytes),
        ClientPacket::PubAck(id) => {
            hot::put_puback(*id, bytes);
            Ok(4)
        }
        ClientPacket::Subscribe(id, filters) => {
            let filters = filters.iter();
            let filters =
                filters.map(|(path, qos)| SubscribeFilter::new(path.clone(), rumqttc_qos(*qos)));
            let mut subscribe = v4::Subscribe::new_many(filters);
            subscribe.pkid = *id;
            subscribe.write(bytes)
        }
        ClientPacket::Unsubscribe(id, topics) => {
            v4::Unsubscribe { pkid: *id, topics: topics.clone() }.write(bytes)
        }
        ClientPacket::PingReq => v4::PingReq.write(bytes),
        ClientPacket::Disconnect => v4::Disconnect.write(bytes),
    };
    written.map(drop).map_err(|error| BadPacket::Malformed(error.to_string()))
}

fn connect_of(connect: &Connect) -> v4::Connect {
    let mut packet = v4::Connect::new(connect.client_id.clone());
    (packet.keep_alive, packet.clean_session) = (connect.keep_alive, connect.is_clean);
    if let (Some(user), Some(password)) = (&connect.user_name, &connect.password) {
        packet.set_login(user.clone(), password.clone());
    }
    packet
}

/// Takes one packet of a server, of `most` bytes at most, off the front of `bytes`; `None` until it
/// is complete.
pub fn decode_answer(bytes: &mut BytesMut, most: usize) -> Result<Option<ServerPacket>, BadPacket> {
    if let Some(id) = hot::take_puback(bytes) {
        return Ok(Some(ServerPacket::PubAck(id)));
    }
    let Some(frame) = peek_at_most(bytes, most)? else { return Ok(None) };
    if bytes.len() < frame.length {
        return Ok(None);
    }
    if frame.is_publish {
        return hot::take_publish(bytes, frame, most).map(ServerPacket::Publish).map(Some);
    }
    let packet = match v4::Packet::read(bytes, most) {
        Ok(packet) => packet,
        Err(Error::InsufficientBytes(_)) => return Ok(None),
        Err(error) => return Err(BadPacket::Malformed(error.to_string())),
    };
    Ok(Some(match packet {
        v4::Packet::ConnAck(ack) => ServerPacket::ConnAck(ack.session_present, code_of(ack.code)),
        v4::Packet::SubAck(ack) => {
            let granted = ack.return_codes.into_iter().map(|code| match code {
                SubscribeReasonCode::Success(qos) => Some(qos_of(qos)),
                SubscribeReasonCode::Failure => None,
            });
            ServerPacket::SubAck(ack.pkid, granted.collect())
        }
        v4::Packet::UnsubAck(ack) => ServerPacket::UnsubAck(ack.pkid),
        v4::Packet::PingResp => ServerPacket::PingResp,
        other => {
            return Err(BadPacket::Malformed(format!("a server does not send {other:?}")));
        }
    }))
}

fn code_of(code: ConnectReturnCode) -> ConnectCode {
    match code {
        ConnectReturnCode::Success => ConnectCode::Accepted,
        ConnectReturnCode::RefusedProtocolVersion => ConnectCode::OtherVersion,
        ConnectReturnCode::BadClientId => ConnectCode::BadClientId,
        ConnectReturnCode::ServiceUnavailable => ConnectCode::ServerUnavailable,
        ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized => {
            ConnectCode::NotAuthorized
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::super::{decode, encode};
    use super::*;
    use crate::domain::packet::{Publish, QoS};

    const MOST: usize = 1 << 20;

    fn publish(payload: usize) -> Publish {
        let (topic, payload) = ("a/b".into(), Bytes::from(vec![1; payload]));
        Publish { dup: false, qos: QoS::AtLeastOnce, retain: false, topic, id: 7, payload }
    }

    #[test]
    fn what_a_client_writes_the_servers_side_reads() {
        let connect = Connect {
            client_id: "gw/$edgeHub".into(),
            keep_alive: 10,
            is_clean: true,
            user_name: Some("hub/gw/$edgeHub/?link=1".into()),
            password: Some("token".into()),
            will: None,
        };
        for packet in [
            ClientPacket::Connect(Box::new(connect)),
            ClientPacket::Publish(publish(300)),
            ClientPacket::PubAck(9),
            ClientPacket::Subscribe(3, vec![("$iothub/devices/#".into(), QoS::AtLeastOnce)]),
            ClientPacket::Unsubscribe(4, vec!["a/#".into()]),
            ClientPacket::PingReq,
            ClientPacket::Disconnect,
        ] {
            let mut bytes = BytesMut::new();
            encode_request(&packet, &mut bytes).unwrap();
            assert_eq!(decode(&mut bytes).unwrap(), Some(packet));
            assert!(bytes.is_empty());
        }
    }

    #[test]
    fn what_a_server_writes_the_clients_side_reads_as_soon_as_it_is_whole() {
        for packet in [
            ServerPacket::ConnAck(true, ConnectCode::Accepted),
            ServerPacket::ConnAck(false, ConnectCode::ServerUnavailable),
            ServerPacket::ConnAck(false, ConnectCode::NotAuthorized),
            ServerPacket::Publish(publish(300_000)),
            ServerPacket::Publish(Publish { topic: "m/a+b#c".into(), ..publish(3) }),
            ServerPacket::PubAck(9),
            ServerPacket::SubAck(3, vec![Some(QoS::AtLeastOnce), None]),
            ServerPacket::UnsubAck(4),
            ServerPacket::PingResp,
        ] {
            let mut whole = BytesMut::new();
            encode(&packet, &mut whole).unwrap();
            let part = &whole[..whole.len() - 1];
            assert_eq!(decode_answer(&mut BytesMut::from(part), MOST), Ok(None));
            assert_eq!(decode_answer(&mut whole, MOST).unwrap(), Some(packet));
            assert!(whole.is_empty());
        }
        let mut large = BytesMut::new();
        encode(&ServerPacket::Publish(publish(300_000)), &mut large).unwrap();
        assert!(decode_answer(&mut large, 200_000).is_err(), "above what the caller takes");
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_clients_side_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_answer(&mut BytesMut::from(&bytes[..]), MOST);
        }
    }
}
