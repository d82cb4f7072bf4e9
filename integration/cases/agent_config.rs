//! Cases of deployments: what is read of modules, settings and images, and what makes another one.

use std::collections::BTreeMap;

use edge_runtime::domain::agent::body::Body;
use edge_runtime::domain::agent::create_options;
use edge_runtime::domain::agent::image::{ImageName, expand_upstream, is_registry, registry_of};
use edge_runtime::domain::agent::manifest::{Manifest, ModuleSpec};
use edge_runtime::domain::agent::observed::{Observed, Phase};
use edge_runtime::domain::agent::plan::Want;
use edge_runtime::domain::agent::preview::preview;
use edge_runtime::domain::agent::words::restart_policy_word;
use serde_json::{Map, Value, json};

use super::agent_container::around;
use super::{Verdict, equal, text};

pub(super) fn judge(area: &str, given: &Value, expect: &Value) -> Verdict {
    match area {
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
        "equality.config" => equality(given, expect),
        "equality.module" => equal_modules(given, expect),
        "equality.deployment" => equal_deployments(given, expect),
        "equality.edge_agent" => equal_agents(given, expect),
        "diff" => diff(given, expect),
        area => Verdict::Fail(format!("area `{area}` is not known here")),
    }
}

fn parent(given: &Value) -> Option<&str> {
    given["env"]["IOTEDGE_GATEWAYHOSTNAME"].as_str()
}

/// A whole document, changed.
pub(super) fn with(change: impl FnOnce(&mut Value)) -> Value {
    let mut root = json!({
        "schemaVersion": "1.1", "runtime": {"type": "docker", "settings": {}},
        "systemModules": {}, "modules": {},
    });
    change(&mut root);
    root
}

