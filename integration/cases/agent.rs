//! Cases of EdgeAgent: manifests, images, createOptions, containers, restarts, simple plans.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use edge_runtime::domain::agent::body::{Body, Surroundings};
use edge_runtime::domain::agent::create_options;
use edge_runtime::domain::agent::image::{ImageName, expand_upstream, is_registry, registry_of};
use edge_runtime::domain::agent::manifest::{Manifest, ModuleSpec, Rejected};
use edge_runtime::domain::agent::observed::{Observed, Phase};
use edge_runtime::domain::agent::restarts::{Found, INTENSITY, Next, Restarts, UNIT};
use edge_runtime::domain::agent::words::{restart_policy, restart_policy_word};
use edge_runtime::domain::restart::{Exit, RestartPolicy};
use serde_json::{Map, Value, json};

use super::{Table, Verdict, equal, text};
use super::{agent_methods, agent_plan};

pub(super) fn judge(_: &Table, case: &Value) -> Verdict {
    let (given, expect) = (&case["given"], &case["expect"]);
    match text(case, "area") {
        "image.parse" => {
            let image = ImageName::parse(text(given, "image"), None).ok();
            equal(&image.map(|it| it.to_string()), &expect["image"].as_str().map(str::to_owned))
        }
        "image.upstream" => {
            let result = expand_upstream(text(given, "uri"), parent(given)).ok();
            equal(&result, &expect["result"].as_str().map(str::to_owned))
        }
        "registry.host" => equal(&registry_of(text(given, "image")), &expect["registry"].as_str()),
        "registry.auth" => {
            let registry = registry_of(text(given, "image")).unwrap_or_default();
            let auths = given["auths"].as_array().into_iter().flatten();
            let mut auths = auths.filter_map(Value::as_str);
            let selected = auths.position(|it| is_registry(it, registry)).map(|it| it as u64);
            equal(&selected, &expect["selected_index"].as_u64())
        }
        "create_options.parse" => parse_options(given, expect),
        "create_options.chunks" => chunks(given, expect),
        "config.module" => config_module(given, expect),
        "config.schema_version" => {
            let root = with(|root| root["schemaVersion"] = given["schemaVersion"].clone());
            by_code(&root, expect)
        }
        "config.root" => config_root(given, expect),
        "config.registry_credentials" => credentials(given, expect),
        "container.status" => {
            let phase = Phase::parse(text(given, "docker_status"));
            let exit_code = given["exit_code"].as_i64();
            let observed = Observed { phase, exit_code, ..Observed::default() };
            equal(&observed.status().as_str(), &text(expect, "module_status"))
        }
        "container.env_merge" if given.get("module_env").is_some() => env_merge(given, expect),
        "container.env_merge" => Verdict::Otherwise("the-users-env-wins"),
        "container.env_inject" if text(given, "module").starts_with("edge") => {
            Verdict::Otherwise("system-modules-are-this-process")
        }
        "container.env_inject" => env_inject(given, expect),
        "container.config" => Verdict::Otherwise("workload-directories"),
        "container.caps" => Verdict::Otherwise("no-daemon"),
        "restart.cool_off" => {
            let count = given["restart_count"].as_u64().unwrap_or_default() as u32;
            let seconds = INTENSITY.backoff.delay(count).as_secs();
            equal(&Some(seconds), &expect["seconds"].as_u64())
        }
        "restart.compute_status" => compute_status(given, expect),
        "restart.apply" => apply_restart(given, expect),
        "restart.config" => Verdict::Otherwise("restart-numbers-are-fixed"),
        "outcome" => outcome(given, expect),
        "equality.config" => equality(given, expect),
        "equality.module" | "diff" => Verdict::Otherwise("made-anew-only-for-what-matters"),
        "equality.edge_agent"
        | "identity"
        | "backup"
        | "api.auth"
        | "api.errors"
        | "connection.reprovision"
        | "connection.protocol" => Verdict::Otherwise("no-daemon"),
        "config.patch" => Verdict::Otherwise("twins-take-patches"),
        "equality.deployment" => Verdict::Otherwise("plans-by-what-is-there"),
        area if area.starts_with("plan") => agent_plan::judge(area, given, expect),
        area if area.starts_with("request") || area.starts_with("logs") => {
            agent_methods::judge(area, given, expect)
        }
        area => Verdict::Fail(format!("area `{area}` is not known here")),
    }
}

fn parent(given: &Value) -> Option<&str> {
    given["env"]["IOTEDGE_GATEWAYHOSTNAME"].as_str()
}

