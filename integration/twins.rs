//! Twins and cloud-to-device messages from outside: real programs that are killed again and
//! again while a client reports, a service desires and sends. `TWINS_CYCLES` and `TWINS_SEED`
//! choose how often and when. The model beside the code
//! (`src/localhub/twins/tests/model.rs`) goes through far more.
//!
//! next: `twins/client.rs`
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "twins/client.rs"]
mod client;
mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use client::{Client, devicebound};
use support::world::{EDGE, World};
use support::{Random, number, wait_for};

const SETTLE: Duration = Duration::from_secs(60);

fn world() -> World {
    World::start(&json!({ "changes": "FROM /twinChangeNotifications INTO $upstream" }))
}

/// Without `$version` and `$metadata`.
fn plain(properties: &Value) -> Value {
    let map = properties.as_object().cloned().unwrap_or_default();
    Value::Object(map.into_iter().filter(|(name, _)| !name.starts_with('$')).collect())
}

/// Messages of `$edgeHub` at the hub.
fn changes(world: &World) -> usize {
    let (mut next, mut count) = (0, 0);
    while let Some((items, after)) = world.hub.service.telemetry(next) {
        next = after;
        if items.is_empty() {
            break;
        }
        count += items.iter().filter(|item| item["moduleId"] == "$edgeHub").count();
    }
    count
}

#[test]
fn twins_agree_after_kills_of_the_edge_and_of_the_hub() {
    let mut world = world();
    let mut random = Random::new(number("TWINS_SEED", 1));
    let mut client = Client::start(world.leaf("leaf"));
    let cycles = number("TWINS_CYCLES", 6);
    let mut desired = BTreeMap::new();
    for cycle in 0..cycles {
        for n in 0..5 {
            client.report(&json!({ format!("p{}", cycle % 3): { "n": n, "cycle": cycle } }));
            let wanted = json!({ format!("d{}", n % 2): cycle * 10 + n });
            let body = json!({ "properties": { "desired": wanted } });
            // One that is not answered is asked for again: that is what the service does.
            let changed = |service: &support::rest::Service| {
                service.try_call("PATCH", "/twins/leaf", Some(&body)).is_ok_and(|it| it.0 == 200)
            };
            if n == 3 {
                std::thread::sleep(Duration::from_millis(random.below(60)));
                let victim = if cycle % 2 == 0 { &mut world.edge } else { &mut world.hub.program };
                victim.kill();
                victim.again();
                victim.wait_ready();
            }
            wait_for("a change to be answered", SETTLE, || {
                changed(&world.hub.service).then_some(())
            });
            desired.insert(format!("d{}", n % 2), cycle * 10 + n);
            client.turn(Duration::from_millis(random.below(100)));
        }
    }
    let wanted = json!(desired);
    wait_for("hub, edge and client to agree", SETTLE, || {
        client.turn(Duration::from_millis(50));
        let twin = world.hub.service.call("GET", "/twins/leaf", None);
        let properties = &twin["properties"];
        let is_so = client.waits() == 0
            && plain(&properties["desired"]) == wanted
            && plain(&client.desired) == wanted
            && plain(&properties["reported"]) == client.reported();
        is_so.then_some(())
    });
    // The local copy, with the hub away.
    world.hub.program.kill();
    let copy = client.read();
    assert_eq!((plain(&copy["desired"]), plain(&copy["reported"])), (wanted, client.reported()));
    world.hub.program.again();
    world.hub.program.wait_ready();
    let accepted = client.answered();
    wait_for("each change as a message", SETTLE, || (changes(&world) >= accepted).then_some(()));
    println!("twins cycles={cycles} patches={accepted} told={}", client.told);
}

