//! The reported properties of `$edgeAgent`, in the shape that IoT Edge gives them.
//!
//! No secrets: log-ins of registries, and the values of environment variables, are left out. Whole
//! documents are built, cut to what a twin holds (`fit.rs`); `diff` makes of them the patches that are
//! sent.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::create_options::{pieces, without_secrets};
use super::fields::{Invalid, Object};
use super::fit::{LIMIT, fit};
use super::manifest::{LAST, Manifest, ModuleSpec, Rejected, SYSTEM_MODULES};
use super::redact;
use super::state::ModuleState;
use super::when::{NEVER, iso};
use super::words::{ModuleStatus, restart_policy_word};

/// What is reported of.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// Of this program.
    pub version: &'a str,
    /// Of the container engine.
    pub engine_version: &'a str,
    /// `x86_64`, ….
    pub architecture: &'a str,
    /// When this process began.
    pub started: Duration,
    /// Version of the desired properties acted upon.
    pub desired_version: u64,
    /// The deployment acted upon.
    pub deployment: &'a Result<Manifest, Rejected>,
    /// `lastDesiredStatus`.
    pub outcome: (u16, &'a str),
    /// By module.
    pub states: &'a BTreeMap<String, ModuleState>,
    /// The agent is about to end: nobody knows how modules do from now on.
    pub is_last: bool,
}

/// The whole document. Without a deployment that could be read, what was reported of modules
/// before stays as it is in `before`.
pub fn document(report: &Report<'_>, before: &Value) -> Value {
    let (code, description) = match report.is_last {
        true => (406, "the agent is not running"),
        false => report.outcome,
    };
    let mut document = json!({
        "schemaVersion": "1.0",
        "version": {"version": report.version, "build": "", "commit": ""},
        "lastDesiredVersion": report.desired_version,
        "lastDesiredStatus": {"code": code, "description": redact::text(description)},
    });
    let platform = json!({
        "os": "linux", "architecture": report.architecture, "version": report.engine_version,
    });
    match report.deployment {
        Ok(manifest) => {
            let settings = &manifest.runtime;
            document["runtime"] = json!({
                "type": "docker",
                "settings": {
                    "minDockerVersion": settings.min_docker_version,
                    "loggingOptions": settings.logging_options,
                    "registryCredentials": {},
                },
                "platform": platform,
            });
            document["systemModules"] = system_modules(report, manifest);
            let modules = manifest.modules.iter().map(|(name, spec)| {
                let state = report.states.get(name);
                (name.clone(), module(spec, &state.cloned().unwrap_or_default(), report.is_last))
            });
            document["modules"] = Value::Object(modules.collect());
        }
        Err(_) => {
            for kept in ["runtime", "systemModules", "modules"] {
                if let Some(value) = before.get(kept) {
                    document[kept] = value.clone();
                }
            }
            if document.get("runtime").is_some_and(Value::is_object) {
                document["runtime"]["platform"] = platform;
            }
            if let Some(modules) = document.get_mut("modules") {
                refresh(modules, report);
            }
        }
    }
    fit(&mut document, LIMIT);
    document
}

/// Modules go on under the last good deployment: how they do is still told.
fn refresh(modules: &mut Value, report: &Report<'_>) {
    let Some(modules) = modules.as_object_mut() else { return };
    for (name, module) in modules {
        if let (Some(state), Some(module)) = (report.states.get(name), module.as_object_mut()) {
            add_state(module, state, report.is_last);
        }
    }
}

fn system_modules(report: &Report<'_>, manifest: &Manifest) -> Value {
    let status = if report.is_last { ModuleStatus::Unknown } else { ModuleStatus::Running };
    let mut modules = Object::new();
    for name in SYSTEM_MODULES {
        let image = manifest.system.get(name).map_or("", |system| system.image.as_str());
        let (is_hub, always) = (name == "edgeHub", "always");
        let description = format!("part of edge-runtime {}", report.version);
        let fields = [
            ("exitCode", Some(json!(0))),
            ("statusDescription", Some(json!(description))),
            ("lastStartTimeUtc", Some(json!(iso(report.started)))),
            ("lastExitTimeUtc", Some(json!(NEVER))),
            ("restartCount", is_hub.then(|| json!(0))),
            ("lastRestartTimeUtc", is_hub.then(|| json!(NEVER))),
            ("runtimeStatus", Some(json!(status))),
            ("status", is_hub.then(|| json!("running"))),
            ("restartPolicy", is_hub.then(|| json!(always))),
            ("imagePullPolicy", Some(json!("on-create"))),
            ("startupOrder", Some(json!(0))),
            ("type", Some(json!("docker"))),
            ("settings", Some(json!({"image": image, "imageHash": "", "createOptions": "{}"}))),
            ("env", Some(json!({}))),
        ];
        let fields = fields.into_iter().filter_map(|(name, value)| Some((name.into(), value?)));
        let module = Value::Object(fields.collect());
        modules.insert(name.into(), module);
    }
    Value::Object(modules)
}