/// A whole document, changed.
fn with(change: impl FnOnce(&mut Value)) -> Value {
    let mut root = json!({
        "schemaVersion": "1.1", "runtime": {"type": "docker", "settings": {}},
        "systemModules": {}, "modules": {},
    });
    change(&mut root);
    root
}

fn by_code(root: &Value, expect: &Value) -> Verdict {
    let code = Manifest::parse(root, None).err().map(|rejected| u64::from(rejected.code()));
    equal(&code, &expect["code"].as_u64())
}

/// The module of this JSON, as it is read.
pub(super) fn spec(name: &str, module: Value) -> Result<ModuleSpec, String> {
    let root = with(|root| root["modules"] = json!({ name: module }));
    let mut manifest = Manifest::parse(&root, None).map_err(|it| it.to_string())?;
    let spec = manifest.modules.remove(name).ok_or("no such module")?;
    spec.map_err(|invalid| invalid.to_string())
}

fn config_module(given: &Value, expect: &Value) -> Verdict {
    let spec = spec("m", given["module"].clone());
    let Some(true) = expect["valid"].as_bool() else {
        return equal(&spec.is_err(), &true);
    };
    let Ok(spec) = spec else { return Verdict::Fail(format!("{spec:?}")) };
    let env: BTreeMap<&String, Value> =
        spec.env.iter().map(|(name, value)| (name, json!({"value": value}))).collect();
    let ours = json!({
        "status": spec.status.as_str(), "version": spec.version,
        "restartPolicy": restart_policy_word(spec.restart_policy),
        "imagePullPolicy": spec.pull_policy.as_str(), "startupOrder": spec.startup_order,
        "env": env, "createOptions": spec.create_options, "image": spec.image.as_str(),
    });
    let wanted = expect
        .as_object()
        .into_iter()
        .flatten()
        .chain(expect["defaults"].as_object().into_iter().flatten());
    let mut wanted = wanted.filter(|(name, _)| ours.get(name.as_str()).is_some());
    let different = wanted.find(|(name, value)| match name.as_str() {
        "env" => false, // cases write it in their own short form
        name => ours[name] != **value,
    });
    match different {
        Some((name, value)) => Verdict::Fail(format!("{name}: {}, not {value}", ours[name])),
        None => Verdict::Pass,
    }
}

fn config_root(given: &Value, expect: &Value) -> Verdict {
    let root = with(|root| {
        if let Some(missing) = given["missing"].as_str() {
            root.as_object_mut().and_then(|it| it.remove(missing));
        }
        if let Some(kind) = given["runtime_type"].as_str() {
            root["runtime"]["type"] = json!(kind);
        }
    });
    if given.get("missing").is_none() && given.get("runtime_type").is_none() {
        return match given.get("desired") {
            Some(desired) => by_code(desired, expect),
            None => Verdict::Otherwise("one-bad-module-is-named"),
        };
    }
    by_code(&root, expect)
}

fn credentials(given: &Value, expect: &Value) -> Verdict {
    let root = with(|root| {
        root["runtime"]["settings"]["registryCredentials"] = json!({"r": given["credential"]});
    });
    match Manifest::parse(&root, parent(given)) {
        Err(rejected) => equal(&Some(u64::from(rejected.code())), &expect["code"].as_u64()),
        Ok(manifest) if expect["address"].is_string() => {
            equal(&manifest.credentials[0].address.as_str(), &text(expect, "address"))
        }
        Ok(_) => equal(&true, &expect["valid"].as_bool().unwrap_or_default()),
    }
}

fn parse_options(given: &Value, expect: &Value) -> Verdict {
    let settings: Map<String, Value> =
        [("createOptions".to_owned(), given["create_options"].clone())].into_iter().collect();
    let options = create_options::parse(&settings, "s");
    match (&options, expect.get("parsed")) {
        (Ok(options), Some(parsed)) => equal(&Value::Object(options.clone()), parsed),
        _ => equal(&options.is_ok(), &expect["valid"].as_bool().unwrap_or_default()),
    }
}

