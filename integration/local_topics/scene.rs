//! A hub, an edge with local topics on, and a policy that is deployed.

use std::time::Duration;

use bytes::BytesMut;
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{Packet, Publish, Subscribe, SubscribeReasonCode, Unsubscribe};
use serde_json::{Value, json};

use crate::support::mqtt::Mqtt;
use crate::support::wait_for;
use crate::support::world::{EDGE, World};

pub const SOON: Duration = Duration::from_secs(10);
/// Long enough for what would come to have come.
pub const A_WHILE: Duration = Duration::from_millis(600);

pub const ON: (&str, &str) = ("EDGE_RUNTIME__LOCAL_TOPICS__ENABLED", "true");

/// Everybody everything.
pub fn anything() -> Value {
    let operations = ["mqtt:connect", "mqtt:publish", "mqtt:subscribe"];
    let rule = json!([{ "operations": operations, "resources": ["#"] }]);
    json!([{ "identities": ["{{iot:identity}}"], "allow": rule }])
}

pub fn start(more: &[(&str, &str)]) -> World {
    let settings = [&[ON], more].concat();
    let world = World::start_as(&json!({}), &[], &settings);
    deploy(&world, &anything());
    world
}

/// Deploys a policy, and waits until it was read.
#[track_caller]
pub fn deploy(world: &World, authorizations: &Value) -> Value {
    let desired = json!({
        "schemaVersion": "1.2",
        "routes": { "up": "FROM /messages/* INTO $upstream" },
        "storeAndForwardConfiguration": { "timeToLiveSecs": 7200 },
        "mqttBroker": { "authorizations": authorizations },
    });
    world.hub.service.apply(EDGE, &json!({ "$edgeHub": desired }));
    let twin = world.hub.service.twin(EDGE, "$edgeHub");
    let version = twin["properties"]["desired"]["$version"].as_u64();
    assert!(version.is_some(), "{twin}");
    let is_read = |reported: &Value| reported["lastDesiredVersion"].as_u64() == version;
    world.wait_reported("$edgeHub", "the policy to be read", is_read)
}

pub fn publish(mqtt: &mut Mqtt, topic: &str, qos: QoS, retain: bool, id: u16, body: &str) {
    let mut packet = Publish::new(topic, qos, body);
    (packet.pkid, packet.retain) = (id, retain);
    let mut bytes = BytesMut::new();
    packet.write(&mut bytes).unwrap();
    mqtt.write(&bytes).unwrap();
}

/// With QoS 1, until it is acknowledged.
#[track_caller]
pub fn publish_taken(mqtt: &mut Mqtt, topic: &str, retain: bool, body: &str) {
    publish(mqtt, topic, QoS::AtLeastOnce, retain, 77, body);
    match mqtt.read(SOON) {
        Ok(Some(Packet::PubAck(ack))) => assert_eq!(ack.pkid, 77),
        other => panic!("no PUBACK for {topic} but {other:?}"),
    }
}

/// Which filters are granted, each with this QoS; a message that comes before is a failure.
#[track_caller]
pub fn subscribe(mqtt: &mut Mqtt, filters: &[&str], qos: QoS) -> Vec<Option<QoS>> {
    let mut packet = Subscribe::new(filters[0], qos);
    packet.pkid = 99;
    filters[1..].iter().for_each(|filter| _ = packet.add((*filter).to_owned(), qos));
    let mut bytes = BytesMut::new();
    packet.write(&mut bytes).unwrap();
    mqtt.write(&bytes).unwrap();
    match mqtt.read(SOON) {
        Ok(Some(Packet::SubAck(ack))) => {
            let granted = ack.return_codes.iter().map(|code| match code {
                SubscribeReasonCode::Success(qos) => Some(*qos),
                SubscribeReasonCode::Failure => None,
            });
            granted.collect()
        }
        other => panic!("no SUBACK for {filters:?} but {other:?}"),
    }
}

#[track_caller]
pub fn unsubscribe(mqtt: &mut Mqtt, filter: &str) {
    let mut packet = Unsubscribe::new(filter);
    packet.pkid = 98;
    let mut bytes = BytesMut::new();
    packet.write(&mut bytes).unwrap();
    mqtt.write(&bytes).unwrap();
    assert!(matches!(mqtt.read(SOON), Ok(Some(Packet::UnsubAck(_)))));
}

/// The next message as `topic=body`, marked with its QoS and whether it was retained; it is
/// acknowledged.
#[track_caller]
pub fn next(mqtt: &mut Mqtt) -> String {
    match mqtt.read(SOON) {
        Ok(Some(Packet::Publish(publish))) => {
            if publish.qos == QoS::AtLeastOnce {
                mqtt.ack(publish.pkid).unwrap();
            }
            let body = String::from_utf8_lossy(&publish.payload);
            let mark = if publish.retain { " retained" } else { "" };
            format!("{}={body} {}{mark}", publish.topic, publish.qos as u8)
        }
        other => panic!("no message but {other:?}"),
    }
}

#[track_caller]
pub fn nothing_comes(mqtt: &mut Mqtt) {
    let came = mqtt.read(A_WHILE);
    assert!(matches!(came, Ok(None)), "{came:?}");
}

#[track_caller]
pub fn wait_closed(world: &World, mqtt: &mut Mqtt, reason: &str) {
    assert!(mqtt.is_closed_within(SOON), "closed: {reason}");
    wait_for("the reason in the log", SOON, || {
        world.edge.log_since_start().contains(reason).then_some(())
    });
}

/// A number of `/metrics`.
pub fn metric(world: &World, name: &str) -> u64 {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect((world.edge_address, 9600)).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let name = format!("edge_runtime_local_topics_{name} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&name));
    line.unwrap_or_else(|| panic!("no {name}in {text}")).parse().unwrap()
}
