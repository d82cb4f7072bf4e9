//! What is merged, what is kept, and what makes a container anew.

use super::*;
use crate::domain::agent::manifest::parse_module;

pub(super) fn around() -> Surroundings {
    Surroundings {
        instance: "i1".into(),
        network: "edge-runtime".into(),
        extra_host: Some(("gw".into(), "172.20.0.1".into())),
        state: "/s".into(),
        hub: "hub.local".into(),
        device: "edge-1".into(),
        gateway_hostname: "gw".into(),
        parent_hostname: None,
        allow_elevated: true,
    }
}

pub(super) fn spec(module: Value) -> ModuleSpec {
    let mut whole = json!({"type": "docker", "status": "running", "settings": {"image": "a:1"}});
    for (name, value) in module.as_object().unwrap() {
        whole[name] = value.clone();
    }
    parse_module("sensor", &whole, "m", None).unwrap()
}

fn with_options(options: Value) -> Value {
    let spec = spec(json!({"settings": {"image": "a:1", "createOptions": options}}));
    Body::new(&spec, &around()).for_generation("g1")
}

#[test]
fn a_plain_module_gets_what_it_needs_and_no_more() {
    let body = with_options(json!({}));
    let env: Vec<&str> = body["Env"].as_array().unwrap().iter().flat_map(Value::as_str).collect();
    assert_eq!(
        env,
        [
            "IOTEDGE_APIVERSION=2021-12-07",
            "IOTEDGE_AUTHSCHEME=sasToken",
            "IOTEDGE_DEVICEID=edge-1",
            "IOTEDGE_GATEWAYHOSTNAME=gw",
            "IOTEDGE_IOTHUBHOSTNAME=hub.local",
            "IOTEDGE_MODULEID=sensor",
            "IOTEDGE_WORKLOADURI=unix:///run/edge-runtime/workload/s.sock",
            "RuntimeLogLevel=Information",
            "IOTEDGE_MODULEGENERATIONID=g1",
        ]
    );
    assert_eq!(
        body["HostConfig"],
        json!({
            "NetworkMode": "edge-runtime",
            "ExtraHosts": ["gw:172.20.0.1"],
            "Binds": ["/s/workload/sensor:/run/edge-runtime/workload"],
        })
    );
    let endpoints = json!({"EndpointsConfig": {"edge-runtime": {"Aliases": ["sensor"]}}});
    assert_eq!(body["NetworkingConfig"], endpoints);
    assert_eq!(body["Image"], "a:1");
    assert_eq!(body["Labels"][INSTANCE], "i1");
    assert_eq!(body["Labels"][MODULE], "sensor");
    assert_eq!(body["Labels"][GENERATION], "g1");
    assert_eq!(body["Labels"].as_object().unwrap().len(), 5);
}

#[test]
fn nothing_of_create_options_is_lost_and_what_the_user_chose_is_kept() {
    let body = with_options(json!({
        "hostname": "h", "Cmd": "sh", "FutureTopLevel": {"deep": [1, {"x": null}]},
        "labels": {"mine": "1", "io.edge-runtime.module": "forged"},
        "hostconfig": {
            "NanoCPUs": 5, "FutureKnob": true, "RestartPolicy": {"Name": "odd"},
            "binds": ["/data:/data:z"], "ExtraHosts": ["db:10.0.0.1"],
            "LogConfig": {"Type": "journald"}, "PortBindings": {"80/tcp": [{"HostPort": "80"}]},
        },
        "Image": "forged",
    }));
    assert_eq!(body["hostname"], "h");
    assert_eq!(body["Cmd"], "sh");
    assert_eq!(body["FutureTopLevel"], json!({"deep": [1, {"x": null}]}));
    let host = &body["HostConfig"];
    assert_eq!((&host["NanoCPUs"], &host["FutureKnob"]), (&json!(5), &json!(true)));
    assert!(host.get("RestartPolicy").is_none(), "the module's own restartPolicy counts");
    let binds = json!(["/data:/data:z", "/s/workload/sensor:/run/edge-runtime/workload"]);
    assert_eq!(host["Binds"], binds);
    assert_eq!(host["ExtraHosts"], json!(["db:10.0.0.1", "gw:172.20.0.1"]));
    assert_eq!(host["LogConfig"], json!({"Type": "journald"}));
    assert_eq!(host["PortBindings"]["80/tcp"][0]["HostPort"], "80");
    assert_eq!((&body["Labels"]["mine"], &body["Labels"][MODULE]), (&json!("1"), &json!("sensor")));
    assert_eq!(body["Image"], "a:1");
    assert!(body.get("hostconfig").is_none() && body.get("labels").is_none());
}

