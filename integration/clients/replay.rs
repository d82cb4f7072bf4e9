//! One client that sends what it is told to, packet by packet, and where it does so: as a device
//! and a module of the hub, and of the edge below it.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::BytesMut;
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{
    ConnAck, Connect, ConnectReturnCode, Disconnect, LastWill, Login, Packet, PubAck, Publish,
    Subscribe, SubscribeFilter, SubscribeReasonCode, Unsubscribe,
};
use serde_json::{Value, json};

use crate::support::mqtt::{LogIn, Mqtt};
use crate::support::world::{EDGE, World};

const SOON: Duration = Duration::from_secs(10);

/// How a client introduces itself.
pub struct Style {
    /// What follows `{hub}/{id}/` in its user name.
    pub user: &'static str,
    pub keep_alive: u16,
}

/// A client on its connection.
pub struct Replay {
    mqtt: Mqtt,
    kept: VecDeque<Packet>,
}

fn qos(level: u8) -> QoS {
    if level == 0 { QoS::AtMostOnce } else { QoS::AtLeastOnce }
}

impl Replay {
    /// CONNECT with a session that is kept; answers whether there was one.
    #[track_caller]
    pub fn connect(style: &Style, who: &LogIn, will: Option<(&str, &str)>) -> (Self, bool) {
        let mut connect = Connect::new(&who.id);
        (connect.clean_session, connect.keep_alive) = (false, style.keep_alive);
        let user = format!("{}/{}/{}", who.hub, who.id, style.user);
        connect.login = Some(Login::new(user, who.token()));
        connect.last_will =
            will.map(|(topic, body)| LastWill::new(topic, body, QoS::AtLeastOnce, false));
        let mut bytes = BytesMut::new();
        connect.write(&mut bytes).unwrap();
        let mqtt = Mqtt::open(who.address).unwrap();
        let mut replay = Replay { mqtt, kept: VecDeque::new() };
        replay.mqtt.write(&bytes).unwrap();
        match replay.wait(|packet| matches!(packet, Packet::ConnAck(_))) {
            Packet::ConnAck(ConnAck { session_present, code: ConnectReturnCode::Success }) => {
                (replay, session_present)
            }
            other => panic!("{other:?}"),
        }
    }

    /// One SUBSCRIBE; the granted levels, in order.
    #[track_caller]
    pub fn subscribe(&mut self, id: u16, filters: &[(&str, u8)]) -> Vec<u8> {
        let filters = filters
            .iter()
            .map(|(path, level)| SubscribeFilter { path: (*path).to_owned(), qos: qos(*level) });
        let packet = Subscribe { pkid: id, filters: filters.collect() };
        self.send(|bytes| packet.write(bytes));
        let answer = self.wait(|packet| matches!(packet, Packet::SubAck(ack) if ack.pkid == id));
        let Packet::SubAck(ack) = answer else { unreachable!("waited for") };
        let code = |code: &SubscribeReasonCode| match code {
            SubscribeReasonCode::Success(level) => *level as u8,
            SubscribeReasonCode::Failure => 0x80,
        };
        ack.return_codes.iter().map(code).collect()
    }

    #[track_caller]
    pub fn unsubscribe(&mut self, id: u16, filter: &str) {
        let packet = Unsubscribe { pkid: id, topics: vec![filter.to_owned()] };
        self.send(|bytes| packet.write(bytes));
        self.wait(|packet| matches!(packet, Packet::UnsubAck(ack) if ack.pkid == id));
    }

    #[track_caller]
    pub fn publish(&mut self, topic: &str, level: u8, id: u16, dup: bool, body: &[u8]) {
        let mut packet = Publish::new(topic, qos(level), body);
        (packet.pkid, packet.dup) = (id, dup);
        self.send(|bytes| packet.write(bytes));
    }

    /// The next PUBACK is of this packet: clients that match them in order close on any other.
    #[track_caller]
    pub fn acked(&mut self, id: u16) {
        let packet = self.wait(|packet| matches!(packet, Packet::PubAck(_)));
        assert!(matches!(&packet, Packet::PubAck(ack) if ack.pkid == id), "{packet:?}, not {id}");
    }

    /// The next PUBLISH on a topic that begins so; acknowledged if it asks for that.
    #[track_caller]
    pub fn receive(&mut self, prefix: &str) -> Publish {
        let is_it =
            |packet: &Packet| matches!(packet, Packet::Publish(it) if it.topic.starts_with(prefix));
        let Packet::Publish(publish) = self.wait(is_it) else { unreachable!("waited for") };
        if publish.qos == QoS::AtLeastOnce {
            let ack = PubAck::new(publish.pkid);
            self.send(|bytes| ack.write(bytes));
        }
        publish
    }

    /// A GET or a patch of the twin: status, what follows `$rid` in the topic, body.
    #[track_caller]
    pub fn ask_twin(&mut self, topic: &str, body: &str) -> (u16, Value) {
        self.publish(topic, 0, 0, false, body.as_bytes());
        let answer = self.receive("$iothub/twin/res/");
        let rest = answer.topic.strip_prefix("$iothub/twin/res/").unwrap();
        let (status, query) = rest.split_once('/').unwrap();
        let rid = |topic: &str| {
            let (_, rid) = topic.split_once("?$rid=").expect("it has one");
            rid.split_once('&').map_or(rid.to_owned(), |(rid, _)| rid.to_owned())
        };
        assert_eq!(rid(query), rid(topic), "{}", answer.topic);
        assert!(query.starts_with("?$rid="), "`$rid` comes first: {}", answer.topic);
        let body = if answer.payload.is_empty() { b"null" } else { answer.payload.as_ref() };
        (status.parse().unwrap(), serde_json::from_slice(body).unwrap())
    }

