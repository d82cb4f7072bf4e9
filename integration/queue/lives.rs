//! The life of a message as `edgectl trace` and `edgectl queue peek` tell it, in each state.

use super::*;

/// One message with a message id, acknowledged.
fn one(mqtt: &mut Mqtt, who: &LogIn, mid: &str) {
    let topic = match who.telemetry_topic("out") {
        topic if topic.ends_with('/') => format!("{topic}%24.mid={mid}"),
        topic => format!("{topic}&%24.mid={mid}"),
    };
    mqtt.publish(&topic, 1, false, mid.as_bytes()).unwrap();
    wait_for("a PUBACK", SOON, || {
        matches!(mqtt.read(Duration::from_millis(200)).unwrap(), Some(Packet::PubAck(_)))
            .then_some(())
    });
}

/// What is told of a message once it is at `state` in its only, or first, queue.
fn at(ctl: &Ctl, id: &str, state: &str) -> Value {
    wait_for(&format!("{id} is {state}"), SOON, || {
        let (status, out, _) = ctl.outcome(&["trace", id, "--output", "json"]);
        let life: Value = serde_json::from_str(&out).unwrap_or_default();
        (status == 0 && life["places"][0]["state"] == state).then_some(life)
    })
}

#[test]
fn a_message_is_traced_through_each_state_by_its_id_and_by_that_of_its_client() {
    let to = |module: &str| format!("INTO BrokeredEndpoint(\"/modules/{module}/inputs/in\")");
    let mut world = World::start(&json!({
        "up": "FROM /messages/* WHERE $connectionDeviceId != 'edge' INTO $upstream",
        "gone": { "route": format!("FROM /messages/modules/a/outputs/out {}", to("gone")) },
        "slow": { "route": format!("FROM /messages/modules/b/outputs/out {}", to("slow")) },
        "late": { "route": format!("FROM /messages/modules/c/outputs/out {}", to("late")),
                  "timeToLiveSecs": 1 },
    }));
    let ctl = Ctl::new(&world.hub, &world.management.0);
    let leaf = world.leaf("leaf");
    let mut mqtt = connect(&leaf);

    // Stored, and its route rests.
    ctl.run(&["route", "pause", "up"]);
    one(&mut mqtt, &leaf, "m1");
    let peeked = ctl.json(&["queue", "peek", "up"]);
    let item = &peeked["items"][0];
    assert_eq!(peeked["items"].as_array().unwrap().len(), 1, "{peeked}");
    assert_eq!((&item["sender"], &item["place"]["state"]), (&"leaf".into(), &"paused".into()));
    assert!(item["body"].is_null() && item["properties"].is_null(), "only when asked for");
    let id = item["id"].as_str().unwrap().to_owned();
    let whole = ctl.json(&["queue", "peek", "up", "--body", "--max", "1"]);
    assert_eq!(whole["items"][0]["body"], "m1");
    assert_eq!(whole["items"][0]["properties"]["$.mid"], "m1");
    let life = ctl.json(&["trace", &id]);
    assert_eq!(life["places"], ctl.json(&["trace", "m1"])["places"]);
    assert_eq!((&life["message_id"], &life["id"]), (&"m1".into(), &id.as_str().into()));
    assert!(life["received"].as_str().unwrap().starts_with("20"), "{life}");
    assert!(ctl.run(&["trace", "m1"]).contains("route         up to $upstream"));

    // Also after a kill; then refused for good.
    world.edge.kill();
    world.edge.again();
    world.edge.wait_ready();
    at(&ctl, "m1", "paused");
    world.hub.service.call("DELETE", "/devices/leaf", None);
    ctl.run(&["route", "resume", "up"]);
    let life = at(&ctl, &id, "dead-lettered");
    assert!(life["places"][0]["why"].as_str().unwrap().starts_with('4'), "{life}");
    assert!(life["places"][0]["handed_out"].as_u64() > Some(0), "{life}");
    assert_eq!(ctl.json(&["dead-letter", "list"])[0]["id"], id.as_str());
    let log = world.edge.log_since_start();
    assert!(log.lines().any(|it| it.contains("dead-lettered") && it.contains(&id)), "{log}");
    ctl.run(&["dead-letter", "drop", "--all", "--yes"]);
    at(&ctl, &id, "discarded");

    // Delivered.
    let other = world.leaf("other");
    let mut mqtt = connect(&other);
    one(&mut mqtt, &other, "m2");
    let life = at(&ctl, "m2", "delivered");
    assert!(life["places"][0]["ended"].as_str().unwrap().starts_with("20"), "{life}");

    // What waits for a module that is gone, and is discarded.
    let (a, b, c) = (world.module("a"), world.module("b"), world.module("c"));
    one(&mut connect(&a), &a, "m3");
    let life = ctl.json(&["trace", "m3"]);
    let mut states: Vec<_> = life["places"].as_array().unwrap().iter().collect();
    states.retain(|place| place["route"] == "gone");
    assert_eq!(states[0]["state"], "waiting", "{life}");
    ctl.run(&["queue", "discard", &format!("{EDGE}/gone"), "--yes"]);
    let life = ctl.json(&["trace", "m3"]);
    let places = life["places"].as_array().unwrap();
    assert!(places.iter().any(|it| it["route"] == "gone" && it["state"] == "discarded"), "{life}");

    // Handed out to a module that does not acknowledge it.
    let slow = world.module("slow");
    let mut module = connect(&slow);
    assert!(module.subscribe(&format!("devices/{EDGE}/modules/slow/inputs/#")).unwrap());
    one(&mut connect(&b), &b, "m4");
    wait_for("it is handed out", SOON, || {
        let life = ctl.json(&["trace", "m4"]);
        let places = life["places"].as_array().unwrap();
        places.iter().any(|it| it["route"] == "slow" && it["state"] == "handed-out").then_some(())
    });

    // Expired.
    one(&mut connect(&c), &c, "m5");
    std::thread::sleep(Duration::from_millis(1_500));
    let late = world.module("late");
    let mut module = connect(&late);
    assert!(module.subscribe(&format!("devices/{EDGE}/modules/late/inputs/#")).unwrap());
    wait_for("it has expired", SOON, || {
        let life = ctl.json(&["trace", "m5"]);
        let places = life["places"].as_array().unwrap();
        places.iter().any(|it| it["route"] == "late" && it["state"] == "expired").then_some(())
    });

    // What nobody knows is said, and what there is.
    let (status, _, error) = ctl.outcome(&["trace", "nothing"]);
    assert!(status == 1 && error.contains("no message nothing"), "{status} {error}");
    let (status, _, error) = ctl.outcome(&["queue", "peek", "lates"]);
    assert!(status == 1 && error.contains("did you mean late?"), "{status} {error}");
}

