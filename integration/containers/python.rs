//! The Python module of `examples/python-module`, with the unmodified azure-iot-device, in a
//! container that EdgeAgent deployed.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use edge_runtime::domain::sas;
use serde_json::Value;

use super::support::gateway::{Gateway, docker, make_images};
use super::support::wait_for;
use super::support::world::EDGE;
use super::{SOON, assert_output_and_input, assert_twin, count};

const MODULE: &str = "python-module";

/// What the container gets of its workload socket, asked from within.
fn workload(container: &str) -> Value {
    let said = docker(&["exec", container, "python", "-c", include_str!("workload.py")]);
    serde_json::from_str(&said).unwrap()
}

#[test]
fn a_python_module_with_the_unmodified_sdk_has_output_input_and_twin_and_outlives_the_runtime() {
    make_images("images");
    make_images("python-image");
    let mut gateway = Gateway::start("python");
    gateway.deploy("examples/python-module/deployment.json");
    let container = gateway.network.container(MODULE);
    let started = |id: &str| docker(&["inspect", "-f", "{{.State.StartedAt}}", id]);
    let first_start = started(&container);

    assert_output_and_input(&gateway, MODULE);
    let version = docker(&[
        "exec",
        &container,
        "python",
        "-c",
        "import platform as p; print(p.python_version())",
    ]);
    assert_twin(&gateway, MODULE, "python", &version);

    // The workload socket: signed with this module's key, and the gateway's authorities.
    let before = workload(&container);
    let service = &gateway.world.hub.service;
    let made = service.call("GET", &format!("/devices/{EDGE}/modules/{MODULE}"), None);
    let key = made.pointer("/authentication/symmetricKey/primaryKey").unwrap().as_str().unwrap();
    assert_eq!(before["digest"], STANDARD.encode(sas::sign(key, b"it is me").unwrap()));
    let bundle = gateway.world.folder.path().join("edge/certs/trust-bundle.pem");
    assert_eq!(before["trust"], std::fs::read_to_string(bundle).unwrap());

    // Killed and started again: the same container, never stopped, reaches the new socket.
    gateway.world.edge.kill();
    assert_eq!(docker(&["inspect", "-f", "{{.State.Running}}", &container]), "true");
    gateway.world.edge.again();
    gateway.world.edge.wait_ready();
    let after = wait_for("the workload socket of the new runtime", SOON, || {
        let mounted = gateway.network.containers().contains(&container);
        mounted.then(|| workload(&container))
    });
    assert_eq!(after, before);
    let seen = gateway.telemetry(MODULE, 0).0.iter().filter_map(count).max().unwrap();
    let counts = wait_for("telemetry of the same container", SOON * 2, || {
        let (items, _) = gateway.telemetry(MODULE, 0);
        let counts: Vec<_> = items.iter().filter_map(count).collect();
        counts.iter().any(|count| *count > seen + 2).then_some(counts)
    });
    let complete: BTreeSet<u64> = (1..=*counts.iter().max().unwrap()).collect();
    assert_eq!(counts.iter().copied().collect::<BTreeSet<_>>(), complete, "nothing is missing");
    assert_eq!(gateway.network.container(MODULE), container, "not made anew");
    assert_eq!(started(&container), first_start, "not restarted");
    wait_for("it to be listed as running, never restarted", SOON, || {
        let line = gateway.ctl.module(MODULE);
        (line["status"] == "running" && line["restarts"] == 0).then_some(())
    });
}
