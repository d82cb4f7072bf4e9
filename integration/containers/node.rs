//! The Node module of `examples/node-module`, with the unmodified azure-iot-device, in a container
//! that EdgeAgent deployed.

use std::time::Duration;

use serde_json::json;

use super::support::gateway::{Gateway, docker, make_images};
use super::support::wait_for;
use super::support::world::EDGE;
use super::{body, count};

const MODULE: &str = "node-module";
const SOON: Duration = Duration::from_secs(60);

#[test]
fn a_node_module_with_the_unmodified_sdk_has_output_input_twin_and_method() {
    make_images("images");
    make_images("node-image");
    let mut gateway = Gateway::start("node");
    gateway.deploy("examples/node-module/deployment.json");
    let container = gateway.network.container(MODULE);

    // Output, with its system and application properties; input: the sensor's readings come back.
    let items = wait_for("three messages and two echoes at the hub", SOON, || {
        let (items, _) = gateway.telemetry(MODULE, 0);
        let echoes = items.iter().filter(|item| body(item)["machine"].is_object()).count();
        let counts = items.iter().filter_map(count).count();
        (echoes >= 2 && counts >= 3).then_some(items)
    });
    let first = items.iter().find(|item| count(item) == Some(1)).expect("the first message");
    assert_eq!(first["systemProperties"]["ct"], "application/json", "{first}");
    assert_eq!(first["systemProperties"]["ce"], "utf-8", "{first}");
    assert_eq!(first["applicationProperties"], json!({ "count": "1" }));

    // Twin: reported once it was read; a desired change comes, and what it echoes is reported.
    let reported = wait_for("its reported version", SOON, || {
        Some(gateway.reported(MODULE)).filter(|it| it["node"].is_string())
    });
    assert_eq!(reported["node"], docker(&["exec", &container, "node", "--version"]).as_str());
    gateway.ctl.run(&["hub", "twin", "set", EDGE, MODULE, "greeting=good evening"]);
    wait_for("the desired change, echoed", SOON, || {
        (gateway.reported(MODULE)["echo"]["greeting"] == "good evening").then_some(())
    });

    // Method, with its payload.
    let ping = ["hub", "method", EDGE, "ping", r#"{"a": [1]}"#, "--module", MODULE];
    let answer = gateway.ctl.json(&ping);
    assert_eq!(answer["status"], 200, "{answer}");
    assert_eq!(answer["payload"]["payload"], json!({ "a": [1] }), "{answer}");

    // Killed and started again: the same container, never stopped, goes on.
    gateway.world.edge.kill();
    gateway.world.edge.again();
    gateway.world.edge.wait_ready();
    let seen = gateway.telemetry(MODULE, 0).0.iter().filter_map(count).max();
    wait_for("telemetry of the same container", SOON * 2, || {
        let (items, _) = gateway.telemetry(MODULE, 0);
        (items.iter().filter_map(count).max() > seen).then_some(())
    });
    assert_eq!(gateway.network.container(MODULE), container, "not made anew");
    // An ordered stop: it ends by itself, within its 10 s.
    gateway.ctl.run(&[
        "hub",
        "twin",
        "set",
        EDGE,
        "$edgeAgent",
        "modules.node-module.status=stopped",
    ]);
    wait_for("its end", SOON, || {
        let state =
            docker(&["inspect", "-f", "{{.State.Running}} {{.State.ExitCode}}", &container]);
        (state == "false 0").then_some(())
    });
}
