//! Cases of what is around the modules: deployments that are kept, identities, the daemon's API, the
//! outcome that is reported, the connection.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use edge_runtime::domain::agent::daemon_api::{Who, check_version, management, workload};
use edge_runtime::domain::agent::identities::gone;
use edge_runtime::domain::agent::last_good::{Follow, follow};
use edge_runtime::domain::agent::manifest::{Manifest, Rejected};
use edge_runtime::domain::agent::observed::{Observed, Phase};
use edge_runtime::domain::agent::plan::{Effort, Known, Want};
use edge_runtime::domain::agent::protocol::Protocol;
use edge_runtime::domain::agent::reported::{Report, document};
use edge_runtime::domain::agent::state::{Applied, ModuleState, outcome};
use edge_runtime::domain::agent::words::{DesiredStatus, ModuleStatus};
use edge_runtime::domain::edge_twin::{EdgeTwin, Full, Outbox, Patched};
use serde_json::{Map, Value, json};

use super::agent_config::with;
use super::{Verdict, equal, text};

type Read = Result<Manifest, Rejected>;

pub(super) fn judge(area: &str, given: &Value, expect: &Value) -> Verdict {
    match area {
        "api.auth" => api_auth(given, expect),
        "api.errors" => api_errors(given, expect),
        "backup" => backup(given, expect),
        "config.patch" => patch(given, expect),
        "connection.protocol" => {
            let protocol = Protocol::parse(text(given, "text")).map(Protocol::as_str);
            equal(&protocol, &expect["protocol"].as_str())
        }
        "connection.reprovision" => Verdict::Otherwise("no-identity-service"),
        "identity" => identity(given, expect),
        "outcome" => of_outcome(given, expect),
        area => Verdict::Fail(format!("area `{area}` is not known here")),
    }
}

/// `/modules/{name}[?start=bool]`, as segments.
fn segments(path: &str) -> Vec<&str> {
    let path = path.split(['?', '[']).next().unwrap_or_default();
    path.split('/').filter(|part| !part.is_empty()).collect()
}

fn api_auth(given: &Value, expect: &Value) -> Verdict {
    let (method, path) = (text(given, "method"), segments(text(given, "path")));
    let call = match text(given, "socket") {
        "mgmt" => management(method, &path, true),
        _ => workload(method, &path),
    };
    let Some((_, who)) = call else { return Verdict::Fail("there is no such call".into()) };
    let allowed = match who {
        Who::Anyone => "anyone with socket access".to_owned(),
        Who::Agent => "edgeAgent only".into(),
        Who::Nobody => "nobody".into(),
        Who::Module(module) => format!("process of module {}", module.trim_matches(['{', '}'])),
    };
    equal(&allowed.as_str(), &text(expect, "allowed"))
}

fn api_errors(given: &Value, expect: &Value) -> Verdict {
    let version = |version: Option<&str>| {
        let refused = check_version(version, "2018-06-28", "/modules").is_err();
        equal(&refused, &(expect["status"] == 400))
    };
    match text(given, "case") {
        case if case.contains("api-version") && case.contains("unknown") => {
            version(Some("2017-1-1"))
        }
        case if case.contains("api-version") => version(None),
        "unknown path" => {
            let none = management("GET", &["nothing"], true).or(workload("GET", &["nothing"]));
            equal(&none.is_none(), &(expect["status"] == 404))
        }
        case if case.contains("method") => Verdict::Otherwise("a-wrong-method-is-405"),
        case if case.contains("PID") || case.contains("pid") => {
            Verdict::Otherwise("callers-by-their-socket")
        }
        case if ["prepareupdate", "PUT", "DELETE"].iter().any(|it| case.starts_with(it)) => {
            Verdict::Otherwise("the-agent-is-this-process")
        }
        _ => Verdict::Otherwise("the-same-by-the-handlers"),
    }
}

/// A deployment of this name.
fn deployment(name: &str) -> Option<Read> {
    let is_version = |word: &&str| word.len() == 2 && word.starts_with('v');
    match (name.split_whitespace().find(is_version), name) {
        (Some(name), _) => {
            Some(Manifest::parse(&with(|root| root["modules"] = json!({ name: {} })), None))
        }
        (None, empty) if empty.starts_with("empty") => Some(Manifest::parse(&json!({}), None)),
        _ => None,
    }
}