#[test]
fn a_chosen_network_is_kept_and_hosts_are_added_where_there_is_a_hosts_file() {
    let host = |options: Value| with_options(options)["HostConfig"].clone();
    let on_host = with_options(json!({"HostConfig": {"NetworkMode": "host"}}));
    assert_eq!(on_host["HostConfig"]["NetworkMode"], "host");
    assert_eq!(on_host["HostConfig"]["ExtraHosts"], json!(["gw:172.20.0.1"]));
    assert!(on_host.get("NetworkingConfig").is_none());
    assert!(
        host(json!({"HostConfig": {"NetworkMode": "container:x"}})).get("ExtraHosts").is_none()
    );
    let own = with_options(json!({"NetworkingConfig": {"EndpointsConfig": {"n": {"IPv4": 1}}}}));
    assert!(own["HostConfig"].get("NetworkMode").is_none());
    assert_eq!(own["NetworkingConfig"], json!({"EndpointsConfig": {"n": {"IPv4": 1}}}));
    let known = host(json!({"HostConfig": {"ExtraHosts": ["GW:1.2.3.4"]}}));
    assert_eq!(known["ExtraHosts"], json!(["GW:1.2.3.4"]), "the user's entry is kept");
}

#[test]
fn create_options_env_wins_over_the_modules_which_wins_over_ours() {
    let spec = spec(json!({
        "settings": {"image": "a", "createOptions": {"Env": ["A=opt=x", "B", "", "IOTEDGE_DEVICEID=d"]}},
        "env": {"A": {"value": "mod"}, "IOTEDGE_GATEWAYHOSTNAME": {"value": "mine"},
                "runtimeLogLevel": {"value": "debug"}},
    }));
    let body = Body::new(&spec, &around()).for_generation("g");
    let env = body["Env"].as_array().unwrap();
    for entry in [
        "A=opt=x",
        "B=",
        "IOTEDGE_DEVICEID=d",
        "IOTEDGE_GATEWAYHOSTNAME=mine",
        "runtimeLogLevel=debug",
    ] {
        assert!(env.contains(&json!(entry)), "{entry} in {env:?}");
    }
    let names = env.iter().flat_map(Value::as_str).filter_map(|entry| entry.split('=').next());
    let unique: std::collections::BTreeSet<&str> = names.collect();
    assert_eq!(unique.len(), env.len(), "no name twice");
    assert!(!unique.contains("RuntimeLogLevel"));
}

#[test]
fn the_hash_changes_with_what_the_engine_is_asked_for_and_with_nothing_else() {
    let hash = |module: Value| Body::new(&spec(module), &around()).hash;
    let plain = hash(json!({}));
    for same in [
        json!({"restartPolicy": "always"}),
        json!({"startupOrder": 1}),
        json!({"imagePullPolicy": "never"}),
        json!({"version": "2"}),
        json!({"status": "stopped"}),
        json!({"settings": {"image": " a:1 ", "createOptions": "null"}}),
    ] {
        assert_eq!(hash(same.clone()), plain, "{same}");
    }
    for other in [
        json!({"settings": {"image": "a:2"}}),
        json!({"env": {"A": {"value": ""}}}),
        json!({"settings": {"image": "a:1", "createOptions": {"Unknown": 1}}}),
    ] {
        assert_ne!(hash(other.clone()), plain, "{other}");
    }
    let options = |options: &str| json!({"settings": {"image": "a:1", "createOptions": options}});
    let one = hash(options(r#"{"A":1,"HostConfig":{"B":2,"C":3}}"#));
    assert_eq!(one, hash(options(r#"{"HostConfig":{"C":3,"B":2},"A":1}"#)), "order is no change");
    let lower = hash(options(r#"{"a":1,"hostconfig":{"b":2,"c":3}}"#));
    assert_eq!(one, lower, "nor is the case of a name");
    assert_ne!(hash(options(r#"{"Labels":{"A":"1"}}"#)), hash(options(r#"{"Labels":{"a":"1"}}"#)));
    let moved = Surroundings { extra_host: Some(("gw".into(), "172.21.0.1".into())), ..around() };
    assert_ne!(Body::new(&spec(json!({})), &moved).hash, plain, "the gateway has moved");
}
