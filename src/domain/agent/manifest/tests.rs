//! Tables: documents, and what is made of them.

use serde_json::{Value, json};

use super::*;
use crate::domain::agent::words::{DesiredStatus, PullPolicy};
use crate::domain::restart::RestartPolicy;

fn document(modules: Value) -> Value {
    json!({
        "schemaVersion": "1.1",
        "runtime": {"type": "docker", "settings": {"minDockerVersion": "v1.25"}},
        "systemModules": {
            "edgeAgent": {"type": "docker", "settings": {"image": "agent:1.5"}},
            "edgeHub": {
                "type": "docker", "status": "running", "restartPolicy": "always",
                "settings": {"image": "hub:1.5"}, "env": {"OptimizeForPerformance": {"value": "x"}},
            },
        },
        "modules": modules,
    })
}

fn module_with(change: Value) -> Value {
    let mut module = json!({
        "type": "docker", "status": "running", "settings": {"image": "image1:ver1"},
    });
    for (name, value) in change.as_object().unwrap() {
        module[name] = value.clone();
    }
    module
}

#[test]
fn a_plain_module_gets_the_defaults() {
    let manifest = Manifest::parse(&document(json!({"m": module_with(json!({}))})), None).unwrap();
    let module = manifest.modules["m"].as_ref().unwrap();
    assert_eq!(module.image.as_str(), "image1:ver1");
    assert_eq!(module.status, DesiredStatus::Running);
    assert_eq!(module.restart_policy, RestartPolicy::OnUnhealthy);
    assert_eq!(module.pull_policy, PullPolicy::OnCreate);
    assert_eq!((module.startup_order, module.version.as_str()), (u32::MAX, ""));
    assert!(module.env.is_empty() && module.create_options.is_empty());
    assert_eq!(manifest.system["edgeHub"].image, "hub:1.5");
    assert!(manifest.warnings[0].contains("OptimizeForPerformance"), "{:?}", manifest.warnings);
    assert_eq!(manifest.runtime.min_docker_version, "v1.25");
}

#[test]
fn property_names_and_words_are_read_in_any_case() {
    let module = json!({
        "TYPE": "Docker", "Status": "STOPPED", "RestartPolicy": "Always", "ImagePullPolicy": "Never",
        "STARTUPORDER": 3, "Version": "2",
        "Settings": {"IMAGE": "a", "CreateOptions": "{\"Env\":[]}"},
        "Env": {"Port": {"Value": 8080}, "Empty": {"value": null}, "Gone": null},
    });
    let mut document = document(json!({"m": module}));
    document["MODULES"] = document.as_object_mut().unwrap().shift_remove("modules").unwrap();
    let manifest = Manifest::parse(&document, None).unwrap();
    let module = manifest.modules["m"].as_ref().unwrap();
    assert_eq!(module.status, DesiredStatus::Stopped);
    assert_eq!(module.restart_policy, RestartPolicy::Always);
    assert_eq!((module.pull_policy, module.startup_order), (PullPolicy::Never, 3));
    assert_eq!(module.image.as_str(), "a:latest");
    let env: Vec<_> = module.env.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    assert_eq!(env, [("Empty", ""), ("Port", "8080")]);
}

#[test]
fn one_bad_module_is_named_and_the_others_are_read() {
    let good = module_with(json!({}));
    let table = [
        (json!({"type": null}), "modules.bad.type"),
        (json!({"type": "rkt"}), "modules.bad.type"),
        (json!({"status": null}), "modules.bad.status"),
        (json!({"status": "walking"}), "modules.bad.status"),
        (json!({"restartPolicy": null}), "modules.bad.restartPolicy"),
        (json!({"restartPolicy": "sometimes"}), "modules.bad.restartPolicy"),
        (json!({"imagePullPolicy": null}), "modules.bad.imagePullPolicy"),
        (json!({"startupOrder": null}), "modules.bad.startupOrder"),
        (json!({"startupOrder": -1}), "modules.bad.startupOrder"),
        (json!({"startupOrder": 4_294_967_296_u64}), "modules.bad.startupOrder"),
        (json!({"settings": null}), "modules.bad.settings"),
        (json!({"settings": {}}), "modules.bad.settings.image"),
        (json!({"settings": {"image": "a:b:c"}}), "modules.bad.settings.image"),
        (
            json!({"settings": {"image": "a", "createOptions": "{"}}),
            "modules.bad.settings.createOptions",
        ),
        (json!({"env": {"A": {"value": []}}}), "modules.bad.env.A.value"),
        (json!({"env": {"A=B": {"value": ""}}}), "modules.bad.env.A=B"),
    ];
    for (change, place) in table {
        let document = document(json!({"bad": module_with(change.clone()), "good": good}));
        let manifest = Manifest::parse(&document, None).unwrap();
        assert_eq!(manifest.modules["bad"].as_ref().unwrap_err().place, place, "{change}");
        assert!(manifest.modules["good"].is_ok());
    }
    for name in ["edgeHub", "EDGEAGENT", "a b", "é"] {
        let manifest = Manifest::parse(&document(json!({name: good})), None).unwrap();
        assert!(manifest.modules[name].is_err(), "{name}");
    }
}

