//! From outside: the real programs, real modules in real containers, and the operator's command
//! line. What a gateway engineer does and sees.
#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods)]

mod support;

#[path = "containers/host.rs"]
mod host;

#[path = "containers/main_job.rs"]
mod main_job;
#[path = "containers/node.rs"]
mod node;
#[path = "containers/operator.rs"]
mod operator;
#[path = "containers/python.rs"]
mod python;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// What a module of `examples/` sent, out of an item of the hub's telemetry.
fn body(item: &Value) -> Value {
    let bytes = STANDARD.decode(item["body"].as_str().unwrap()).unwrap();
    serde_json::from_slice(&bytes).unwrap_or_else(|_| panic!("not JSON: {item}"))
}

/// The counter in what it sent to `output1`; `None` for an echo.
fn count(item: &Value) -> Option<u64> {
    body(item)["count"].as_u64()
}