#[test]
fn what_was_reported_is_not_in_the_twin_of_who_bears_the_id_anew() {
    let mut world = world();
    let mut client = Client::start(world.leaf("leaf"));
    client.report(&json!({ "first": 1 }));
    wait_for("the first patch at the hub", SETTLE, || {
        client.turn(Duration::from_millis(50));
        let twin = world.hub.service.call("GET", "/twins/leaf", None);
        (twin["properties"]["reported"]["first"] == 1).then_some(())
    });
    // The edge is away while the device is deleted and made anew, and has a patch for it.
    world.edge.kill();
    world.hub.service.call("DELETE", "/devices/leaf", None);
    let anew = world.leaf("leaf");
    world.edge.again();
    world.edge.wait_ready();
    let mut second = Client::start(anew);
    second.report(&json!({ "second": 2 }));
    wait_for("the second one's patch, and no other", SETTLE, || {
        second.turn(Duration::from_millis(50));
        let twin = world.hub.service.call("GET", "/twins/leaf", None);
        (plain(&twin["properties"]["reported"]) == json!({ "second": 2 })).then_some(())
    });
}

/// A directory as it is.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => copy(&path, &to),
            kind if kind.is_file() => drop(std::fs::copy(&path, &to).unwrap()),
            _ => {} // a socket
        }
    }
}

#[test]
fn a_hub_that_was_set_back_or_made_anew_has_what_this_edge_reports_whole_again() {
    let mut world = world();
    // It has the deployment, and no report of it, when it is copied.
    world.edge.kill();
    let module = json!({ "type": "docker", "status": "running", "restartPolicy": "always",
        "imagePullPolicy": "never", "settings": { "image": "nobody/nothing:1" } });
    let agent = json!({ "schemaVersion": "1.1", "runtime": { "type": "docker", "settings": {} },
        "systemModules": {}, "modules": { "m": module } });
    let hub = json!({ "schemaVersion": "1.1", "routes": { "r": "FROM /messages/* INTO $upstream" },
        "storeAndForwardConfiguration": { "timeToLiveSecs": 60 } });
    let deployment = json!({ "$edgeAgent": agent, "$edgeHub": hub });
    world.hub.service.apply(EDGE, &deployment);
    let desired = |name: &str| {
        let twin = world.hub.service.twin(EDGE, name);
        twin["properties"]["desired"]["$version"].as_u64().unwrap()
    };
    let versions = [desired("$edgeAgent"), desired("$edgeHub")];
    world.hub.program.kill();
    let backup = world.folder.path().join("backup");
    copy(&world.hub.state, &backup);
    world.hub.program.again();
    world.hub.program.wait_ready();
    let before = world.hub.service.twin(EDGE, "$edgeAgent");
    assert!(before["properties"]["reported"].get("modules").is_none(), "{before}");

    let is_whole = |it: &Value, version: u64| {
        it["lastDesiredVersion"] == version
            && it["lastDesiredStatus"]["code"].is_u64()
            && it["version"]["version"].is_string()
    };
    let wait_whole = |world: &World, [agent, hub]: [u64; 2]| {
        world.wait_reported("$edgeAgent", "the agent's report, whole", |it| {
            let module = &it["modules"]["m"];
            is_whole(it, agent)
                && module["settings"]["image"] == "nobody/nothing:1"
                && module["runtimeStatus"].is_string()
                && it["systemModules"]["edgeHub"]["runtimeStatus"] == "running"
        });
        world.wait_reported("$edgeHub", "the hub's", |it| is_whole(it, hub));
    };
    world.edge.again();
    world.edge.wait_ready();
    wait_whole(&world, versions);

    // Set back to the copy; the edge goes on meanwhile, and knows all that it has reported.
    world.hub.program.kill();
    std::fs::remove_dir_all(&world.hub.state).unwrap();
    copy(&backup, &world.hub.state);
    world.hub.program.again();
    world.hub.program.wait_ready();
    wait_whole(&world, versions);

    // Deleted, and made anew with the same key: its twins have nothing of before.
    let target = format!("/devices/{EDGE}");
    let device = world.hub.service.call("GET", &target, None);
    world.hub.service.call("DELETE", &target, None);
    let anew = json!({ "deviceId": EDGE, "capabilities": { "iotEdge": true },
        "authentication": device["authentication"] });
    world.hub.service.call("PUT", &target, Some(&anew));
    world.wait_reported("$edgeAgent", "that there is no deployment", |it| {
        it["lastDesiredStatus"]["code"] == 417 && it["version"]["version"].is_string()
    });
    world.hub.service.apply(EDGE, &deployment);
    let twin = |name: &str| {
        let twin = world.hub.service.twin(EDGE, name);
        twin["properties"]["desired"]["$version"].as_u64().unwrap()
    };
    wait_whole(&world, [twin("$edgeAgent"), twin("$edgeHub")]);
}

