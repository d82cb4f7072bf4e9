//! Routes that cannot be put in force: each is named with its error where an operator looks, and
//! the others carry messages. Names, values and texts may be of any script.

use std::process::Output;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::count::total;
use crate::support::program::run;
use crate::support::wait_for;
use crate::support::world::World;
use crate::witness::{SOON, metric, publish_stored};

fn edgectl(world: &World, arguments: &[&str]) -> Output {
    let socket = world.management.0.display().to_string();
    run("edgectl", &[&["--socket", &socket], arguments].concat(), &[])
}

/// Lines of `edgectl status`, and whether it says that all is as desired.
fn status(world: &World) -> (String, bool) {
    let output = edgectl(world, &["status"]);
    (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.success())
}

#[track_caller]
fn wait_code(world: &World, code: u64) -> Value {
    let status = |reported: &Value| reported["lastDesiredStatus"].clone();
    let desired = world.hub.service.twin("edge", "$edgeHub");
    let version = desired["properties"]["desired"]["$version"].as_u64().unwrap();
    let reported = world.wait_reported("$edgeHub", "the state of the routes", |reported| {
        reported["lastDesiredVersion"] == version && !status(reported).is_null()
    });
    assert_eq!(status(&reported)["code"], code, "{reported}");
    status(&reported)
}