/// Reads of one source after another, with what the agent knows and has on disk.
fn backup(given: &Value, expect: &Value) -> Verdict {
    let sources: Vec<&str> = match text(given, "source") {
        "same config v1 read twice" => vec!["v1", "v1"],
        "empty twice" => vec!["empty", "empty"],
        both if both.contains(" then ") => both.split(" then ").collect(),
        one => vec![one],
    };
    if text(given, "source").contains("exception") {
        return Verdict::Otherwise("the-last-good-one-runs-on");
    }
    let kept = given["backup"].as_str().filter(|it| !["none", "unreadable"].contains(it));
    let kept = kept.and_then(deployment).and_then(Result::ok);
    let (mut good, mut writes, mut reads): (Option<Manifest>, u64, u64) = (None, 0, 0);
    let mut followed = Vec::new();
    for source in sources {
        let read = deployment(source);
        let usable = read.as_ref().and_then(|it| it.as_ref().ok());
        match follow(usable, good.as_ref(), writes > 0) {
            Follow::New => {
                writes += 1;
                good = usable.cloned();
            }
            Follow::Same | Follow::Good => {}
            Follow::Kept => {
                reads += 1;
                good = kept.clone();
            }
        }
        let name = good.as_ref().and_then(|it| it.modules.keys().next().cloned());
        followed.push(name.unwrap_or_else(|| "empty".into()));
    }
    let wanted: Vec<&str> = match &expect["returns"] {
        Value::Array(all) => all.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    };
    let of = |key: &str, ours| expect[key].as_u64().unwrap_or(ours);
    let wanted = (wanted, of("backup_writes", writes), of("backup_reads", reads));
    equal(&(followed.iter().map(String::as_str).collect(), writes, reads), &wanted)
}

fn patch(given: &Value, expect: &Value) -> Verdict {
    let version = |key: &str| given[key].as_u64().unwrap_or_default();
    let whole = json!({"desired": {"$version": version("current_version")}, "reported": {}});
    let Some(full) = Full::parse(whole.to_string().as_bytes()) else {
        return Verdict::Fail("the twin cannot be read".into());
    };
    let mut twin = EdgeTwin::default();
    twin.on_full(full, &Outbox::default());
    let action = match twin.on_desired(version("patch_version"), &Map::new()) {
        Patched::Applied(_) => "apply patch",
        Patched::Outdated => "fetch full twin",
    };
    equal(&action, &text(expect, "action"))
}

/// Names, or names with images.
fn images(modules: &Value) -> BTreeMap<String, String> {
    let named = modules.as_object().into_iter().flatten();
    let named = named.map(|(name, image)| (name.clone(), image.to_string()));
    let plain = modules.as_array().into_iter().flatten().filter_map(Value::as_str);
    named.chain(plain.map(|name| (name.to_owned(), String::new()))).collect()
}

/// Which are made, by the effort of each module, and which go. One that is "managed by iotedge" is one
/// that this agent made. None is updated: a module that has one needs nothing else.
fn identity(given: &Value, expect: &Value) -> Verdict {
    let Some(known) = given["identities"].as_object() else {
        return Verdict::Otherwise("identities-per-module");
    };
    let (current, desired) = (images(&given["current"]), images(&given["desired"]));
    let mut made = Vec::new();
    for (name, image) in desired.iter().filter(|(name, _)| !name.starts_with("edge")) {
        let generation = known.get(name).map(|_| "1".to_owned());
        let want = Want {
            name: name.clone(),
            hash: image.clone(),
            generation,
            status: DesiredStatus::Running,
            startup_order: 0,
        };
        let have = current.get(name).map(|image| Observed {
            id: name.clone(),
            module: name.clone(),
            spec_hash: image.clone(),
            generation: "1".into(),
            phase: Phase::Running,
            ..Observed::default()
        });
        let have: Vec<&Observed> = have.iter().collect();
        let known = Known::default();
        let effort = Effort { want: want.clone(), known, has_image: true, start_ended: false };
        if effort.turn(&have).needs_identity(&want) {
            made.push(name.clone());
        }
    }
    let wanted: BTreeSet<String> = desired.into_keys().collect();
    let ours = known.iter().filter(|(name, by)| *by == "iotedge" && !name.starts_with('$'));
    let gone = gone(ours.map(|(name, _)| (name.clone(), ())).collect(), &wanted);
    let gone: BTreeSet<String> = gone.into_iter().map(|(name, _)| name).collect();
    let list = |key: &str| expect[key].as_array().into_iter().flatten().filter_map(Value::as_str);
    let wanted = (
        list("create").map(str::to_owned).collect::<Vec<_>>(),
        list("delete").map(str::to_owned).collect::<BTreeSet<_>>(),
    );
    equal(&(made, gone), &wanted)
}