fn module(spec: &Result<ModuleSpec, Invalid>, state: &ModuleState, is_last: bool) -> Value {
    let mut module = Object::new();
    match spec {
        Ok(spec) => {
            add_state(&mut module, state, is_last);
            add_spec(&mut module, spec, state);
        }
        Err(invalid) => {
            let status = if is_last { ModuleStatus::Unknown } else { ModuleStatus::Failed };
            module.insert("type".into(), json!("docker"));
            module.insert("runtimeStatus".into(), json!(status));
            module.insert("statusDescription".into(), json!(invalid.to_string()));
        }
    }
    Value::Object(module)
}

fn add_state(module: &mut Object, state: &ModuleState, is_last: bool) {
    let time = |at: Option<Duration>| at.map_or_else(|| NEVER.to_owned(), iso);
    let status = if is_last { ModuleStatus::Unknown } else { state.status };
    for (name, value) in [
        ("exitCode", json!(state.exit_code.unwrap_or_default())),
        ("statusDescription", json!(redact::text(&state.description()))),
        ("lastStartTimeUtc", json!(time(state.started))),
        ("lastExitTimeUtc", json!(time(state.finished))),
        ("restartCount", json!(state.restarts)),
        ("lastRestartTimeUtc", json!(time(state.last_restart))),
        ("runtimeStatus", json!(status)),
    ] {
        module.insert(name.into(), value);
    }
}

