//! Clients that have logged in and send what they may not: closed, nothing stored, nobody else
//! disturbed. The edge and the hub itself are held to the same.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::mqtt::LogIn;
use crate::support::wait_for;
use crate::support::world::{EDGE, World};
use crate::witness::{SOON, Witness, publish_stored, taken};

/// Largest body of a message.
const LARGEST: usize = 262_144;
/// Longest topic that can be sent on (architecture 4.1).
const LONGEST: usize = 63_487;

/// All that the hub holds of a sender.
fn at_hub(world: &World, sender: &str) -> Vec<Value> {
    let (items, _) = world.hub.service.telemetry(0).unwrap();
    let is_of = |item: &Value| {
        let module = item["moduleId"].as_str().map(|it| format!("/{it}")).unwrap_or_default();
        format!("{}{module}", item["deviceId"].as_str().unwrap()) == sender
    };
    items.into_iter().filter(is_of).collect()
}

/// A leaf device and a module of the edge, and two that do no wrong.
struct Scene {
    world: World,
    witnesses: Vec<Witness>,
    /// Who logs in, to the edge or to the hub.
    leaf: LogIn,
    module: LogIn,
    direct: LogIn,
}

impl Scene {
    fn start() -> Self {
        let routes = json!({
            "up": "FROM /messages/* INTO $upstream",
            "in": r#"FROM /messages/* WHERE IS_DEFINED(in) INTO BrokeredEndpoint("/modules/reader/inputs/in")"#,
        });
        let world = World::start(&routes);
        let (leaf, module) = (world.leaf("leaf"), world.module("module"));
        let key = world.hub.service.make_leaf("direct", "");
        let direct = world.hub.log_in("direct", &key);
        let other = world.hub.service.make_leaf("direct-witness", "");
        let witnesses = [
            world.leaf("leaf-witness"),
            world.module("module-witness"),
            world.hub.log_in("direct-witness", &other),
        ];
        let witnesses = witnesses.iter().map(Witness::start).collect();
        Scene { world, witnesses, leaf, module, direct }
    }

    /// `act` ends its own connection and nothing else, and nothing of it is taken.
    #[track_caller]
    fn closes(
        &mut self,
        who: &LogIn,
        what: &str,
        act: impl FnOnce(&mut crate::support::mqtt::Mqtt),
    ) {
        let before = taken(&self.world);
        let log = self.log(who).len();
        let mut mqtt = who.connect().expect(what);
        act(&mut mqtt);
        let end = wait_for(&format!("the end after {what}"), SOON, || {
            match mqtt.read(Duration::from_millis(50)) {
                Ok(None) => None,
                end => Some(end),
            }
        });
        assert!(end.is_err(), "{} is closed for {what}, and gets no {end:?}", who.id);
        let log = wait_for("the reason in the log", SOON, || {
            let log = self.log(who)[log..].to_owned();
            log.contains("connection closed").then_some(log)
        });
        assert!(log.contains(&who.id), "{log}");
        self.witnesses.iter_mut().for_each(Witness::is_served);
        // Two of the witnesses are at the edge.
        assert_eq!(taken(&self.world), before + 2, "{what} of {} is taken in", who.id);
        let held = at_hub(&self.world, &who.id);
        assert!(held.is_empty(), "{what} came to the hub: {held:?}");
    }

    fn log(&self, who: &LogIn) -> String {
        if who.id == "direct" {
            self.world.hub.program.log_since_start()
        } else {
            self.world.edge.log_since_start()
        }
    }

    /// Each of those that may try it.
    fn everybody(&self) -> [LogIn; 3] {
        [self.leaf.clone(), self.module.clone(), self.direct.clone()]
    }
}

#[test]
fn a_message_in_the_name_of_another_closes_and_is_not_stored() {
    let mut scene = Scene::start();
    let edge_hub = format!("devices/{EDGE}/modules/$edgeHub/messages/events/");
    let others = [
        "devices/leaf-witness/messages/events/".to_owned(),
        format!("devices/{EDGE}/messages/events/"),
        format!("devices/{EDGE}/modules/module-witness/messages/events/%24.on=out"),
        "devices/direct-witness/messages/events/".to_owned(),
        edge_hub,
        // No topic of IoT Hub's at all.
        "some/topic".to_owned(),
        "$iothub/twin/PATCH/properties/desired/?$rid=1".to_owned(),
        // Only a link may speak for others.
        "$iothub/devices/leaf-witness/twin/PATCH/properties/reported/?$rid=1".to_owned(),
    ];
    for who in scene.everybody() {
        for topic in &others {
            scene.closes(&who, topic, |mqtt| mqtt.publish(topic, 1, false, b"{}").unwrap());
        }
    }
    for sender in ["leaf-witness", "edge/module-witness", "direct-witness"] {
        for item in at_hub(&scene.world, sender) {
            assert_eq!(item["body"], STANDARD.encode("witness"), "{sender}: {item}");
        }
    }
    let twin = scene.world.hub.service.call("GET", "/twins/leaf-witness", None);
    assert_eq!(twin["properties"]["reported"]["$version"], 1, "{twin}");
}

