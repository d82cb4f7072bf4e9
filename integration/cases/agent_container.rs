//! Cases of containers: what the engine is asked to create, and what its words mean.

use std::collections::BTreeMap;

use edge_runtime::domain::agent::body::{Body, Surroundings};
use edge_runtime::domain::agent::manifest::ModuleSpec;
use edge_runtime::domain::agent::names::WORKLOAD_MOUNT;
use edge_runtime::domain::agent::observed::{Observed, Phase};
use serde_json::{Value, json};

use super::agent_config::spec;
use super::{Verdict, equal, text};

pub(super) fn judge(area: &str, given: &Value, expect: &Value) -> Verdict {
    let is_system = text(given, "module").starts_with("edge");
    match area {
        "container.status" => {
            let phase = Phase::parse(text(given, "docker_status"));
            let exit_code = given["exit_code"].as_i64();
            let observed = Observed { phase, exit_code, ..Observed::default() };
            equal(&observed.status().as_str(), &text(expect, "module_status"))
        }
        "container.env_merge" if given.get("module_env").is_some() => env_merge(given, expect),
        "container.env_merge" => Verdict::Otherwise("the-users-env-wins"),
        _ if is_system => Verdict::Otherwise("system-modules-are-this-process"),
        "container.env_inject" => env_inject(given, expect),
        "container.config" => config(given, expect),
        "container.caps" => caps(given, expect),
        area => Verdict::Fail(format!("area `{area}` is not known here")),
    }
}

fn with_options(name: &str, options: &Value) -> Result<ModuleSpec, String> {
    let settings = json!({"image": "i", "createOptions": options});
    spec(name, json!({"type": "docker", "status": "running", "settings": settings}))
}

/// Whether all of this is in that, as it is.
fn has_all(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => part
            .iter()
            .all(|(name, part)| whole.get(name).is_some_and(|whole| has_all(whole, part))),
        (Value::Array(whole), Value::Array(part)) => part.iter().all(|it| whole.contains(it)),
        (whole, part) => whole == part,
    }
}

/// Sockets, network and names in it, and that nothing of createOptions is lost.
fn config(given: &Value, expect: &Value) -> Verdict {
    let options = &given["create_options"];
    let name = text(given, "module");
    let Ok(spec) = with_options(name, options) else { return Verdict::Fail("refused".into()) };
    let network = given["network"].as_str().unwrap_or("n").to_owned();
    let body = Body::new(&spec, &Surroundings { network, ..around(given) }).for_generation("1");
    if options.is_object() && !has_all(&body, options) {
        return Verdict::Fail(format!("{body} has not all of {options}"));
    }
    let endpoints = &body["NetworkingConfig"]["EndpointsConfig"];
    if let Some(wanted) = expect.get("endpoints") {
        let is_given = has_all(options, &json!({"NetworkingConfig": {"EndpointsConfig": wanted}}));
        if is_given || wanted.is_null() {
            return equal(&(is_given || endpoints.is_null()), &true); // the deployment's own
        }
        let mut ours = endpoints.clone();
        for (network, endpoint) in wanted.as_object().into_iter().flatten() {
            if endpoint["Aliases"].is_null() && ours[network]["Aliases"] == json!([name]) {
                ours[network]["Aliases"] = Value::Null;
                return match ours == *wanted {
                    true => Verdict::Otherwise("a-modules-name-is-an-alias"),
                    false => equal(&ours, wanted),
                };
            }
        }
        return equal(endpoints, wanted);
    }
    let binds = body["HostConfig"]["Binds"].as_array().into_iter().flatten();
    let is_mounted = |bind: &Value| bind.as_str().is_some_and(|it| it.ends_with(WORKLOAD_MOUNT));
    match binds.into_iter().any(is_mounted) {
        true if expect.get("binds").is_some() => Verdict::Otherwise("workload-directories"),
        true if expect.get("labels").is_some() => Verdict::Otherwise("labels-are-ours"),
        is_mounted => equal(&is_mounted, &true),
    }
}

