//! Two clients exchange messages; what is retained, what outlives a restart, what does not exist
//! while the setting is off.

use rumqttc::mqttbytes::QoS::{AtLeastOnce, AtMostOnce, ExactlyOnce};
use serde_json::json;

use crate::scene::*;
use crate::support::wait_for;
use crate::support::world::World;

#[test]
fn two_clients_exchange_on_any_topic_with_wildcards_and_in_any_script() {
    let world = start(&[]);
    let (mut leaf, mut module) =
        (world.leaf("leaf").connect().unwrap(), world.module("m").connect().unwrap());
    let granted = subscribe(&mut module, &["plant/+/t", "日本/#", "édge/a"], AtLeastOnce);
    assert_eq!(granted, [Some(AtLeastOnce); 3]);
    let granted = subscribe(&mut leaf, &["reply/#"], ExactlyOnce);
    assert_eq!(granted, [Some(AtLeastOnce)], "QoS 2 is not had");

    publish_taken(&mut leaf, "plant/1/t", false, "20");
    assert_eq!(next(&mut module), "plant/1/t=20 1");
    publish(&mut leaf, "plant/2/t", AtMostOnce, false, 0, "21");
    assert_eq!(next(&mut module), "plant/2/t=21 0", "as it was published");
    for topic in ["日本", "日本/温度/室内", "édge/a"] {
        publish_taken(&mut leaf, topic, false, "ü");
        assert_eq!(next(&mut module), format!("{topic}=ü 1"));
    }
    for other in ["plant/1", "plant/1/t/x", "édge", "plant", "x"] {
        publish_taken(&mut leaf, other, false, "nobody");
    }
    nothing_comes(&mut module);
    publish_taken(&mut module, "reply/leaf", false, "back");
    assert_eq!(next(&mut leaf), "reply/leaf=back 1");

    unsubscribe(&mut module, "plant/+/t");
    publish_taken(&mut leaf, "plant/1/t", false, "22");
    nothing_comes(&mut module);
    assert_eq!(metric(&world, "links"), 2);
    assert_eq!((metric(&world, "published_total"), metric(&world, "delivered_total")), (12, 6));
    assert_eq!((metric(&world, "dropped_total"), metric(&world, "denied_total")), (0, 0));
}

#[test]
fn iot_hubs_topics_never_go_there_and_qos_2_closes() {
    let world = start(&[]);
    let (leaf, module) = (world.leaf("leaf"), world.module("m"));
    let at_hub = || world.hub.service.telemetry(0).unwrap().0.len();
    let mut spy = module.connect().unwrap();
    let refused = ["$SYS/#", "$iothub/devices/#", "devices/#", "a+", "#/a", "devices"];
    assert_eq!(subscribe(&mut spy, &refused, AtLeastOnce), [None; 6]);
    assert_eq!(subscribe(&mut spy, &["#", "+/+/+/+"], AtLeastOnce), [Some(AtLeastOnce); 2]);
    let mut mqtt = leaf.connect().unwrap();
    publish_taken(&mut mqtt, "devices/leaf/messages/events/", false, "telemetry");
    nothing_comes(&mut spy);
    wait_for("it at the hub", SOON, || (at_hub() == 1).then_some(()));
    publish_taken(&mut mqtt, "a/b/c/d", false, "local");
    assert_eq!(next(&mut spy), "a/b/c/d=local 1", "once, though two filters have it");
    assert_eq!(at_hub(), 1, "and not to the hub");
    for topic in ["$SYS/x", "devices/other/x", "devices"] {
        let mut mqtt = leaf.connect().unwrap();
        publish(&mut mqtt, topic, AtLeastOnce, false, 1, "x");
        wait_closed(&world, &mut mqtt, "publish to `");
    }
    let mut mqtt = leaf.connect().unwrap();
    publish(&mut mqtt, "a/b", ExactlyOnce, false, 1, "x");
    wait_closed(&world, &mut mqtt, "QoS 2 is not served");
    nothing_comes(&mut spy);
}

#[test]
fn the_last_retained_message_comes_to_whoever_subscribes_later() {
    let world = start(&[("EDGE_RUNTIME__LOCAL_TOPICS__MAX_RETAINED", "3")]);
    let (mut leaf, reader) = (world.leaf("leaf").connect().unwrap(), world.module("m"));
    for (topic, body) in [("é/1", "old"), ("é/1", "new"), ("é/2", "two"), ("x", "x")] {
        publish_taken(&mut leaf, topic, true, body);
    }
    publish_taken(&mut leaf, "too/many", true, "not kept");
    assert_eq!((metric(&world, "retained"), metric(&world, "unretained_total")), (3, 1));
    let mut mqtt = reader.connect().unwrap();
    subscribe(&mut mqtt, &["é/+"], AtLeastOnce);
    assert_eq!(next(&mut mqtt), "é/1=new 1 retained");
    assert_eq!(next(&mut mqtt), "é/2=two 1 retained");
    publish_taken(&mut leaf, "é/1", true, "newer");
    assert_eq!(next(&mut mqtt), "é/1=newer 1", "not retained: it had subscribed before");
    publish_taken(&mut leaf, "é/2", true, "");
    assert_eq!(next(&mut mqtt), "é/2= 1");
    subscribe(&mut mqtt, &["#"], AtMostOnce);
    assert_eq!(next(&mut mqtt), "x=x 0 retained");
    assert_eq!(next(&mut mqtt), "é/1=newer 0 retained");
    drop(mqtt);
    let mut mqtt = reader.connect().unwrap();
    nothing_comes(&mut mqtt); // its subscriptions are not new
}

#[test]
fn subscriptions_outlive_a_restart_and_messages_do_not() {
    let mut world = start(&[]);
    let (leaf, reader) = (world.leaf("leaf"), world.module("m"));
    let mut mqtt = reader.connect().unwrap();
    subscribe(&mut mqtt, &["a/#"], AtLeastOnce);
    publish_taken(&mut leaf.connect().unwrap(), "a/kept", true, "x");
    drop(mqtt);
    world.edge.kill();
    world.edge.again();
    world.edge.wait_ready();
    let mut mqtt = reader.connect().unwrap();
    let mut sender = leaf.connect().unwrap();
    let arrives = || {
        publish_taken(&mut sender, "a/b", false, "after");
        mqtt.read(A_WHILE).unwrap().map(|_| ())
    };
    wait_for("what is published after it, by the subscription of before", SOON, arrives);
    assert_eq!(metric(&world, "retained"), 0);
    let mut fresh = world.leaf("fresh").connect().unwrap();
    subscribe(&mut fresh, &["a/#"], AtLeastOnce);
    nothing_comes(&mut fresh);
}

#[test]
fn it_is_off_unless_the_setting_says_so() {
    let world = World::start(&json!({}));
    deploy(&world, &anything());
    let leaf = world.leaf("leaf");
    let mut mqtt = leaf.connect().unwrap();
    assert_eq!(subscribe(&mut mqtt, &["a/b", "#"], AtLeastOnce), [None; 2]);
    publish(&mut mqtt, "a/b", AtLeastOnce, false, 1, "x");
    wait_closed(&world, &mut mqtt, "IoT Hub has no such topic");
    let status = world.management.get("/status").unwrap();
    assert!(status["local_topics"].is_null(), "{status}");
}
