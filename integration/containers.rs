//! From outside: the real programs, real modules in real containers, and the operator's command
//! line. What a gateway engineer does and sees.
#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods)]

mod support;

#[path = "containers/host.rs"]
mod host;

#[path = "containers/identities.rs"]
mod identities;
#[path = "containers/main_job.rs"]
mod main_job;
#[path = "containers/methods.rs"]
mod methods;
#[path = "containers/node.rs"]
mod node;
#[path = "containers/operator.rs"]
mod operator;
#[path = "containers/python.rs"]
mod python;
#[path = "containers/renewal.rs"]
mod renewal;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use support::gateway::Gateway;
use support::wait_for;
use support::world::EDGE;

const SOON: Duration = Duration::from_secs(60);

/// What a module of `examples/` sent, out of an item of the hub's telemetry.
fn body(item: &Value) -> Value {
    let bytes = STANDARD.decode(item["body"].as_str().unwrap()).unwrap();
    serde_json::from_slice(&bytes).unwrap_or_else(|_| panic!("not JSON: {item}"))
}

/// The counter in what it sent to `output1`; `None` for an echo.
fn count(item: &Value) -> Option<u64> {
    body(item)["count"].as_u64()
}

/// A module of `examples/`: its output comes with its system and application properties, and what
/// the sensor sends to its input comes back.
#[track_caller]
fn assert_output_and_input(gateway: &Gateway, module: &str) {
    let items = wait_for("five messages and two echoes at the hub", SOON, || {
        let (items, _) = gateway.telemetry(module, 0);
        let echoes = items.iter().filter(|item| body(item)["machine"].is_object()).count();
        let counts = items.iter().filter_map(count).count();
        (echoes >= 2 && counts >= 5).then_some(items)
    });
    let first = items.iter().find(|item| count(item) == Some(1)).expect("the first message");
    assert_eq!(first["systemProperties"]["ct"], "application/json", "{first}");
    assert_eq!(first["systemProperties"]["ce"], "utf-8", "{first}");
    assert_eq!(first["applicationProperties"], json!({ "count": "1" }));
}

/// Its twin: `version` is reported once it was read; a desired change comes, and what it echoes is
/// reported.
#[track_caller]
fn assert_twin(gateway: &Gateway, module: &str, name: &str, version: &str) {
    let reported = wait_for("its reported version", SOON, || {
        Some(gateway.reported(module)).filter(|it| it[name].is_string())
    });
    assert_eq!(reported[name], version);
    gateway.ctl.run(&["hub", "twin", "set", EDGE, module, "greeting=good evening"]);
    wait_for("the desired change, echoed", SOON, || {
        (gateway.reported(module)["echo"]["greeting"] == "good evening").then_some(())
    });
}
