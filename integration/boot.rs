//! A device is switched on: without a link, without its disk, under systemd, in whatever order things
//! come. With the real programs, from outside.
//!
//! `machine.rs` needs root, systemd and Docker on this machine; `disk.rs` root and Docker; `told.rs`
//! neither.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "boot/disk.rs"]
mod disk;
#[path = "bad_input/door.rs"]
mod door;
#[path = "agent/image.rs"]
mod image;
#[path = "boot/machine.rs"]
mod machine;
mod support;
#[path = "boot/systemd.rs"]
mod systemd;
#[path = "boot/told.rs"]
mod told;

use serde_json::{Value, json};

/// A deployment of modules that run until they are told to stop.
fn deployment(image: &str, names: &[&str]) -> Value {
    let module = json!({
        "type": "docker", "status": "running", "imagePullPolicy": "never",
        "restartPolicy": "always", "settings": { "image": image, "createOptions": {} },
    });
    let modules: serde_json::Map<String, Value> =
        names.iter().map(|name| ((*name).to_owned(), module.clone())).collect();
    json!({ "$edgeAgent": {
        "schemaVersion": "1.1", "runtime": { "type": "docker" }, "systemModules": {},
        "modules": modules,
    }})
}
