//! A client that does nothing wrong, and what the edge counts: whether somebody else's bad input
//! disturbed it, or was stored.

use std::time::Duration;

use edge_runtime::protocol::http_client::{ClientRequest, Place};
use rumqttc::mqttbytes::v4::Packet;

use crate::support::mqtt::{LogIn, Mqtt};
use crate::support::rest::ask_now;
use crate::support::world::World;

/// Long: many tests may share two cores.
pub const SOON: Duration = Duration::from_secs(20);

/// Connected once; every message of its is to be acknowledged on that one connection.
pub struct Witness {
    mqtt: Mqtt,
    topic: String,
    sent: u16,
}

impl Witness {
    #[track_caller]
    pub fn start(log_in: &LogIn) -> Self {
        let mqtt = log_in.connect().expect("a good client is let in");
        Witness { mqtt, topic: log_in.telemetry_topic("out"), sent: 0 }
    }

    /// Sends a message and waits until it is stored.
    #[track_caller]
    pub fn is_served(&mut self) {
        self.sent += 1;
        publish_stored(&mut self.mqtt, &self.topic, self.sent, b"witness");
    }
}

/// Sends a message that is to be taken.
#[track_caller]
pub fn publish_stored(mqtt: &mut Mqtt, topic: &str, id: u16, body: &[u8]) {
    mqtt.publish(topic, id, false, body).expect("the connection is open");
    let answer = mqtt.read(SOON).expect("the connection is open");
    assert!(matches!(&answer, Some(Packet::PubAck(ack)) if ack.pkid == id), "{answer:?}");
}

/// A figure of the metrics endpoint: `edge_runtime_{name}`, without labels.
#[track_caller]
pub fn metric(world: &World, name: &str) -> u64 {
    let place = Place::Tcp(world.edge_address.to_string(), 9600);
    let answer = ask_now(&place, ClientRequest::new("GET", "/metrics")).unwrap();
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    let found = lines.find(|(key, _)| key.strip_prefix("edge_runtime_") == Some(name));
    found.unwrap_or_else(|| panic!("no {name} in {text}")).1.parse().unwrap()
}

/// Messages that the edge has taken in, whether a route took them or not.
#[track_caller]
pub fn taken(world: &World) -> u64 {
    metric(world, "messages_received_total")
}