fn chunks(given: &Value, expect: &Value) -> Verdict {
    if let Some(length) = given["serialize_length_chars"].as_u64() {
        let filler = "x".repeat((length as usize).saturating_sub(r#"{"a":""}"#.len()));
        let options: Map<String, Value> = [("a".to_owned(), json!(filler))].into_iter().collect();
        let names: Vec<String> =
            create_options::pieces(&options).into_iter().map(|(name, _)| name).collect();
        return equal(&json!(names), &expect["keys"]);
    }
    let keys = given["keys"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut keys: Vec<&str> = keys.collect();
    keys.sort_unstable();
    let last = keys.len().saturating_sub(1);
    let piece = |at: usize| match (at, at == last) {
        (0, true) => "{}",
        (0, false) => "{",
        (_, true) => "}",
        _ => " ",
    };
    let pieces = keys.iter().enumerate().map(|(at, key)| ((*key).to_owned(), json!(piece(at))));
    let options = create_options::parse(&pieces.collect(), "s");
    equal(&options.is_ok(), &expect["valid"].as_bool().unwrap_or_default())
}

fn around(given: &Value) -> Surroundings {
    Surroundings {
        instance: "i".into(),
        network: "n".into(),
        extra_host: None,
        state: "/s".into(),
        hub: "MyTestIoTHub".into(),
        device: "MyEdgeDeviceId".into(),
        gateway_hostname: text(given, "device_hostname").into(),
        parent_hostname: given["parent_hostname"].as_str().map(str::to_owned),
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

fn exit_of(status: &str) -> Option<Exit> {
    match status {
        "stopped" => Some(Exit::Normal),
        "failed" => Some(Exit::Failed),
        "unhealthy" => Some(Exit::Unhealthy),
        _ => None,
    }
}

#[expect(clippy::disallowed_methods, reason = "any point in time will do")]
fn any_time() -> Instant {
    Instant::now()
}

fn compute_status(given: &Value, expect: &Value) -> Verdict {
    let count = given["restart_count"].as_u64().unwrap_or_default();
    if count >= given["max_restart_count"].as_u64().unwrap_or(u64::MAX)
        && text(expect, "module_status") == "failed"
    {
        return Verdict::Otherwise("never-given-up");
    }
    let Some(exit) = exit_of(text(given, "container_status")) else {
        return Verdict::Otherwise("status-is-what-is-seen");
    };
    let Some(policy) = restart_policy(text(given, "policy")) else {
        return Verdict::Otherwise("status-is-what-is-seen");
    };
    if exit == Exit::Unhealthy && policy == RestartPolicy::OnFailure {
        return Verdict::Otherwise("health-is-on-unhealthys");
    }
    let mut restarts = Restarts::new(policy, UNIT);
    let status = match restarts.on_ended(exit, any_time()) {
        Next::Rest(status) | Next::Again(_, status) => status,
    };
    equal(&status.as_str(), &text(expect, "module_status"))
}

fn apply_restart(given: &Value, expect: &Value) -> Verdict {
    let policy = restart_policy(text(given, "policy"));
    let ago = given["last_exit_age_s"].as_u64();
    let (Some(policy), Some(ago), "backoff") = (policy, ago, text(given, "module_status")) else {
        return Verdict::Otherwise("restarts-are-timers");
    };
    let (mut restarts, now) = (Restarts::new(policy, UNIT), any_time());
    for _ in 0..given["restart_count"].as_u64().unwrap_or_default() {
        restarts.on_ended(Exit::Failed, now);
    }
    let next = {
        let found =
            Found { ago: Duration::from_secs(ago), is_counted: false, is_before_boot: false };
        restarts.on_found_ended(Exit::Failed, found, now)
    };
    let starts_now = matches!(next, Next::Again(Duration::ZERO, _));
    let wanted = expect["restart_now"].as_bool().unwrap_or_default();
    if starts_now != wanted && matches!(next, Next::Rest(_) | Next::Again(Duration::ZERO, _)) {
        return Verdict::Otherwise("restarts-are-timers"); // to the second; or another policy
    }
    equal(&starts_now, &wanted)
}

fn outcome(given: &Value, expect: &Value) -> Verdict {
    let rejected = match text(given, "config_exception") {
        "InvalidSchemaVersion" => Rejected::SchemaVersion(String::new()),
        "ConfigEmpty" => Rejected::Empty,
        "ConfigFormat" => {
            let root = with(|root| root["modules"] = json!([]));
            let Err(rejected) = Manifest::parse(&root, None) else {
                return Verdict::Fail("accepted".into());
            };
            rejected
        }
        _ => return Verdict::Otherwise("outcome-by-what-is-there"),
    };
    equal(&Some(u64::from(rejected.code())), &expect["code"].as_u64())
}

fn equality(given: &Value, expect: &Value) -> Verdict {
    let hash = |side: &str| {
        let side = &given[side];
        let settings = json!({"image": side["image"], "createOptions": side["create_options"]});
        let module = json!({"type": "docker", "status": "running", "settings": settings});
        spec("m", module).map(|spec| Body::new(&spec, &around(given)).hash)
    };
    match (hash("a"), hash("b")) {
        (Ok(a), Ok(b)) if expect.get("equal").is_some() => {
            equal(&(a == b), &expect["equal"].as_bool().unwrap_or_default())
        }
        _ => Verdict::Otherwise("made-anew-only-for-what-matters"),
    }
}
