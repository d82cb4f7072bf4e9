//! Routes as an operator looks after them: real programs, and `edgectl`.
#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods)]

mod support;

use std::path::Path;
use std::time::Duration;

use rumqttc::mqttbytes::v4::Packet;
use serde_json::{Value, json};

use support::count::broken_account;
use support::gateway::Ctl;
use support::mqtt::LogIn;
use support::program::run;
use support::wait_for;
use support::world::{EDGE, World};

const SOON: Duration = Duration::from_secs(60);

/// Publishes numbered messages with a property, and waits for their PUBACKs.
fn send(who: &LogIn, output: &str, numbers: std::ops::Range<u64>) {
    let mut mqtt = wait_for("a connection", SOON, || who.connect().ok());
    let mark =
        if output.is_empty() { "place=%EC%84%9C%EC%9A%B8" } else { "&place=%EC%84%9C%EC%9A%B8" };
    let topic = format!("{}{mark}", who.telemetry_topic(output));
    for n in numbers {
        let id = u16::try_from(n + 1).unwrap();
        mqtt.publish(&topic, id, false, n.to_string().as_bytes()).unwrap();
        wait_for("a PUBACK", SOON, || match mqtt.read(Duration::from_millis(200)).unwrap() {
            Some(Packet::PubAck(ack)) if ack.pkid == id => Some(()),
            _ => None,
        });
    }
}

/// The line of a route to an endpoint in `edgectl route list`.
fn line(ctl: &Ctl, route: &str, endpoint: &str) -> Value {
    let list = ctl.json(&["route", "list"]);
    let mut lines = list["lines"].as_array().into_iter().flatten();
    let is_it = |it: &&Value| it["name"] == route && it["endpoint"] == endpoint;
    lines.find(is_it).cloned().unwrap_or(Value::Null)
}

fn wait_line(ctl: &Ctl, route: &str, endpoint: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    wait_for(&format!("{route} to {endpoint}"), SOON, || {
        let line = line(ctl, route, endpoint);
        is_so(&line).then_some(line)
    })
}

#[test]
fn a_route_rests_over_a_kill_and_what_the_parent_refuses_is_kept_until_somebody_decides() {
    let mut world = World::start(&json!({ "up": "FROM /messages/* INTO $upstream" }));
    let ctl = Ctl::new(&world.hub, &world.management.0);
    let leaf = world.leaf("leaf");
    ctl.run(&["route", "pause", "up"]);
    send(&leaf, "", 0..3);
    assert_eq!(line(&ctl, "up", "$upstream")["lag"]["messages"], 3);
    world.edge.kill();
    world.edge.again();
    world.edge.wait_ready();
    let paused = wait_line(&ctl, "up", "$upstream", |line| line["state"] == "paused");
    assert_eq!((&paused["lag"]["messages"], &paused["delivered"]), (&3.into(), &0.into()));
    let text = ctl.run(&["route", "list"]);
    assert!(text.lines().any(|it| it.starts_with("up ") && it.contains("paused")), "{text}");
    assert!(world.at_hub("leaf").is_empty(), "it was sent all the same");

    // Whoever sent it is no more: the parent does not take it.
    world.hub.service.call("DELETE", "/devices/leaf", None);
    ctl.run(&["route", "resume", "up"]);
    let line = wait_line(&ctl, "up", "$upstream", |it| it["dead_letters"]["messages"] == 3);
    assert_eq!((&line["lag"]["messages"], &line["state"]), (&0.into(), &"active".into()));
    assert!(line["dead_letters"]["bytes"].as_u64() > Some(3));
    let letters = ctl.json(&["dead-letter", "list", "--route", "up"]);
    let offsets: Vec<_> =
        letters.as_array().unwrap().iter().map(|it| it["offset"].as_u64().unwrap()).collect();
    assert_eq!(offsets.len(), 3, "{letters}");
    let first = &letters[0];
    assert!(first["why"].as_str().unwrap().starts_with('4'), "{first}");
    assert_eq!((&first["sender"], &first["tries"]), (&"leaf".into(), &1.into()));
    assert!(first["time"].as_str().unwrap().starts_with("20"));
    let number = |at: usize| offsets[at].to_string();
    let letter = ctl.json(&["dead-letter", "peek", &number(1)]);
    assert_eq!((&letter["body"], &letter["body_encoding"]), (&1.into(), &"json".into()));
    assert_eq!(letter["properties"]["place"], "서울");
    assert!(ctl.run(&["dead-letter", "list"]).contains("leaf"));

    world.edge.kill();
    world.edge.again();
    world.edge.wait_ready();
    let (status, _, error) = ctl.outcome(&["dead-letter", "drop", &number(0)]);
    assert!(status == 2 && error.contains("--yes"), "{status} {error}");
    let dropped = ctl.json(&["dead-letter", "drop", &number(0), "--yes"]);
    assert_eq!(dropped["messages"], 1);
    world.leaf("leaf");
    let replay = |which: &str| {
        // It takes a moment until the parent's new scope lets it through.
        wait_for("the parent takes it", SOON, || {
            ctl.run(&["dead-letter", "replay", which]);
            let line = wait_line(&ctl, "up", "$upstream", |it| it["lag"]["messages"] == 0);
            (line["dead_letters"]["messages"] == 0).then_some(())
        });
    };
    replay("--all");
    let arrived: Vec<_> = world.at_hub("leaf").iter().map(|arrival| arrival.n).collect();
    assert_eq!(arrived, [1, 2]);
    let account = world.wait_drained(SOON);
    assert_eq!(broken_account(&account), Vec::<String>::new());
    let up = &account["routes"][0];
    let figures = ["received", "delivered", "dead_lettered", "discarded", "dead_dropped"];
    assert_eq!(figures.map(|name| up[name].as_u64().unwrap()), [3, 2, 0, 1, 1]);
}

