//! A module as the reference's daemon shows it (spec edgeagent.md 7.1).

use serde_json::{Value, json};

use crate::messages::agent::ModuleStatusLine;

/// Its environment is not given.
pub(super) fn details(module: &ModuleStatusLine) -> Value {
    let exit = module
        .exit_code
        .map(|code| json!({ "exitTime": module.since, "statusCode": code.to_string() }));
    let is_up = ["running", "unhealthy"].contains(&module.status.as_str());
    let mut status = json!({
        "startTime": module.since.as_ref().filter(|_| is_up),
        "exitStatus": exit.filter(|_| !is_up && module.since.is_some()),
        "runtimeStatus": { "status": module.status, "description": module.why },
    });
    if let Some(members) = status.as_object_mut() {
        members.retain(|_, value| !value.is_null());
    }
    json!({
        "id": "id",
        "name": module.name,
        "type": "docker",
        "config": { "settings": { "image": module.image, "createOptions": "{}" }, "env": [] },
        "status": status,
    })
}