fn add_spec(module: &mut Object, spec: &ModuleSpec, state: &ModuleState) {
    let mut settings = Object::new();
    settings.insert("image".into(), json!(spec.image.as_str()));
    settings.insert("imageHash".into(), json!(state.image_id));
    if let Some(digest) = spec.image.digest_beside() {
        settings.insert("digest".into(), json!(digest));
    }
    for (name, piece) in pieces(&without_secrets(&spec.create_options)) {
        settings.insert(name, json!(piece));
    }
    let hidden = |name: &String| (name.clone(), json!({"value": "***"}));
    let env: Object = spec.env.keys().map(hidden).collect();
    let order = Some(spec.startup_order).filter(|order| *order != LAST);
    for (name, value) in [
        ("status", Some(json!(spec.status.as_str()))),
        ("restartPolicy", Some(json!(restart_policy_word(spec.restart_policy)))),
        ("imagePullPolicy", Some(json!(spec.pull_policy.as_str()))),
        ("startupOrder", order.map(|order| json!(order))),
        ("type", Some(json!("docker"))),
        ("settings", Some(Value::Object(settings))),
        ("env", Some(Value::Object(env))),
        ("version", Some(json!(spec.version))),
    ] {
        value.into_iter().for_each(|value| _ = module.insert(name.into(), value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::agent::diff::diff;

    fn report<'a>(
        deployment: &'a Result<Manifest, Rejected>,
        states: &'a BTreeMap<String, ModuleState>,
    ) -> Report<'a> {
        Report {
            version: "0.1.0",
            engine_version: "28",
            architecture: "x86_64",
            started: Duration::from_secs(1_700_000_000),
            desired_version: 7,
            deployment,
            outcome: (200, ""),
            states,
            is_last: false,
        }
    }

    fn deployment() -> Result<Manifest, Rejected> {
        Manifest::parse(
            &json!({
                "schemaVersion": "1.1",
                "runtime": {"type": "docker", "settings": {"registryCredentials": {
                    "r": {"address": "r.io", "username": "u", "password": "s3cret1"},
                }}},
                "systemModules": {"edgeHub": {"settings": {"image": "hub:1"}}},
                "modules": {
                    "m": {
                        "type": "docker", "status": "running", "startupOrder": 2, "version": "1.0",
                        "settings": {"image": "i", "createOptions": {"Env": ["K=s3cret2"]}},
                        "env": {"PASSWORD": {"value": "s3cret3"}},
                    },
                    "bad": {"type": "docker"},
                },
            }),
            None,
        )
    }

    #[test]
    fn the_document_has_the_shape_of_iot_edge_and_no_secrets() {
        let states: BTreeMap<String, ModuleState> = [(
            "m".to_owned(),
            ModuleState {
                status: ModuleStatus::Running,
                started: Some(Duration::from_secs(1_700_000_060)),
                image_id: "sha256:1".into(),
                ..ModuleState::default()
            },
        )]
        .into();
        let deployment = deployment();
        let document = document(&report(&deployment, &states), &Value::Null);
        assert_eq!(document["lastDesiredVersion"], 7);
        assert_eq!(document["lastDesiredStatus"], json!({"code": 200, "description": ""}));
        assert_eq!(document["systemModules"]["edgeHub"]["runtimeStatus"], "running");
        assert_eq!(document["systemModules"]["edgeHub"]["settings"]["image"], "hub:1");
        assert_eq!(document["systemModules"]["edgeAgent"]["runtimeStatus"], "running");
        assert_eq!(
            document["modules"]["m"],
            json!({
                "exitCode": 0, "statusDescription": "",
                "lastStartTimeUtc": "2023-11-14T22:14:20Z",
                "lastExitTimeUtc": NEVER, "restartCount": 0, "lastRestartTimeUtc": NEVER,
                "runtimeStatus": "running", "status": "running",
                "restartPolicy": "on-unhealthy", "imagePullPolicy": "on-create", "type": "docker",
                "version": "1.0", "startupOrder": 2,
                "settings": {"image": "i:latest", "imageHash": "sha256:1",
                             "createOptions": "{\"Env\":[\"K=***\"]}"},
                "env": {"PASSWORD": {"value": "***"}},
            })
        );
        assert_eq!(document["runtime"]["settings"]["registryCredentials"], json!({}));
        let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(
            names(&document),
            [
                "schemaVersion",
                "version",
                "lastDesiredVersion",
                "lastDesiredStatus",
                "runtime",
                "systemModules",
                "modules"
            ],
        );
        let common = [
            "exitCode",
            "statusDescription",
            "lastStartTimeUtc",
            "lastExitTimeUtc",
            "restartCount",
            "lastRestartTimeUtc",
            "runtimeStatus",
            "status",
            "restartPolicy",
            "imagePullPolicy",
            "startupOrder",
            "type",
            "settings",
            "env",
        ];
        assert_eq!(names(&document["modules"]["m"])[..14], common);
        assert_eq!(names(&document["systemModules"]["edgeHub"]), common);
        let of_agent = names(&document["systemModules"]["edgeAgent"]);
        for absent in ["status", "restartPolicy", "restartCount", "lastRestartTimeUtc", "version"] {
            assert!(!of_agent.contains(&absent.to_owned()), "{absent}");
        }
        assert_eq!(document["modules"]["bad"]["runtimeStatus"], "failed");
        assert!(!document.to_string().contains("s3cret"), "{document}");
    }

    #[test]
    fn a_deployment_that_cannot_be_read_leaves_what_was_reported_of_modules() {
        let mut states = BTreeMap::new();
        states.insert("m".to_owned(), ModuleState::default());
        let good = deployment();
        let before = document(&report(&good, &states), &Value::Null);
        states.get_mut("m").unwrap().status = ModuleStatus::Backoff;
        let bad = Err(Rejected::Empty);
        let changed = Report { outcome: (417, "empty"), ..report(&bad, &states) };
        let patch = diff(&before, &document(&changed, &before)).unwrap();
        assert_eq!(
            patch,
            json!({
                "lastDesiredStatus": {"code": 417, "description": "empty"},
                "modules": {"m": {"runtimeStatus": "backoff"}},
            })
        );
    }

    #[test]
    fn a_deployment_that_cannot_be_read_deletes_nothing() {
        let (bad, states) = (Err(Rejected::Empty), BTreeMap::new());
        let document = document(&report(&bad, &states), &json!({}));
        assert!(document.get("modules").is_none() && document.get("runtime").is_none());
    }

    #[test]
    fn the_last_report_says_that_nobody_watches() {
        let (deployment, states) = (deployment(), BTreeMap::new());
        let last = Report { is_last: true, outcome: (406, "x"), ..report(&deployment, &states) };
        let document = document(&last, &Value::Null);
        assert_eq!(document["modules"]["m"]["runtimeStatus"], "unknown");
        assert_eq!(document["systemModules"]["edgeHub"]["runtimeStatus"], "unknown");
    }
}