fn by_code(root: &Value, expect: &Value) -> Verdict {
    let code = Manifest::parse(root, None).err().map(|rejected| u64::from(rejected.code()));
    let is_valid = expect["valid"].as_bool().unwrap_or(expect["code"].is_null());
    equal(&(code.is_none(), code), &(is_valid, expect["code"].as_u64()))
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

fn equality(given: &Value, expect: &Value) -> Verdict {
    let hash = |side: &str| {
        let side = &given[side];
        let settings = json!({"image": side["image"], "createOptions": side["create_options"]});
        let module = json!({"type": "docker", "status": "running", "settings": settings});
        spec("m", module).map(|spec| Body::new(&spec, &around(given)).hash)
    };
    match (hash("a"), hash("b")) {
        (Ok(a), Ok(b)) => equal(&(a == b), &expect["equal"].as_bool().unwrap_or_default()),
        (a, b) => Verdict::Fail(format!("{a:?}, {b:?}")),
    }
}

/// A module in full.
fn full() -> Value {
    json!({
        "type": "docker", "status": "running", "version": "1", "restartPolicy": "always",
        "startupOrder": 1, "imagePullPolicy": "on-create", "env": {"A": {"value": "1"}},
        "settings": {"image": "i:1", "createOptions": {"HostConfig": {"Binds": ["/a:/b"]}}},
    })
}

/// Changes a part of a module, by the table's name for it.
fn change(module: &mut Value, part: &str) -> Option<()> {
    let part = part.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    let settings = module["settings"].clone();
    let table = [
        ("createoptions", "settings", json!({ "image": settings["image"] })),
        ("pullpolicy", "imagePullPolicy", json!("never")),
        ("restartpolicy", "restartPolicy", json!("never")),
        ("startuporder", "startupOrder", json!(2)),
        ("image", "settings", json!({"image": "i:2", "createOptions": settings["createOptions"]})),
        ("settings", "settings", json!({"image": "i:2"})),
        ("version", "version", json!("2")),
        ("status", "status", json!("stopped")),
        ("type", "type", json!("other")),
        ("env value", "env", json!({"A": {"value": "2"}})),
        ("env", "env", json!({"A": {"value": "1"}, "B": {"value": "1"}})),
    ];
    let value = table.into_iter().find(|(word, ..)| part.contains(word)).map(|it| (it.1, it.2))?;
    module[value.0] = value.1;
    Some(())
}

/// As one deployment follows the other: whether the module is another one.
fn equal_modules(given: &Value, expect: &Value) -> Verdict {
    let (part, mut other) = (text(given, "differs_in"), full());
    let read = |name: &str, module: Value| {
        let root = with(|root| root["modules"] = json!({ name: module }));
        Manifest::parse(&root, None).map(|it| it.modules)
    };
    let name = if part == "name" { "n" } else { "m" };
    if part.contains("configurationInfo") {
        other["configurationInfo"] = json!({"id": "2"});
    } else if part != "name" && !part.contains("nothing") && change(&mut other, part).is_none() {
        return Verdict::Fail(format!("`{part}` is not known here"));
    }
    let ours = read("m", full()) == read(name, other);
    equal(&ours, &expect["equal"].as_bool().unwrap_or_default())
}

fn deployment() -> Value {
    with(|root| {
        root["systemModules"] = json!({"edgeAgent": full(), "edgeHub": full()});
        root["modules"] = json!({"m": full(), "n": full()});
    })
}

/// Changes a deployment, by the table's words for it.
fn change_deployment(root: &mut Value, what: &str) -> Option<()> {
    let remove = |root: &mut Value, from: &str, name: &str| {
        root[from].as_object_mut().and_then(|it| it.remove(name)).map(drop)
    };
    for part in what.split(" and ") {
        match part {
            "nothing" => {}
            "runtime.type" => root["runtime"]["type"] = json!("other"),
            "schemaVersion" => root["schemaVersion"] = json!("1.0"),
            part if part.contains("added") => root["modules"]["new"] = full(),
            part if part.starts_with("runtime.") => {
                root["runtime"]["settings"]["loggingOptions"] = json!("other");
            }
            "one module missing" => remove(root, "modules", "n")?,
            "all modules missing" => root["modules"] = json!({}),
            part if part.contains("missing") => {
                remove(root, "systemModules", part.split_whitespace().next()?)?;
            }
            part if part.starts_with("edge") => {
                change(&mut root["systemModules"][part.split('.').next()?], part)?;
            }
            part => change(&mut root["modules"]["m"], part)?,
        }
    }
    Some(())
}

/// As one deployment follows the other: whether it is another one.
fn equal_deployments(given: &Value, expect: &Value) -> Verdict {
    let (what, mut other) = (text(given, "differs_in"), deployment());
    if change_deployment(&mut other, what).is_none() {
        return Verdict::Fail(format!("`{what}` is not known here"));
    }
    let ours = Manifest::parse(&deployment(), None) == Manifest::parse(&other, None);
    let wanted = expect["equal"].as_bool().unwrap_or_default();
    let is_only_of_system = what.starts_with("edge") && !what.contains(" and ");
    match ours && !wanted && is_only_of_system {
        true => Verdict::Otherwise("system-modules-are-this-process"),
        false => equal(&ours, &wanted),
    }
}

/// edgeAgent is this process: of its desired properties the image counts, to be told of.
fn equal_agents(given: &Value, expect: &Value) -> Verdict {
    if text(given, "desired_vs") != "desired" {
        return Verdict::Otherwise("system-modules-are-this-process");
    }
    let (part, mut other) = (text(given, "differs_in"), full());
    match part {
        "minimal vs full" => {
            let settings = json!({"image": "i:1"});
            other = json!({"type": "docker", "settings": settings, "env": other["env"]});
        }
        part if part.contains("nothing") => {}
        part => {
            if change(&mut other, part).is_none() {
                return Verdict::Fail(format!("`{part}` is not known here"));
            }
        }
    }
    let read = |agent: Value| {
        let root = with(|root| root["systemModules"] = json!({ "edgeAgent": agent }));
        Manifest::parse(&root, None).map(|it| it.system["edgeAgent"].image.clone())
    };
    let ours = read(full()) == read(other);
    let wanted = expect["equal"].as_bool().unwrap_or_default();
    match ours && !wanted && part != "image" {
        true => Verdict::Otherwise("system-modules-are-this-process"),
        false => equal(&ours, &wanted),
    }
}

/// What a plan says of each module.
fn diff(given: &Value, expect: &Value) -> Verdict {
    let read = |which: &str| {
        let module = |module: &Value| {
            let word = |name: &str, other: &str| module[name].as_str().unwrap_or(other).to_owned();
            let order = match &module["startup_order"] {
                Value::String(_) => json!(7), // "changed"
                Value::Null => json!(u32::MAX),
                order => order.clone(),
            };
            let env = module["env"].as_object().into_iter().flatten();
            let env: Value =
                env.map(|(name, value)| (name.clone(), json!({ "value": value }))).collect();
            let whole = json!({
                "type": "docker", "status": word("status", "running"),
                "settings": {"image": word("image", "i")}, "startupOrder": order, "env": env,
                "restartPolicy": word("restart_policy", "on-unhealthy"),
            });
            (text(module, "name").to_owned(), whole)
        };
        let modules = given[which].as_array().into_iter().flatten().map(module).collect::<Value>();
        let modules = if modules.is_null() { json!({}) } else { modules };
        Manifest::parse(&with(|root| root["modules"] = modules), None)
    };
    let (Ok(now), Ok(new)) = (read("current"), read("desired")) else {
        return Verdict::Fail("refused".into());
    };
    let specs = |manifest: &Manifest| -> Vec<ModuleSpec> {
        manifest.modules.values().flatten().cloned().collect()
    };
    let hash = |spec: &ModuleSpec| Body::new(spec, &around(given)).hash;
    let want = |spec: &ModuleSpec| Want {
        name: spec.name.clone(),
        hash: hash(spec),
        generation: None,
        status: spec.status,
        startup_order: spec.startup_order,
    };
    let have = |spec: &ModuleSpec| Observed {
        id: spec.name.clone(),
        module: spec.name.clone(),
        spec_hash: hash(spec),
        phase: Phase::Running,
        ..Observed::default()
    };
    let wants: Vec<Want> = specs(&new).iter().map(want).collect();
    let have: Vec<Observed> = specs(&now).iter().map(have).collect();
    let mut ours = json!({"added": [], "updated": [], "desired_status_updated": [], "removed": []});
    for module in preview(Some(&now), &new, &wants, &have) {
        let is_status = module.differences.iter().all(|it| it.starts_with("status "));
        let kind = match module.change {
            "added" => "added",
            "removed" => "removed",
            "changed" if is_status => "desired_status_updated",
            "changed" => "updated",
            _ => continue,
        };
        ours[kind].as_array_mut().into_iter().for_each(|all| all.push(json!(module.name)));
    }
    equal(&ours, expect)
}
