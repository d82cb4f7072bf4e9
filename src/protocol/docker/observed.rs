//! Reading what the engine says of a container.

use serde_json::Value;

use crate::domain::agent::names::{GENERATION, IMAGE, INSTANCE, MODULE, SPEC_HASH, aside_name};
use crate::domain::agent::observed::{Health, Observed, Phase};
use crate::domain::agent::redact;
use crate::domain::agent::when;

/// An answer of `/containers/{id}/json`. What is absent or null stays empty: engines differ.
pub(super) fn observed(inspect: &Value) -> Observed {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let state = &inspect["State"];
    let labels = &inspect["Config"]["Labels"];
    let health = state["Health"]["Status"].as_str();
    let health = health.or_else(|| state["Healthcheck"]["Status"].as_str()).unwrap_or_default();
    let name = text(&inspect["Name"]).trim_start_matches('/').to_owned();
    let module = text(&labels[MODULE]);
    Observed {
        id: text(&inspect["Id"]),
        is_aside: name == aside_name(&module, &text(&labels[INSTANCE])),
        name,
        module,
        spec_hash: text(&labels[SPEC_HASH]),
        image: text(&labels[IMAGE]),
        made_of: text(&inspect["Config"]["Image"]),
        generation: text(&labels[GENERATION]),
        image_id: text(&inspect["Image"]),
        phase: Phase::parse(state["Status"].as_str().unwrap_or_default()),
        health: Health::parse(health),
        exit_code: state["ExitCode"].as_i64(),
        oom_killed: state["OOMKilled"].as_bool().unwrap_or_default(),
        error: redact::text(&text(&state["Error"])),
        pid: state["Pid"].as_i64().filter(|pid| *pid > 0),
        started: state["StartedAt"].as_str().and_then(when::parse),
        finished: state["FinishedAt"].as_str().and_then(when::parse),
    }
}

/// An item of `/containers/json`: whose it is, and whether it runs; nothing of how it ended.
pub(super) fn listed(item: &Value) -> Observed {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let labels = &item["Labels"];
    Observed {
        id: text(&item["Id"]),
        name: text(&item["Names"][0]).trim_start_matches('/').to_owned(),
        module: text(&labels[MODULE]),
        spec_hash: text(&labels[SPEC_HASH]),
        image: text(&labels[IMAGE]),
        generation: text(&labels[GENERATION]),
        image_id: text(&item["ImageID"]),
        phase: Phase::parse(item["State"].as_str().unwrap_or_default()),
        ..Observed::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn dockers_and_podmans_answers_are_read() {
        let docker = json!({
            "Id": "c1", "Name": "/sensor", "Image": "sha256:1",
            "Config": {"Labels": {
                "io.edge-runtime.module": "sensor", "io.edge-runtime.spec-hash": "h",
                "io.edge-runtime.image": "i:1", "io.edge-runtime.generation": "g",
            }},
            "State": {
                "Status": "running", "ExitCode": 0, "OOMKilled": false, "Error": "",
                "StartedAt": "2023-11-14T22:13:20.5Z", "FinishedAt": "0001-01-01T00:00:00Z",
                "Health": {"Status": "unhealthy"},
            },
            "NetworkSettings": {"Networks": null},
        });
        let read = observed(&docker);
        assert_eq!((read.name.as_str(), read.module.as_str()), ("sensor", "sensor"));
        assert_eq!((read.phase, read.health), (Phase::Running, Health::Unhealthy));
        assert_eq!(
            (read.started.map(|at| at.as_secs()), read.finished),
            (Some(1_700_000_000), None)
        );
        let podman = json!({"Id": "c2", "Name": "x", "Config": {"Labels": null}, "State": {
            "Status": "stopping", "ExitCode": null, "Health": null,
        }});
        let read = observed(&podman);
        assert_eq!((read.phase, read.exit_code, read.module.as_str()), (Phase::Running, None, ""));
    }
}
