//! The main job, looked at: sensor → filter → hub and a leaf device over one connection, a sensor
//! that is killed, a threshold that is changed.

use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::support::count::broken_account;
use super::support::gateway::{Gateway, docker, make_images};
use super::support::sender::Sender;
use super::support::wait_for;
use super::support::world::EDGE;

const SOON: Duration = Duration::from_secs(60);
const SENSOR: &str = "temperature-sensor";
const FILTER: &str = "temperature-filter";

fn temperature(item: &Value) -> f64 {
    let body = STANDARD.decode(item["body"].as_str().unwrap()).unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    body["machine"]["temperature"].as_f64().unwrap_or_else(|| panic!("no reading: {body}"))
}

/// Established connections of the edge to the hub's MQTT port.
fn connections(gateway: &Gateway) -> Vec<String> {
    let there = format!("{}:8883", gateway.world.hub.address);
    let output = Command::new("ss").args(["-tnpH", "state", "established", "dst", &there]).output();
    let output = output.expect("ss (package iproute2)");
    assert!(output.status.success(), "{output:?}");
    let owner = format!("pid={},", gateway.world.edge.id());
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().filter(|line| line.contains(&owner)).map(str::to_owned).collect()
}

/// Sets the threshold; where telemetry begins that was judged by it.
fn set_threshold(gateway: &Gateway, value: i64) -> u64 {
    let pair = format!("threshold={value}");
    gateway.ctl.run(&["hub", "twin", "set", EDGE, FILTER, &pair]);
    wait_for("the threshold in force", SOON, || {
        (gateway.reported(FILTER)["threshold"] == value).then_some(())
    });
    // What it was busy with when the change came may still be on its way.
    std::thread::sleep(Duration::from_secs(1));
    gateway.now()
}

#[test]
fn telemetry_flows_over_one_connection_a_killed_sensor_comes_back_and_a_threshold_changes_what_passes()
 {
    make_images("images");
    let gateway = Gateway::start("main-job");
    let mut leaf = Sender::start(gateway.world.leaf("leaf"), "");
    gateway.deploy("config/run-local.deployment.json");
    gateway.ctl.run(&["hub", "twin", "set", EDGE, SENSOR, "period=0.1"]);
    wait_for("telemetry through the filter", SOON, || {
        (gateway.telemetry(FILTER, 0).0.len() >= 5).then_some(())
    });

    // One connection to the hub, however many clients.
    for _ in 0..10 {
        let open = connections(&gateway);
        assert_eq!(open.len(), 1, "{open:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
    let status = gateway.ctl.json(&["status"]);
    let clients = status["clients"].as_array().unwrap();
    let clients: Vec<_> = clients.iter().map(|it| it["identity"].as_str().unwrap()).collect();
    for client in ["leaf", "edge/temperature-sensor", "edge/temperature-filter"] {
        assert!(clients.contains(&client), "{client} in {clients:?}");
    }
    assert!(status["link"]["attached"].as_u64().unwrap() >= 3, "{}", status["link"]);

    // A threshold that nothing passes, one that all passes, and the one between.
    let since = set_threshold(&gateway, 1_000);
    std::thread::sleep(Duration::from_secs(3));
    assert!(gateway.telemetry(FILTER, since).0.is_empty(), "passed a threshold of 1000");
    let some = |threshold: i64, enough: fn(&[f64]) -> bool| {
        let since = set_threshold(&gateway, threshold);
        wait_for(&format!("readings above {threshold}"), SOON, || {
            let (items, _) = gateway.telemetry(FILTER, since);
            let passed: Vec<f64> = items.iter().map(temperature).collect();
            enough(&passed).then_some(passed)
        })
    };
    some(0, |passed| passed.iter().any(|it| *it < 25.0) && passed.iter().any(|it| *it > 30.0));
    let passed = some(30, |passed| passed.len() >= 20);
    assert!(passed.iter().all(|it| *it > 30.0), "{passed:?}");

    // Killed: said so at once, here and at the hub; back after the backoff, not before.
    let sensor = gateway.network.container(SENSOR);
    docker(&["kill", &sensor]);
    let killed = Instant::now();
    let line = wait_for("the list to say so", SOON, || {
        Some(gateway.ctl.module(SENSOR)).filter(|line| line["status"] == "backoff")
    });
    assert_eq!(line["why"], "ended by signal 9 (exit code 137)", "{line}");
    assert!(line["next_attempt"].is_string(), "{line}");
    let table = gateway.ctl.run(&["list"]);
    let line = table.lines().find(|line| line.starts_with(SENSOR)).unwrap();
    assert!(line.contains("backoff") && line.contains("next attempt in"), "{line}");
    wait_for("the hub's twin to say so", SOON, || {
        let agent = gateway.reported("$edgeAgent");
        let sensor = &agent["modules"][SENSOR];
        (sensor["runtimeStatus"] == "backoff" && sensor["exitCode"] == 137).then_some(())
    });
    let line = wait_for("the sensor to run again", SOON, || {
        Some(gateway.ctl.module(SENSOR)).filter(|line| line["status"] == "running")
    });
    let took = killed.elapsed();
    assert!(took > Duration::from_secs(9), "its first restart waits 10 s: {took:?}");
    assert_eq!(line["restarts"], 1, "{line}");
    wait_for("the hub's twin to say that, too", SOON, || {
        let agent = gateway.reported("$edgeAgent");
        let sensor = &agent["modules"][SENSOR];
        (sensor["runtimeStatus"] == "running" && sensor["restartCount"] == 1).then_some(())
    });
    let since = gateway.now();
    wait_for("telemetry of the new run", SOON, || {
        (!gateway.telemetry(FILTER, since).0.is_empty()).then_some(())
    });
    assert_eq!(connections(&gateway).len(), 1);

    leaf.finish();
    docker(&["stop", &gateway.network.container(SENSOR)]);
    let queue = gateway.world.wait_drained(SOON);
    assert!(broken_account(&queue).is_empty(), "{queue}");
}