#[test]
fn clients_are_shown_in_the_reported_properties_of_edge_hub() {
    let world = world();
    let mut leaf = Client::start(world.leaf("leaf"));
    let mut module = Client::start(world.module("some.module"));
    leaf.turn(Duration::from_millis(10));
    module.turn(Duration::from_millis(10));
    let status = |reported: &Value, id: &str| reported["clients"][id]["status"].clone();
    world.wait_reported("$edgeHub", "both are connected", |it| {
        status(it, "leaf") == "Connected" && status(it, "edge/some%2Emodule") == "Connected"
    });
    drop((leaf, module));
    world.wait_reported("$edgeHub", "both are gone, the module is known", |it| {
        status(it, "leaf").is_null() && status(it, "edge/some%2Emodule") == "Disconnected"
    });
}

/// Gathers feedback until there is so much.
fn wait_ends(world: &World, ends: &mut Vec<String>, count: usize) {
    wait_for("feedback", SETTLE, || {
        let target = "/messages/serviceBound/feedback";
        let (_, records) = world.hub.service.try_call("GET", target, None).ok()?;
        let records = records.as_array().cloned().unwrap_or_default();
        ends.extend(records.iter().map(|it| it["statusCode"].as_str().unwrap().to_owned()));
        (ends.len() >= count).then_some(())
    });
}

#[test]
fn cloud_to_device_messages_come_in_order_until_they_are_acknowledged_over_kills() {
    let mut world = world();
    let key = world.hub.service.make_leaf("direct", ""); // of no edge: to the hub itself
    let direct = world.hub.log_in("direct", &key);
    let behind = world.leaf("behind");
    for (log_in, is_direct) in [(direct, true), (behind, false)] {
        let id = log_in.id.clone();
        let (mut client, mut ends) = (devicebound(&log_in), Vec::new());
        for n in 0..5 {
            world.hub.service.send(&id, &[("iothub-ack", "full")], &n.to_string());
        }
        assert_eq!(client.take(2, true), ["0", "1"]);
        assert_eq!(client.take(3, false), ["2", "3", "4"], "not acknowledged");
        wait_ends(&world, &mut ends, 2); // on disk: an end that is not may be lost by a kill
        let victim = if is_direct { &mut world.hub.program } else { &mut world.edge };
        victim.kill();
        victim.again();
        victim.wait_ready();
        client = devicebound(&log_in);
        let (bodies, dups) = client.take_with_dup(3, true);
        assert_eq!(bodies, ["2", "3", "4"]);
        if is_direct {
            assert_eq!(dups, [true; 3], "to a resumed session");
        }
        world.hub.service.wait_waiting(&id, 0);
        if !is_direct {
            world.hub.service.send(&id, &[], "5");
            assert_eq!(client.take(1, false), ["5"]);
            world.hub.program.kill();
            world.hub.program.again();
            world.hub.program.wait_ready();
            client.ack_all();
            assert_eq!(client.take(0, true), [""; 0], "settled, not given again");
            world.hub.service.wait_waiting(&id, 0);
        }
        let past = "2020-01-01T00:00:00Z";
        world.hub.service.send(&id, &[("iothub-expiry", past), ("iothub-ack", "negative")], "late");
        world.hub.service.send(&id, &[("iothub-expiry", "2999-01-01T00:00:00Z")], "7");
        let (body, topic) = client.next(true);
        assert_eq!(body, "7", "what has expired is not given");
        assert!(topic.contains("%24.exp=2999-01-01T00%3A00%3A00"), "{topic}");
        wait_ends(&world, &mut ends, 6);
        ends.sort();
        assert_eq!(ends, ["Expired", "Success", "Success", "Success", "Success", "Success"]);
    }
}
