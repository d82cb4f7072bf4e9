//! A client as the SDKs are: it subscribes and reads once, sends again with DUP what was not
//! answered when it comes back, and never subscribes again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rumqttc::mqttbytes::v4::Packet;
use serde_json::{Map, Value, json};

use crate::support::mqtt::{LogIn, Mqtt};
use crate::support::rest::Service;
use crate::support::wait_for;

const PATIENCE: Duration = Duration::from_secs(60);

fn merge(target: &mut Value, patch: &Value) {
    edge_runtime::domain::twin::merge(target, patch);
}

/// See the module documentation.
pub struct Client {
    log_in: LogIn,
    mqtt: Option<Mqtt>,
    next: u16,
    /// By packet id, topic and body.
    waiting: BTreeMap<u16, (String, Vec<u8>)>,
    sent: Vec<Value>,
    answered: usize,
    /// With `$version`.
    pub desired: Value,
    /// Patches of desired properties.
    pub told: usize,
    twin: Option<Value>,
}

impl Client {
    pub fn start(log_in: LogIn) -> Self {
        let mqtt = connect(&log_in);
        let mut client = Client {
            log_in,
            mqtt: Some(mqtt),
            next: 0,
            waiting: BTreeMap::new(),
            sent: Vec::new(),
            answered: 0,
            desired: Value::Null,
            told: 0,
            twin: None,
        };
        let mqtt = client.mqtt.as_mut().unwrap();
        for filter in ["$iothub/twin/res/#", "$iothub/twin/PATCH/properties/desired/#"] {
            assert!(mqtt.subscribe(filter).unwrap());
        }
        client.desired = client.read()["desired"].clone();
        client
    }

    fn send(&mut self, topic: String, body: Vec<u8>) {
        self.next += 1;
        let id = self.next;
        if let Some(mqtt) = &mut self.mqtt {
            let _ = mqtt.publish(&topic, id, false, &body); // again when it is back
        }
        self.waiting.insert(id, (topic, body));
    }

    pub fn report(&mut self, patch: &Value) {
        let topic = format!("$iothub/twin/PATCH/properties/reported/?$rid={}", self.next + 1);
        self.sent.push(patch.clone());
        self.send(topic, patch.to_string().into_bytes());
    }

    /// The whole twin.
    pub fn read(&mut self) -> Value {
        self.twin = None;
        let topic = format!("$iothub/twin/GET/?$rid={}", self.next + 1);
        self.send(topic, b" ".to_vec());
        wait_for("the twin", PATIENCE, || {
            self.turn(Duration::from_millis(20));
            self.twin.take()
        })
    }

    /// What it has reported, all in all.
    pub fn reported(&self) -> Value {
        let mut whole = Value::Object(Map::new());
        self.sent.iter().for_each(|patch| merge(&mut whole, patch));
        whole
    }

    /// Requests that are not acknowledged.
    pub fn waits(&self) -> usize {
        self.waiting.len()
    }

    /// Patches that were answered 204.
    pub fn answered(&self) -> usize {
        self.answered
    }

    /// Takes what comes for a while; comes back if it was cut off.
    pub fn turn(&mut self, lasts: Duration) {
        let until = Instant::now() + lasts;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let Some(mqtt) = &mut self.mqtt else {
                self.mqtt = self.log_in.connect().ok();
                if let Some(mqtt) = &mut self.mqtt {
                    for (id, (topic, body)) in &self.waiting {
                        let _ = mqtt.publish(topic, *id, true, body);
                    }
                } else if left.is_zero() {
                    return;
                } else {
                    std::thread::sleep(Duration::from_millis(20));
                }
                continue;
            };
            match mqtt.read(left) {
                Ok(Some(packet)) => self.take(packet),
                Ok(None) => return,
                Err(_) => self.mqtt = None,
            }
        }
    }

    fn take(&mut self, packet: Packet) {
        match packet {
            Packet::PubAck(ack) => drop(self.waiting.remove(&ack.pkid)),
            Packet::Publish(publish) => {
                if publish.pkid != 0 {
                    let _ = self.mqtt.as_mut().unwrap().ack(publish.pkid);
                }
                let body: Value = serde_json::from_slice(&publish.payload).unwrap_or_default();
                if publish.topic.starts_with("$iothub/twin/res/200/") {
                    self.twin = Some(body);
                } else if publish.topic.starts_with("$iothub/twin/res/204/") {
                    self.answered += 1;
                } else if publish.topic.starts_with("$iothub/twin/PATCH/properties/desired/") {
                    self.told += 1;
                    merge(&mut self.desired, &body);
                } else {
                    panic!("{}: {}", self.log_in.id, publish.topic);
                }
            }
            _ => {}
        }
    }
}