#[test]
fn what_is_wrong_with_the_whole_document_has_a_code() {
    let change = |name: &str, value: Value| {
        let mut document = document(json!({}));
        document[name] = value;
        document
    };
    let without = |name: &str| {
        let mut document = document(json!({}));
        document.as_object_mut().unwrap().remove(name);
        document
    };
    let table = [
        (Value::Null, Some(417)),
        (json!({}), Some(417)),
        (json!({"$version": 1}), Some(417)),
        (json!([]), Some(400)),
        (without("schemaVersion"), Some(400)),
        (without("runtime"), Some(400)),
        (without("systemModules"), Some(400)),
        (without("modules"), None),
        (change("modules", json!([])), Some(400)),
        (change("runtime", json!({"type": "rkt"})), Some(400)),
        (change("schemaVersion", json!(1.0)), Some(400)),
    ];
    for (document, code) in table {
        let got = Manifest::parse(&document, None).err().map(|error| error.code());
        assert_eq!(got, code, "{document}");
    }
    for (version, served) in [
        ("1.0", true),
        ("1.1", true),
        ("1.1.0", true),
        ("1.0.7", true),
        ("0.1", false),
        ("1", false),
        ("1.1.1", false),
        ("1.2", false),
        ("2.0", false),
        ("2.0.1", false),
        ("", false),
        ("abc", false),
        ("1.x", false),
    ] {
        let got = Manifest::parse(&change("schemaVersion", json!(version)), None);
        assert_eq!(got.err().map(|error| error.code()), (!served).then_some(412), "{version}");
    }
}

#[test]
fn credentials_are_checked_found_by_registry_and_never_shown() {
    let with = |credential: Value| {
        let mut document = document(json!({}));
        document["runtime"]["settings"]["registryCredentials"] = json!({"r": credential});
        Manifest::parse(&document, Some("parent"))
    };
    let whole = json!({"address": "$upstream:8000", "username": "u", "password": "s3cret"});
    let manifest = with(whole.clone()).unwrap();
    assert_eq!(manifest.credential("parent:8000").unwrap().username, "u");
    assert_eq!(manifest.credential("other"), None);
    assert!(!format!("{manifest:?}").contains("s3cret"));
    for missing in ["address", "username", "password"] {
        for value in [Value::Null, json!(" ")] {
            let mut credential = whole.clone();
            credential[missing] = value;
            assert_eq!(with(credential).unwrap_err().code(), 400, "{missing}");
        }
    }
}

#[test]
fn a_module_that_is_told_to_speak_amqp_is_found_out() {
    let env = json!({"env": {"upstreamprotocol": {"value": "AmqpWs"}}});
    let manifest = Manifest::parse(&document(json!({"m": module_with(env)})), None).unwrap();
    assert_eq!(manifest.modules["m"].as_ref().unwrap().speaks_amqp(), Some("upstreamprotocol"));
    let options = |env: &str| json!({ "image": "i:1", "createOptions": { "env": [env] } });
    let speaks = |env: &str| {
        let module = module_with(json!({ "settings": options(env) }));
        let manifest = Manifest::parse(&document(json!({ "m": module })), None).unwrap();
        manifest.modules["m"].as_ref().unwrap().speaks_amqp().map(str::to_owned)
    };
    assert_eq!(speaks("ClientTransportType=AMQP").as_deref(), Some("ClientTransportType"));
    assert_eq!(speaks("ClientTransportType=Mqtt"), None);
    // The sensor of the public samples does so unless it is told otherwise.
    let sensor = |env: Value| {
        let image = "mcr.microsoft.com/azureiotedge-simulated-temperature-sensor:1.5";
        let module = module_with(json!({ "settings": { "image": image }, "env": env }));
        let manifest = Manifest::parse(&document(json!({ "m": module })), None).unwrap();
        manifest.modules["m"].as_ref().unwrap().speaks_amqp().map(str::to_owned)
    };
    assert_eq!(sensor(json!({})).as_deref(), Some("ClientTransportType"));
    assert_eq!(sensor(json!({ "ClientTransportType": { "value": "Mqtt_Tcp_Only" } })), None);
}