#[test]
fn bad_routes_are_named_with_their_error_and_the_good_ones_run() {
    let input = |text: &str| {
        format!(r#"FROM /messages/* {text} INTO BrokeredEndpoint("/modules/reader/inputs/in")"#)
    };
    // Each of these may not be taken for one without a condition.
    let conditions = [
        "WHERE temperature > 30",
        "WHERE $body.temperature > 30 && alert = 'on'",
        "WHERE IS_DEFINED(a) AND",
        "WHERE alert == 'on'",
        "WHERE $twin.tags.place = 'here'",
        "WHERE twin_change_includes(properties.reported.a)",
        "WHERE",
    ];
    let mut routes = json!({
        "good": "FROM /messages/* INTO $upstream",
        "defined": input("WHERE NOT IS_DEFINED(skip)"),
        "verb": "FRM /messages/* INTO $upstream",
        "sink": "FROM /messages/* INTO $nowhere",
        "late": { "route": "FROM /messages/* INTO $upstream", "priority": 10 },
        "number": 5,
    });
    for (n, condition) in conditions.iter().enumerate() {
        routes[format!("where{n}")] = input(condition).into();
    }
    let world = World::start(&routes);
    let reported = wait_code(&world, 400);
    let text = reported["description"].as_str().unwrap();
    let bad: Vec<String> = ["verb", "sink", "late", "number"].map(str::to_owned).into();
    let bad = [bad, (0..conditions.len()).map(|n| format!("where{n}")).collect()].concat();
    for name in &bad {
        assert!(text.contains(&format!("route `{name}`, ")), "{name} is not named: {text}");
    }
    assert!(text.contains("route `verb`, line 1, column 1, at `FRM`"), "with its place: {text}");
    assert!(text.contains("write as_number(temperature) > 30"), "and what to write: {text}");
    for name in ["good", "defined"] {
        assert!(!text.contains(&format!("`{name}`")), "{name} is good: {text}");
    }
    let log = world.edge.log_since_start();
    let (shown, is_in_sync) = status(&world);
    assert!(!is_in_sync, "what is desired is not in force: {shown}");
    for name in &bad {
        assert!(
            log.lines().any(|line| line.contains("bad route") && line.contains(name)),
            "{name}"
        );
        assert!(shown.contains(&format!("route `{name}`, ")), "{name} is not in: {shown}");
    }

    let leaf = world.leaf("leaf");
    let mut reader = world.module("reader").connect().unwrap();
    assert_eq!(reader.subscribe("devices/edge/modules/reader/inputs/#"), Ok(true));
    let mut mqtt = leaf.connect().unwrap();
    publish_stored(
        &mut mqtt,
        "devices/leaf/messages/events/temperature=31&alert=on&skip=",
        1,
        b"1",
    );
    publish_stored(&mut mqtt, "devices/leaf/messages/events/a=&b=", 2, b"2");
    wait_for("both at the hub, by the good route", SOON, || {
        let (items, _) = world.hub.service.telemetry(0)?;
        (items.iter().filter(|item| item["deviceId"] == "leaf").count() == 2).then_some(())
    });
    use rumqttc::mqttbytes::v4::Packet::Publish;
    let Some(Publish(publish)) = reader.read(SOON).unwrap() else { panic!("no message") };
    assert_eq!(&publish.payload[..], b"2", "by the route that is defined, and no other");
    reader.ack(publish.pkid).unwrap();
    let queue = world.wait_drained(SOON);
    let names = queue["routes"].as_array().unwrap().iter().map(|it| it["route"].as_str().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort_unstable();
    assert_eq!(names, ["defined", "good"], "no bad route took anything");
    assert_eq!(total(&queue, "delivered"), 3);

    // Put right, all is in force, and said to be.
    world.set_routes(&json!({ "good": "FROM /messages/* INTO $upstream" }));
    assert_eq!(wait_code(&world, 200)["description"], "");
    let (shown, _) = status(&world);
    assert!(!shown.contains("route `"), "{shown}");
}

#[test]
fn a_deployment_that_cannot_be_read_leaves_the_routes_as_they_were() {
    let world = World::start(&json!({ "good": "FROM /messages/* INTO $upstream" }));
    wait_code(&world, 200);
    let mut mqtt = world.leaf("leaf").connect().unwrap();
    let broken = [
        (json!({ "schemaVersion": "9.9", "routes": {} }), "9.9"),
        (json!({ "routes": {} }), "schemaVersion"),
        (json!({ "schemaVersion": "1.1", "routes": "none" }), "`routes` must be an object"),
    ];
    for (n, (desired, why)) in broken.iter().enumerate() {
        world.hub.service.apply("edge", &json!({ "$edgeHub": desired }));
        let reported = wait_code(&world, 400);
        assert!(reported["description"].as_str().unwrap().contains(why), "{reported}");
        let (shown, is_in_sync) = status(&world);
        assert!(shown.contains(why) && !is_in_sync, "{why} is not in: {shown}");
        let id = u16::try_from(n).unwrap() + 1;
        publish_stored(&mut mqtt, "devices/leaf/messages/events/", id, b"on");
        wait_for("it at the hub", SOON, || {
            let (items, _) = world.hub.service.telemetry(0)?;
            let count = items.iter().filter(|item| item["deviceId"] == "leaf").count();
            (count == n + 1).then_some(())
        });
    }
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(
        mqtt.read(Duration::from_millis(1)),
        Ok(None),
        "its connection is the first one still"
    );
}

/// A bad deployment must not begin to lose messages at the next start.
#[test]
fn the_last_good_form_of_a_route_outlives_a_restart_of_the_process() {
    let good = "FROM /messages/* INTO $upstream";
    let mut world = World::start(&json!({ "up": good }));
    wait_code(&world, 200);
    let leaf = world.leaf("leaf");
    let bad_route =
        json!({ "schemaVersion": "1.1", "routes": { "up": "FROM /messages/* INTO $upstraem" } });
    let unreadable = json!({ "schemaVersion": "9.9", "routes": { "up": good } });
    for (n, desired) in [bad_route, unreadable].into_iter().enumerate() {
        world.hub.service.apply("edge", &json!({ "$edgeHub": desired }));
        wait_code(&world, 400);
        world.edge.kill();
        world.edge.again();
        world.edge.wait_ready();
        let mut mqtt = leaf.connect().unwrap();
        publish_stored(&mut mqtt, "devices/leaf/messages/events/", 1, b"on");
        wait_for("it at the hub", SOON, || {
            let (items, _) = world.hub.service.telemetry(0)?;
            let count = items.iter().filter(|item| item["deviceId"] == "leaf").count();
            (count == n + 1).then_some(())
        });
        let queue = world.wait_drained(SOON);
        assert_eq!(queue["unrouted"], 0, "{queue}");
    }
}

#[test]
fn korean_names_values_and_bodies_are_routed_and_said_as_they_are_written() {
    let world = World::start(&json!({
        "더위": "FROM /messages/* WHERE 도시 = '서울' AND $body.기온.값 > 30 \
                 INTO BrokeredEndpoint(\"/modules/reader/inputs/경보\")",
        "위로": "FROM /messages/* WHERE $body.기온.단위 = '도' INTO $upstream",
        "나쁨": "FROM /messages/* WHERE 온도 > 30 INTO $upstream",
    }));
    let said = wait_code(&world, 400)["description"].as_str().unwrap().to_owned();
    let wanted = "route `나쁨`, line 1, column 24, at `온도 > 30`: ";
    assert!(said.contains(wanted) && said.contains("write as_number(온도) > 30"), "{said}");
    let log = world.edge.log_since_start();
    assert!(log.lines().any(|line| line.contains("bad route") && line.contains("나쁨")), "{log}");
    assert!(status(&world).0.contains(wanted), "{}", status(&world).0);

    let leaf = world.leaf("leaf");
    let mut reader = world.module("reader").connect().unwrap();
    assert_eq!(reader.subscribe("devices/edge/modules/reader/inputs/#"), Ok(true));
    let mut mqtt = leaf.connect().unwrap();
    let (seoul, busan) = ("%EC%84%9C%EC%9A%B8", "%EB%B6%80%EC%82%B0");
    let messages = [
        (seoul, "{\"기온\": {\"값\": 29, \"단위\": \"도\"}}"),
        (busan, "{\"기온\": {\"값\": 35, \"단위\": \"도\"}}"),
        (seoul, "{\"기온\": {\"값\": 31, \"단위\": \"도\"}}"),
        (seoul, "{\"기온\": "),
    ];
    for (n, (city, body)) in messages.iter().enumerate() {
        let is_json = "%24.ct=application%2Fjson&%24.ce=utf-8";
        let bag = format!("{is_json}&%EB%8F%84%EC%8B%9C={city}");
        let topic = format!("devices/leaf/messages/events/{bag}");
        publish_stored(&mut mqtt, &topic, u16::try_from(n).unwrap() + 1, body.as_bytes());
    }
    use rumqttc::mqttbytes::v4::Packet::Publish;
    let Some(Publish(publish)) = reader.read(SOON).unwrap() else { panic!("no message") };
    assert_eq!(&publish.payload[..], messages[2].1.as_bytes(), "the one of Seoul above 30");
    let topic = String::from_utf8_lossy(publish.topic.as_ref()).into_owned();
    assert!(topic.starts_with("devices/edge/modules/reader/inputs/경보/"), "{topic}");
    assert!(topic.contains(&format!("%EB%8F%84%EC%8B%9C={seoul}")), "{topic}");
    reader.ack(publish.pkid).unwrap();
    wait_for("three at the hub", SOON, || {
        let (items, _) = world.hub.service.telemetry(0)?;
        let items: Vec<_> = items.iter().filter(|item| item["deviceId"] == "leaf").collect();
        let cities = items.iter().map(|item| &item["applicationProperties"]["도시"]);
        (cities.eq([&json!("서울"), &json!("부산"), &json!("서울")])).then_some(())
    });
    let queue = world.wait_drained(SOON);
    assert_eq!((total(&queue, "delivered"), &queue["unrouted"]), (4, &json!(1)), "{queue}");
    assert_eq!(metric(&world, "messages_not_json_total"), 1, "counted once, though two ask for it");
}