    /// Takes a call of the method `name`; its `$rid`, found as all three find it: the fifth level
    /// of the topic behind `?$rid=`.
    #[track_caller]
    pub fn called(&mut self, name: &str) -> (String, Value) {
        let call = self.receive("$iothub/methods/POST/");
        let levels: Vec<&str> = call.topic.split('/').collect();
        assert_eq!((levels.len(), levels[3]), (5, name), "{}", call.topic);
        let rid = levels[4].strip_prefix("?$rid=").expect("it has one");
        (rid.to_owned(), serde_json::from_slice(&call.payload).unwrap())
    }

    pub fn disconnect(mut self) {
        self.send(|bytes| Disconnect.write(bytes));
        self.mqtt.is_closed_within(SOON);
    }

    #[track_caller]
    fn send(
        &mut self,
        write: impl FnOnce(&mut BytesMut) -> Result<usize, rumqttc::mqttbytes::Error>,
    ) {
        let mut bytes = BytesMut::new();
        write(&mut bytes).unwrap();
        self.mqtt.write(&bytes).unwrap();
    }

    /// The next packet that is wanted; others are kept in order.
    #[track_caller]
    fn wait(&mut self, is_wanted: impl Fn(&Packet) -> bool) -> Packet {
        if let Some(at) = self.kept.iter().position(&is_wanted) {
            return self.kept.remove(at).unwrap();
        }
        loop {
            match self.mqtt.read(SOON) {
                Ok(Some(packet)) if is_wanted(&packet) => return packet,
                Ok(Some(packet)) => self.kept.push_back(packet),
                other => panic!("{other:?}; came before: {:?}", self.kept),
            }
        }
    }
}

/// A hub, an edge below it with a route from each of its modules to `reader`, and who logs in.
pub struct Scene {
    pub world: World,
    /// Devices of the hub and of the edge.
    pub devices: Vec<LogIn>,
    /// The receiving module of the edge, and one that sends.
    pub reader: LogIn,
    pub writer: LogIn,
}

impl Scene {
    pub fn start() -> Self {
        let input = r#"FROM /messages/modules/writer/outputs/out INTO BrokeredEndpoint("/modules/reader/inputs/in")"#;
        let world = World::start(&json!({ "up": "FROM /messages/* INTO $upstream", "in": input }));
        let key = world.hub.service.make_leaf("direct", "");
        let devices = vec![world.hub.log_in("direct", &key), world.leaf("leaf")];
        let (reader, writer) = (world.module("reader"), world.module("writer"));
        Scene { world, devices, reader, writer }
    }

    /// Calls a method of `who` and lets the client answer meanwhile; what the caller gets.
    #[track_caller]
    pub fn call(&self, who: &LogIn, name: &str, answer: impl FnOnce()) -> Value {
        let target = match who.id.split_once('/') {
            Some((device, module)) => format!("/twins/{device}/modules/{module}/methods"),
            None => format!("/twins/{}/methods", who.id),
        };
        let body =
            json!({ "methodName": name, "payload": { "n": 1 }, "connectTimeoutInSeconds": 10 });
        let service = self.world.hub.service.clone();
        let call = std::thread::spawn(move || service.try_call("POST", &target, Some(&body)));
        answer();
        let (status, body) = call.join().unwrap().unwrap();
        assert_eq!(status, 200, "{body}");
        body
    }

    /// A cloud-to-device message with properties.
    #[track_caller]
    pub fn send_to(&self, device: &str, headers: &[(&str, &str)], body: &str) {
        let target = format!("/devices/{device}/messages/devicebound");
        let status = self.world.hub.service.post(&target, headers, body.as_bytes());
        assert_eq!(status, 204);
    }

    /// Changes desired properties.
    pub fn want(&self, who: &LogIn, desired: &Value) {
        let target = match who.id.split_once('/') {
            Some((device, module)) => format!("/twins/{device}/modules/{module}"),
            None => format!("/twins/{}", who.id),
        };
        let patch = json!({ "properties": { "desired": desired } });
        self.world.hub.service.call("PATCH", &target, Some(&patch));
    }

    /// Telemetry of a sender, once there are `n` messages of it.
    #[track_caller]
    pub fn telemetry(&self, who: &LogIn, n: usize) -> Vec<Value> {
        let (device, module) = match who.id.split_once('/') {
            Some((device, module)) => (device, json!(module)),
            None => (who.id.as_str(), Value::Null),
        };
        let is_of = |item: &Value| item["deviceId"] == device && item["moduleId"] == module;
        crate::support::wait_for("telemetry", SOON * 2, || {
            let (items, _) = self.world.hub.service.telemetry(0)?;
            let of: Vec<Value> = items.into_iter().filter(is_of).collect();
            (of.len() >= n).then_some(of)
        })
    }
}

/// The bag of a topic, as .NET, C and Java find it: one level, decoded pair by pair.
pub fn pairs(bag: &str) -> Vec<(String, String)> {
    let decode =
        |text: &str| percent_encoding::percent_decode_str(text).decode_utf8().unwrap().into_owned();
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').expect("a pair");
        (decode(name), decode(value))
    };
    bag.split('&').map(pair).collect()
}

/// The value of one property.
#[track_caller]
pub fn value(bag: &str, name: &str) -> String {
    let pairs = pairs(bag);
    let found = pairs.iter().find(|(key, _)| key == name);
    found.unwrap_or_else(|| panic!("no {name} in {pairs:?}")).1.clone()
}

/// The prefix of the topics of a module of the edge.
pub fn module_topic(module: &str) -> String {
    format!("devices/{EDGE}/modules/{module}")
}
