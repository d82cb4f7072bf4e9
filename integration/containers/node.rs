//! The Node module of `examples/node-module`, with the unmodified azure-iot-device, in a container
//! that EdgeAgent deployed.

use serde_json::json;

use super::support::gateway::{Gateway, docker, make_images};
use super::support::wait_for;
use super::support::world::EDGE;
use super::{SOON, assert_output_and_input, assert_twin, count};

const MODULE: &str = "node-module";

#[test]
fn a_node_module_with_the_unmodified_sdk_has_output_input_twin_and_method() {
    make_images("images");
    make_images("node-image");
    let mut gateway = Gateway::start("node");
    gateway.deploy("examples/node-module/deployment.json");
    let container = gateway.network.container(MODULE);

    assert_output_and_input(&gateway, MODULE);
    let version = docker(&["exec", &container, "node", "--version"]);
    assert_twin(&gateway, MODULE, "node", &version);

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