#[test]
fn a_message_that_no_route_takes_is_told_to_be_unrouted_and_the_last_ends_are_remembered() {
    let settings = [("EDGE_RUNTIME__STORE__TRACE_ENDED", "2")];
    let routes = json!({ "up": "FROM /messages/modules/sensor/outputs/out INTO $upstream" });
    let world = World::start_as(&routes, &[], &settings);
    let ctl = Ctl::new(&world.hub, &world.management.0);
    let leaf = world.leaf("leaf");
    let mut mqtt = connect(&leaf);
    one(&mut mqtt, &leaf, "m1");
    let life = ctl.json(&["trace", "m1"]);
    assert_eq!((&life["is_unrouted"], &life["sender"]), (&true.into(), &"leaf".into()), "{life}");
    assert_eq!(life["places"], json!([]));
    let id = life["id"].as_str().unwrap().to_owned();
    one(&mut mqtt, &leaf, "m2");
    assert_eq!(ctl.json(&["trace", &id])["message_id"], "m1");
    one(&mut mqtt, &leaf, "m3");
    let (status, _, error) = ctl.outcome(&["trace", &id]);
    assert!(status == 1 && error.contains("store.trace_ended"), "{status} {error}");
    assert_eq!(ctl.json(&["trace", "m2"])["is_unrouted"], true);
}