fn one_module() -> Read {
    let module = json!({"type": "docker", "status": "running", "settings": {"image": "i"}});
    Manifest::parse(&with(|root| root["modules"] = json!({ "m": module })), None)
}

fn state(applied: Applied) -> BTreeMap<String, ModuleState> {
    let status = ModuleStatus::Running;
    let state = ModuleState { applied, status, ..ModuleState::default() };
    [("m".to_owned(), state)].into_iter().collect()
}

fn report(current: &Read, states: &BTreeMap<String, ModuleState>, is_last: bool) -> Value {
    let (code, why) = outcome(Some(current), states, None);
    let report = Report {
        version: "1",
        engine_version: "1",
        architecture: "x86_64",
        started: Duration::ZERO,
        desired_version: 1,
        deployment: current,
        outcome: (code, &why),
        states,
        is_last,
    };
    document(&report, &json!({"modules": {"m": {}}}))
}

fn of_outcome(given: &Value, expect: &Value) -> Verdict {
    let good = one_module();
    let code = |current: Option<&Read>, states: &BTreeMap<_, _>, trouble: Option<&str>| {
        let (code, _) = outcome(current, states, trouble);
        equal(&Some(u64::from(code)), &expect["code"].as_u64())
    };
    let of = |applied: Applied| code(Some(&good), &state(applied), None);
    let throws = |key: &str| given[key].as_str().is_some_and(|it| it.contains("throws"));
    if let Some(exception) = given["config_exception"].as_str() {
        let document = match exception {
            "InvalidSchemaVersion" => with(|root| root["schemaVersion"] = json!("2.0")),
            "ConfigEmpty" => json!({}),
            "ConfigFormat" => with(|root| root["modules"] = json!([])),
            other => return Verdict::Fail(format!("exception {other} is not known here")),
        };
        return code(Some(&Manifest::parse(&document, None)), &BTreeMap::new(), None);
    }
    if throws("config_source") {
        return Verdict::Otherwise("no-twin-no-report");
    }
    if throws("encryption_provider") {
        return Verdict::Otherwise("what-cannot-be-kept-runs-all-the-same");
    }
    if text(given, "stored_config").contains("cannot be decrypted") {
        let given = json!({"source": "throws", "backup": "unreadable"});
        return backup(&given, &json!({"returns": "empty"}));
    }
    if given["desired"] == "empty set" {
        return code(Some(&Manifest::parse(&with(|_| ()), None)), &BTreeMap::new(), None);
    }
    if given["event"] == "shutdown" {
        let reported = report(&good, &state(Applied::Done), true);
        let hub = &reported["systemModules"]["edgeHub"];
        let statuses = [&reported["modules"]["m"]["runtimeStatus"], &hub["runtimeStatus"]];
        let wanted = expect["all_runtime_status"].as_str().unwrap_or("unknown");
        let all = statuses.iter().all(|it| **it == wanted);
        let code = &reported["lastDesiredStatus"]["code"];
        return equal(&(code, all), &(&expect["code"], true));
    }
    if let Some(wanted) = expect["desired_still_fetched"].as_bool() {
        // The engine is away: what was asked for is read all the same, and told of.
        let (code, why) = outcome(Some(&good), &BTreeMap::new(), Some("the engine is away"));
        return equal(&(code == 500 && why.contains("engine")), &wanted);
    }
    if let Some(wanted) = expect["current_still_fetched"].as_bool() {
        let unreadable = Manifest::parse(&json!({"modules": 1}), None);
        let reported = report(&unreadable, &state(Applied::Done), false);
        return equal(&(reported["modules"]["m"]["runtimeStatus"] == "running"), &wanted);
    }
    if ["current", "environment", "identity_manager", "identities"].iter().any(|it| throws(it)) {
        return code(Some(&good), &BTreeMap::new(), Some("it cannot be had"));
    }
    match (text(given, "plan"), text(given, "runner"), given["previous_code"].as_u64()) {
        ("empty", ..) => of(Applied::Done),
        (_, runner, _) if runner.contains("all ran") => of(Applied::Done),
        (_, runner, Some(500)) if runner.contains("skipped") => of(Applied::Failed("so".into())),
        (_, runner, Some(200)) if runner.contains("skipped") => of(Applied::Done),
        (_, runner, None) if runner.contains("skipped") => of(Applied::Pending),
        (_, runner, _) if runner.contains("throw") || runner.contains("fail") => {
            of(Applied::Failed("why".into()))
        }
        _ => Verdict::Fail("it is not known here what is given".into()),
    }
}