#[test]
fn a_filter_of_another_closes_and_gets_nothing() {
    let mut scene = Scene::start();
    let others = [
        "devices/leaf-witness/messages/devicebound/#".to_owned(),
        "devices/direct-witness/messages/devicebound/#".to_owned(),
        "devices/+/messages/devicebound/#".to_owned(),
        format!("devices/{EDGE}/modules/module-witness/inputs/#"),
        format!("devices/{EDGE}/modules/+/inputs/#"),
    ];
    for who in scene.everybody() {
        for filter in &others {
            // A subscription that is granted does not close: the reading sees its SUBACK.
            scene.closes(&who, filter, |mqtt| drop(mqtt.subscribe(filter)));
        }
    }
    for filter in ["#", "+/+/+/+/#", "$iothub/devices/#", "$SYS/#"] {
        for who in scene.everybody() {
            let mut mqtt = who.connect().unwrap();
            assert_eq!(mqtt.subscribe(filter), Ok(false), "{filter}: no such thing, said so");
        }
    }
}

#[test]
fn a_body_of_262_144_bytes_is_taken_and_one_byte_more_closes() {
    let mut scene = Scene::start();
    for who in scene.everybody() {
        let topic = who.telemetry_topic("out");
        for size in [LARGEST + 1, LARGEST + 100_000, 3_000_000] {
            let what = format!("a body of {size} bytes");
            // What is closed on may not be written to its end.
            scene.closes(&who, &what, |mqtt| {
                drop(mqtt.publish(&topic, 1, false, &vec![b'x'; size]))
            });
        }
        let mut mqtt = who.connect().unwrap();
        publish_stored(&mut mqtt, &topic, 7, &vec![b'x'; LARGEST]);
        let item = wait_for("it at the hub", SOON, || at_hub(&scene.world, &who.id).pop());
        let body = STANDARD.decode(item["body"].as_str().unwrap()).unwrap();
        assert_eq!(body.len(), LARGEST, "whole");
    }
}

#[test]
fn a_topic_that_could_not_be_sent_on_closes_and_the_longest_that_can_arrives() {
    let mut scene = Scene::start();
    let mut reader = scene.world.module("reader").connect().unwrap();
    assert_eq!(reader.subscribe("devices/edge/modules/reader/inputs/#"), Ok(true));
    for who in scene.everybody() {
        let start = format!(
            "{}{}in=",
            who.telemetry_topic("out"),
            if who.id.contains('/') { "&" } else { "" }
        );
        let filled =
            |with: &str, length: usize| format!("{start}{}", with.repeat(length - start.len()));
        scene.closes(&who, "a long topic", |mqtt| {
            mqtt.publish(&filled("x", LONGEST + 1), 1, false, b"").unwrap();
        });
        // Short enough as it came, but not as it is sent on.
        scene.closes(&who, "a topic that grows", |mqtt| {
            mqtt.publish(&filled("{", 25_000), 1, false, b"").unwrap();
        });
        let longest = filled("x", LONGEST);
        let mut mqtt = who.connect().unwrap();
        publish_stored(&mut mqtt, &longest, 7, b"longest");
        let value = longest.len() - start.len();
        let item = wait_for("it at the hub", SOON, || at_hub(&scene.world, &who.id).pop());
        assert_eq!(item["applicationProperties"]["in"].as_str().map(str::len), Some(value));
        if who.id == "direct" {
            continue; // it is not behind the edge
        }
        use rumqttc::mqttbytes::v4::Packet::Publish;
        let Some(Publish(publish)) = reader.read(SOON).unwrap() else { panic!("no message") };
        assert!(publish.topic.contains(&"x".repeat(value)), "its properties are whole");
        reader.ack(publish.pkid).unwrap();
    }
}