fn connect(log_in: &LogIn) -> Mqtt {
    wait_for("to be let in", PATIENCE, || log_in.connect().ok())
}

/// A device that takes cloud-to-device messages.
pub struct Devicebound {
    mqtt: Mqtt,
    unacked: Vec<u16>,
}

/// Logs in, with its session; subscribes.
pub fn devicebound(log_in: &LogIn) -> Devicebound {
    let mut mqtt = connect(log_in);
    assert!(mqtt.subscribe_quietly(&format!("devices/{}/messages/devicebound/#", log_in.id)));
    Devicebound { mqtt, unacked: Vec::new() }
}

impl Devicebound {
    /// Body, topic.
    pub fn next(&mut self, is_acked: bool) -> (String, String) {
        let (body, topic, _) = self.publish(is_acked, PATIENCE).expect("a message");
        (body, topic)
    }

    fn publish(&mut self, is_acked: bool, within: Duration) -> Option<(String, String, bool)> {
        let until = Instant::now() + within;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.mqtt.read(left).unwrap()? {
                Packet::Publish(publish) => {
                    assert_ne!(publish.pkid, 0, "QoS 1 was asked for");
                    if is_acked {
                        self.mqtt.ack(publish.pkid).unwrap();
                    } else {
                        self.unacked.push(publish.pkid);
                    }
                    let body = String::from_utf8(publish.payload.to_vec()).unwrap();
                    return Some((body, publish.topic, publish.dup));
                }
                _ => continue,
            }
        }
    }

    /// So many, and no more for a while.
    pub fn take(&mut self, count: usize, is_acked: bool) -> Vec<String> {
        self.take_with_dup(count, is_acked).0
    }

    pub fn take_with_dup(&mut self, count: usize, is_acked: bool) -> (Vec<String>, Vec<bool>) {
        let mut taken: Vec<(String, bool)> = Vec::new();
        while taken.len() < count {
            let (body, _, dup) = self.publish(is_acked, PATIENCE).expect("a message");
            taken.push((body, dup));
        }
        if count == 0
            && let Some((body, _, dup)) = self.publish(is_acked, Duration::from_secs(2))
        {
            taken.push((body, dup));
        }
        taken.into_iter().unzip()
    }

    pub fn ack_all(&mut self) {
        for id in self.unacked.drain(..) {
            self.mqtt.ack(id).unwrap();
        }
    }
}

impl Service {
    /// A cloud-to-device message.
    pub fn send(&self, device: &str, headers: &[(&str, &str)], body: &str) {
        let target = format!("/devices/{device}/messages/devicebound");
        self.post_raw(&target, headers, body);
    }

    /// Waits until so many messages wait for a device, or are out.
    #[track_caller]
    pub fn wait_waiting(&self, device: &str, count: u64) {
        wait_for(&format!("{count} messages for {device}"), PATIENCE, || {
            let (_, twin) = self.try_call("GET", &format!("/twins/{device}"), None).ok()?;
            (twin["cloudToDeviceMessageCount"] == json!(count)).then_some(())
        });
    }
}