#[test]
fn what_a_module_that_is_gone_was_owed_waits_until_it_is_discarded() {
    let to = |module: &str| {
        let from = "FROM /messages/modules/sensor/outputs/out";
        json!(format!("{from} INTO BrokeredEndpoint(\"/modules/{module}/inputs/in\")"))
    };
    let world = World::start(&json!({ "relay": to("gone") }));
    let ctl = Ctl::new(&world.hub, &world.management.0);
    let sensor = world.module("sensor");
    send(&sensor, "out", 0..4);
    let gone = format!("{EDGE}/gone/in");
    assert_eq!(line(&ctl, "relay", &gone)["lag"]["messages"], 4);
    world.set_routes(&json!({ "relay": to("filter") }));
    let line = wait_line(&ctl, "relay", &gone, |line| line["state"] == "draining");
    assert_eq!(line["lag"]["messages"], 4);
    send(&sensor, "silent", 0..2);

    let endpoint = format!("{EDGE}/gone");
    let (status, _, error) = ctl.outcome(&["queue", "discard", &endpoint]);
    assert!(status == 2 && error.contains("--yes"), "{status} {error}");
    let (status, _, error) = ctl.outcome(&["queue", "discard", "edge/never", "--yes"]);
    assert!(status == 1 && error.contains(&endpoint), "{status} {error}");
    let done = ctl.json(&["queue", "discard", &endpoint, "--route", "relay", "--yes"]);
    assert_eq!(done["messages"], 4);
    wait_line(&ctl, "relay", &gone, Value::is_null);
    let account = world.wait_drained(SOON);
    assert_eq!(broken_account(&account), Vec::<String>::new());

    // What no route took is counted by its source, and looks like itself.
    let list = ctl.json(&["route", "list"]);
    let sources = list["unrouted_sources"].as_array().unwrap();
    let silent =
        sources.iter().find(|it| it["source"] == "/messages/modules/sensor/outputs/silent");
    let silent = silent.unwrap_or_else(|| panic!("{list}"));
    assert_eq!(
        (&silent["sender"], &silent["count"]),
        (&format!("{EDGE}/sensor").into(), &2.into())
    );
    assert_eq!(silent["last"][1]["properties"]["place"], "서울");
    assert!(ctl.run(&["route", "list"]).contains("place=서울"));
    let log = world.edge.log_since_start();
    assert!(!log.contains("서울") && !log.contains("%EC%84%9C"), "properties are not logged");
}