fn caps(given: &Value, expect: &Value) -> Verdict {
    let mut host = json!({});
    for (name, key) in
        [("Privileged", "privileged"), ("CapAdd", "cap_add"), ("CapDrop", "cap_drop")]
    {
        if !given[key].is_null() {
            host[name] = given[key].clone();
        }
    }
    let spec = with_options("m", &json!({ "HostConfig": host }));
    let Ok(spec) = spec else { return Verdict::Fail("refused".into()) };
    let allow_elevated = given["allow_elevated"].as_bool().unwrap_or_default();
    let around = Surroundings { allow_elevated, ..around(given) };
    let body = Body::new(&spec, &around).for_generation("1");
    let host = &body["HostConfig"];
    let ours = json!({
        "privileged": host["Privileged"], "cap_add": host["CapAdd"], "cap_drop": host["CapDrop"],
    });
    equal(&ours, expect)
}

pub(super) fn around(given: &Value) -> Surroundings {
    Surroundings {
        instance: "i".into(),
        network: "n".into(),
        extra_host: None,
        state: "/s".into(),
        hub: "MyTestIoTHub".into(),
        device: "MyEdgeDeviceId".into(),
        gateway_hostname: text(given, "device_hostname").into(),
        parent_hostname: given["parent_hostname"].as_str().map(str::to_owned),
        allow_elevated: true,
    }
}

fn env_of(spec: &ModuleSpec, given: &Value) -> BTreeMap<String, String> {
    let body = Body::new(spec, &around(given)).for_generation("moduleGenerationId1");
    let env = body["Env"].as_array().cloned().unwrap_or_default();
    let pairs = env.iter().filter_map(Value::as_str).filter_map(|it| it.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn user_env(env: &Value) -> Value {
    let env = env.as_object().into_iter().flatten();
    env.map(|(name, value)| (name.clone(), json!({"value": value}))).collect()
}

fn env_merge(given: &Value, expect: &Value) -> Verdict {
    let options = match &given["create_options_env"] {
        Value::Null => json!({}),
        env => json!({"Env": env}),
    };
    let settings = json!({"image": "i", "createOptions": options});
    let env = user_env(&given["module_env"]);
    let module = json!({"type": "docker", "status": "running", "settings": settings, "env": env});
    let Ok(spec) = spec("m", module) else { return Verdict::Fail("refused".into()) };
    let env = env_of(&spec, given).into_iter();
    let own = env.filter(|(name, _)| !name.starts_with("IOTEDGE_") && name != "RuntimeLogLevel");
    let own: Vec<String> = own.map(|(name, value)| format!("{name}={value}")).collect();
    equal(&json!(own), &expect["env"])
}

/// Names and values, but for what is this runtime's own: its socket, its API version, and the
/// protocol, which it leaves to the module.
fn env_inject(given: &Value, expect: &Value) -> Verdict {
    const OWN: [&str; 4] =
        ["IOTEDGE_WORKLOADURI", "IOTEDGE_AUTHSCHEME", "IOTEDGE_APIVERSION", "UpstreamProtocol"];
    let env = user_env(&given["user_env"]);
    let settings = json!({"image": "i"});
    let module = json!({"type": "docker", "status": "running", "settings": settings, "env": env});
    let Ok(spec) = spec(text(given, "module"), module) else {
        return Verdict::Fail("refused".into());
    };
    let env = env_of(&spec, given);
    let wanted = expect["env"].as_object().into_iter().flatten();
    for (name, value) in wanted.filter(|(name, _)| !OWN.contains(&name.as_str())) {
        if env.get(name).map(String::as_str) != value.as_str() {
            return Verdict::Fail(format!("{name}: {:?}, not {value}", env.get(name)));
        }
    }
    let mut absent = expect["absent"].as_array().into_iter().flatten().filter_map(Value::as_str);
    equal(&absent.find(|name| env.contains_key(*name)), &None)
}