/// What `edgectl` says, without any runtime: exit status and standard output.
fn alone(arguments: &[&str]) -> (i32, String) {
    let output = run("edgectl", arguments, &[]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(errors, "", "{arguments:?}");
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

fn written(folder: &Path, name: &str, value: &Value) -> String {
    let file = folder.join(name);
    std::fs::write(&file, value.to_string()).unwrap();
    file.display().to_string()
}

#[test]
fn routes_are_checked_and_tested_without_a_runtime() {
    let folder = tempfile::tempdir().unwrap();
    let good = json!({ "up": "FROM /messages/* WHERE place = '서울' INTO $upstream" });
    let bad = json!({ "up": good["up"], "eq": "FROM /messages/* WHERE 장소 == '서울' INTO $upstream",
                      "and": "FROM /*\nWHERE a = 'b' && c = 'd' INTO $upstream" });
    let deployment = |routes: &Value| {
        let desired = json!({ "schemaVersion": "1.1", "routes": routes });
        json!({ "modulesContent": { "$edgeAgent": { "properties.desired": {} },
                                    "$edgeHub": { "properties.desired": desired } } })
    };
    let file = written(folder.path(), "good.json", &deployment(&good));
    assert_eq!(alone(&["route", "check", &file]), (0, "1 good, 0 bad\n".into()));
    for (name, routes) in [("deployed.json", deployment(&bad)), ("plain.json", bad)] {
        let file = written(folder.path(), name, &routes);
        let (status, text) = alone(&["route", "check", &file]);
        assert!(status == 1 && text.ends_with("1 good, 2 bad\n"), "{text}");
        assert!(text.contains("route `eq`, line 1, column 28, at `=`: "), "{text}");
        let marked: Vec<_> = text.lines().skip_while(|it| !it.contains("장소 ==")).collect();
        assert_eq!(marked[1].trim_start(), "^", "{text}");
        let (status, json) = alone(&["route", "check", &file, "--output", "json"]);
        let json: Value = serde_json::from_str(&json).unwrap();
        assert_eq!((status, &json["good"]), (1, &json!(["up"])));
        let and = json["errors"].as_array().unwrap().iter().find(|it| it["route"] == "and");
        let and = and.unwrap();
        assert_eq!(
            (&and["line"], &and["column"], &and["found"]),
            (&2.into(), &15.into(), &"`&&`".into())
        );
        assert!(and["suggestion"].as_str().unwrap().contains("AND"), "{and}");
    }

    let case = |wanted: &str| {
        json!({ "id": "korean", "kind": "route_e2e", "sender": { "device": "leaf",
                "app": { "place": "서울" } }, "expect_endpoints": [wanted] })
    };
    let routes = written(folder.path(), "routes.json", &good);
    for (wanted, expected) in [
        ("$upstream", (0, "1 passed, 0 failed\n")),
        ("edge/m/in", (1, "korean: got $upstream, wanted edge/m/in\n0 passed, 1 failed\n")),
    ] {
        let cases = written(folder.path(), "cases.json", &json!({ "cases": [case(wanted)] }));
        let outcome = alone(&["route", "test", &cases, "--routes", &routes]);
        assert_eq!(outcome, (expected.0, expected.1.to_owned()));
    }
}

#[test]
fn a_message_goes_where_it_was_explained_to_go() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start(&json!({
        "seoul": { "route": "FROM /messages/* WHERE place = '서울' INTO $upstream", "priority": 1,
                   "timeToLiveSecs": 60 },
        "all": "FROM /messages/* INTO $upstream",
    }));
    let ctl = Ctl::new(&world.hub, &world.management.0);
    let leaf = world.leaf("leaf");
    let explained = |place: &str| {
        let message = json!({ "sender": "leaf", "properties": { "place": place }, "body": 0 });
        let file = written(folder.path(), "message.json", &message);
        (ctl.json(&["route", "explain", "--message", &file]), file)
    };
    let (answer, file) = explained("부산");
    assert_eq!(answer["wins"], json!([{ "endpoint": "$upstream", "route": "all" }]));
    let lives = answer["routes"].as_array().unwrap().iter().map(|it| &it["time_to_live_seconds"]);
    assert_eq!(lives.collect::<Vec<_>>(), [60, 7200], "its own, and the global one");
    let part = &answer["routes"][0]["parts"][1];
    assert_eq!((&part["text"], &part["value"]), (&"place".into(), &"\"부산\"".into()));
    let text = ctl.run(&["route", "explain", "--message", &file]);
    assert!(text.contains("seoul: does not take it: its condition is false"), "{text}");

    let (answer, file) = explained("서울");
    assert_eq!(answer["wins"], json!([{ "endpoint": "$upstream", "route": "seoul" }]));
    let text = ctl.run(&["route", "explain", "--message", &file]);
    assert!(text.contains("all: would take it, but seoul takes it to $upstream"), "{text}");
    send(&leaf, "", 0..1);
    let count = |route: &str| line(&ctl, route, "$upstream")["matched"].as_u64().unwrap();
    assert_eq!((count("seoul"), count("all")), (1, 0));
}

#[test]
fn other_routes_are_tried_on_what_is_stored_and_dead_and_nothing_is_changed() {
    let folder = tempfile::tempdir().unwrap();
    let to_gone = "FROM /messages/* INTO BrokeredEndpoint(\"/modules/gone/inputs/in\")";
    let world = World::start(&json!({ "up": "FROM /messages/* INTO $upstream", "keep": to_gone }));
    let ctl = Ctl::new(&world.hub, &world.management.0);
    let leaf = world.leaf("leaf");
    ctl.run(&["route", "pause", "up"]);
    send(&leaf, "", 0..3);
    // What is for upstream becomes a dead letter; what the module is owed stays.
    world.hub.service.call("DELETE", "/devices/leaf", None);
    ctl.run(&["route", "resume", "up"]);
    wait_line(&ctl, "up", "$upstream", |it| it["dead_letters"]["messages"] == 3);
    send(&world.module("sensor"), "out", 0..2);
    wait_line(&ctl, "up", "$upstream", |it| it["lag"]["messages"] == 0);
    // But for ages, which grow.
    let accounts = || {
        let mut accounts = ctl.json(&["route", "list"])["accounts"].take();
        for account in accounts.as_array_mut().unwrap() {
            account["oldest_seconds"].take();
        }
        accounts
    };
    let before = accounts();

    let routes = json!({
        "first": "FROM /messages/* WHERE place = '서울' INTO $upstream",
        "leaf": { "route": "FROM /messages WHERE $connectionDeviceId = 'leaf' INTO $upstream",
                  "priority": 0 },
        "sensor": "FROM /messages/modules/sensor/* INTO BrokeredEndpoint('/modules/b/inputs/in')",
    });
    let file = written(folder.path(), "routes.json", &routes);
    let counts = ctl.json(&["route", "replay", "--from", "1h", "--routes", &file]);
    let of = |name: &str| {
        let mut lines = counts["routes"].as_array().unwrap().iter();
        let line = lines.find(|it| it["name"] == name).unwrap();
        (line["matched"].as_u64().unwrap(), line["wins"].as_u64().unwrap())
    };
    assert_eq!((&counts["messages"], &counts["unrouted"]), (&5.into(), &0.into()), "{counts}");
    assert_eq!([of("leaf"), of("first"), of("sensor")], [(3, 3), (5, 2), (2, 2)], "{counts}");
    assert_eq!(counts["endpoints"], json!({ "$upstream": 5, (format!("{EDGE}/b/in")): 2 }));
    let none = json!({ "none": "FROM /twinChangeNotifications INTO $upstream" });
    let none = written(folder.path(), "none.json", &none);
    let text = ctl.run(&["route", "replay", "--from", "1h", "--routes", &none]);
    assert!(text.ends_with("of 5 messages:\n  5 to no route\n"), "{text}");
    let earlier = ["route", "replay", "--from", "2026-01-01T00:00:00Z", "--to", "1h"];
    let earlier = ctl.json(&[&earlier[..], &["--routes", &file]].concat());
    assert_eq!(earlier["messages"], 0);
    let (status, _, error) = ctl.outcome(&["route", "replay", "--from", "soon", "--routes", &file]);
    assert!(status == 2 && error.contains("soon is no time"), "{status} {error}");
    assert_eq!(accounts(), before);
}
