//! Cases of plans: what is done for modules that are new, changed, gone, in another status, or ended.
//!
//! Compared are the steps for each module, and in which order modules have their turn. A stop of
//! what does not run changes nothing (the engine answers 304): it is none, on either side. Records of
//! restarts count where the table is about them.

use std::collections::BTreeMap;

use edge_runtime::domain::agent::observed::{Health, Observed, Phase};
use edge_runtime::domain::agent::plan::{Effort, Known, Plan, Step, Want, plan};
use edge_runtime::domain::agent::words::{DesiredStatus, restart_policy};
use edge_runtime::domain::restart::RestartPolicy;
use serde_json::Value;

use super::agent_restarts::{Seen, is_due, is_forgotten, next};
use super::{Verdict, text};

type Steps = BTreeMap<String, Vec<String>>;

/// Of every identity.
const GENERATION: &str = "1";

pub(super) fn judge(area: &str, given: &Value, expect: &Value) -> Verdict {
    match area {
        "plan.shutdown" => return Verdict::Otherwise("containers-keep-running"),
        "plan_runner" | "plan_runner.config" => return Verdict::Otherwise("no-command-statistics"),
        "plan_runner.cool_off" => return Verdict::Otherwise("retried-within-five-minutes"),
        _ => {}
    }
    if expect.get("error").is_some() {
        return Verdict::Otherwise("unknown-is-no-error");
    }
    if text(given, "module_update_mode") == "WaitForAllPulls" {
        return Verdict::Otherwise("no-update-modes");
    }
    let plan = plan(&wants(given), &[], &all_observed(given));
    let (ours, wanted) = (ours(given, &plan), wanted(area, given, expect));
    if ours == wanted {
        return order(given, expect, &plan);
    }
    let (all, before, after) = (modules(given, "current"), "current", "desired");
    let of = |which: &str, name: &str| modules(given, which).find(|it| text(it, "name") == name);
    let all = all.map(|it| (text(it, "name"), it));
    for (name, current) in all.filter(|(name, _)| ours.get(*name) != wanted.get(*name)) {
        let is_new = |words: &[String]| words.iter().any(|it| it == "create");
        let remade = wanted.get(name).is_some_and(|it| is_new(it)) && !ours.contains_key(name);
        let is_started = ours.get(name).is_some_and(|it| it.iter().any(|word| word == "start"));
        let policy = of(after, name).or(of(before, name)).map(|it| text(it, "restart_policy"));
        match text(current, "runtime_status") {
            _ if is_system(name) => return Verdict::Otherwise("system-modules-are-this-process"),
            "dead" => return Verdict::Otherwise("a-dead-container-is-replaced-at-once"),
            _ if remade && text(current, "restart_policy") == "unknown" => {
                return Verdict::Otherwise("plans-by-what-is-there");
            }
            _ if remade => return Verdict::Otherwise("made-anew-only-for-what-matters"),
            "failed" if is_started => return Verdict::Otherwise("never-given-up"),
            "backoff" if policy == Some("never") => {
                return Verdict::Otherwise("never-has-no-backoff");
            }
            "running" if area == "plan.reset_stats" && current["last_start_age_s"] == 600 => {
                return Verdict::Otherwise("due-when-the-time-is-over");
            }
            _ => {}
        }
    }
    Verdict::Fail(format!("{ours:?}, not {wanted:?}"))
}

fn is_system(name: &str) -> bool {
    ["edgeAgent", "edgeHub"].contains(&name)
}

fn modules<'a>(given: &'a Value, which: &str) -> impl Iterator<Item = &'a Value> {
    given[which].as_array().into_iter().flatten()
}

fn is_up(module: &Value) -> bool {
    matches!(text(module, "runtime_status"), "running" | "unhealthy")
}

/// All that makes a container another one.
fn hash(module: &Value) -> String {
    format!("{} {} {}", module["image"], module["env"], module["create_options"])
}

fn observed(module: &Value) -> Observed {
    let (phase, exit_code) = match text(module, "runtime_status") {
        "running" | "unhealthy" => (Phase::Running, None),
        "dead" => (Phase::Dead, None),
        "stopped" if module["last_start_age_s"].is_null() => (Phase::Created, Some(0)),
        "stopped" => (Phase::Exited, Some(0)),
        "failed" | "backoff" => (Phase::Exited, Some(1)),
        _ => (Phase::Other, None),
    };
    Observed {
        id: text(module, "name").into(),
        module: text(module, "name").into(),
        spec_hash: hash(module),
        generation: GENERATION.into(),
        phase,
        exit_code,
        health: Health::parse(text(module, "runtime_status")),
        ..Observed::default()
    }
}

fn all_observed(given: &Value) -> Vec<Observed> {
    modules(given, "current").map(observed).collect()
}

/// Modules that have an identity, or may have one.
fn has_identity(given: &Value, name: &str) -> bool {
    let named = given["identities"].as_array();
    named.is_none_or(|named| named.iter().any(|it| it == name))
}

fn wants(given: &Value) -> Vec<Want> {
    let want = |module: &Value| Want {
        name: text(module, "name").into(),
        hash: hash(module),
        generation: has_identity(given, text(module, "name")).then(|| GENERATION.to_owned()),
        status: DesiredStatus::parse(text(module, "status")).unwrap_or(DesiredStatus::Running),
        startup_order: module["startup_order"].as_u64().map_or(u32::MAX, |order| order as u32),
    };
    modules(given, "desired").filter(|it| !is_system(text(it, "name"))).map(want).collect()
}

fn words(steps: &[Step]) -> Vec<String> {
    let word = |step: &Step| match step {
        Step::Pull => Some("pull"),
        Step::Stop(_) => Some("stop"),
        Step::Remove(_) => Some("remove"),
        Step::Create => Some("create"),
        Step::StartNew | Step::Start(_) => Some("start"),
        Step::Aside(_) | Step::Back(_) | Step::Refuse(_) => None, // the way back is ours
    };
    steps.iter().filter_map(word).map(str::to_owned).collect()
}

/// What a module's own actor does about it: an effort, and another one when a restart is due.
fn effort(given: &Value, want: &Want) -> Vec<String> {
    let desired = modules(given, "desired").find(|it| text(it, "name") == want.name);
    let current = modules(given, "current").find(|it| text(it, "name") == want.name);
    let policy = desired.and_then(|it| restart_policy(text(it, "restart_policy")));
    let policy = policy.unwrap_or(RestartPolicy::OnUnhealthy);
    let container = current.map(observed);
    let have: Vec<&Observed> = container.iter().collect();
    // What is wanted anew is started anew.
    let is_new_status = |it: &Value| DesiredStatus::parse(text(it, "status")) != Some(want.status);
    let (may_end, is_once) = (policy < RestartPolicy::Always, policy == RestartPolicy::Never);
    let mut effort = Effort {
        want: want.clone(),
        known: Known { may_end, is_once, ..Known::default() },
        has_image: true,
        start_ended: current.is_some_and(is_new_status),
    };
    if effort.turn(&have).needs_identity(want) {
        effort.known.is_held = true; // it cannot be had: what runs goes on
        if have.is_empty() {
            return Vec::new();
        }
    }
    let mut all = words(&effort.turn(&have).steps);
    let Some(current) = current.filter(|_| want.status == DesiredStatus::Running) else {
        return all;
    };
    let is_same = container.as_ref().is_some_and(|it| it.spec_hash == want.hash);
    if all.is_empty() && is_same {
        let ended = next(current, text(current, "runtime_status"), policy, Seen::Found);
        if is_due(ended.map(|(next, _)| next)) {
            effort.start_ended = true;
            all = words(&effort.turn(&have).steps);
            if let (Some((_, count)), "backoff") = (ended, text(current, "runtime_status")) {
                all.push(format!("record {count}"));
            }
        } else if text(current, "runtime_status") == "running" && is_forgotten(current, policy) {
            all.push("forget".into());
        }
    }
    all
}

fn ours(given: &Value, plan: &Plan) -> Steps {
    let gone = plan.unwanted.iter().map(|(name, steps)| (name.clone(), words(steps)));
    let gone = gone.filter(|(name, _)| !is_system(name)); // none is ours
    let mut all: Steps = gone.collect();
    for want in wants(given) {
        let mut words = effort(given, &want);
        if words.iter().any(|word| word == "create") {
            words.retain(|word| word != "remove"); // of the one before: see `wanted`
        }
        if !words.is_empty() {
            all.insert(want.name, words);
        }
    }
    all
}

fn wanted(area: &str, given: &Value, expect: &Value) -> Steps {
    let mut steps: Steps = BTreeMap::new();
    for command in modules(expect, "commands") {
        let module = command[1].as_str().unwrap_or_default();
        let current = modules(given, "current").find(|it| text(it, "name") == module);
        let runs = current.is_some_and(is_up);
        let words: &[&str] = match command[0].as_str().unwrap_or_default() {
            "PrepareUpdate" => &["pull"],
            // The new one is there before the old one is stopped, which goes when the new one is up.
            "Update" if runs => &["create", "stop"],
            "Update" | "Create" => &["create"],
            "Start" if runs && !steps.contains_key(module) => &[], // nor does a start of what runs
            "Start" => &["start"],
            "Stop" if runs => &["stop"],
            "Remove" => &["remove"],
            "RecordRestart" => &["record"],
            "ForgetRestartState" if area == "plan.reset_stats" => &["forget"],
            "UpdateEdgeAgent" => &["update"],
            _ => &[],
        };
        let is_none_of_ours = is_system(module) && area == "plan.priority";
        if !words.is_empty() && !is_none_of_ours {
            let count = command[2].as_u64().map_or(String::new(), |count| format!(" {count}"));
            let words = words.iter().map(|word| format!("{word}{count}"));
            steps.entry(module.to_owned()).or_default().extend(words);
        }
    }
    steps
}

/// Modules have their turn by `startupOrder`; what goes, goes at once.
fn order(given: &Value, expect: &Value, plan: &Plan) -> Verdict {
    let mut theirs: Vec<&str> = Vec::new();
    for command in modules(expect, "commands") {
        let name = command[1].as_str().unwrap_or_default();
        let is_step = !["ForgetRestartState", "RecordRestart"].iter().any(|it| command[0] == *it);
        if is_step && !is_system(name) && theirs.last() != Some(&name) {
            theirs.push(name);
        }
    }
    let is_gone = |name: &str| plan.unwanted.iter().any(|(gone, _)| gone == name);
    if !theirs.is_sorted_by_key(|name| !is_gone(name)) {
        return Verdict::Otherwise("what-goes-goes-at-once");
    }
    theirs.retain(|name| !is_gone(name));
    let group = |name: &str| {
        let has = |(_, all): &(u32, Vec<_>)| all.iter().any(|(it, _): &(String, _)| it == name);
        plan.groups.iter().position(has)
    };
    match theirs.is_sorted_by_key(|name| group(name)) || wants(given).is_empty() {
        true => Verdict::Pass,
        false => Verdict::Fail(format!("{:?}, not {theirs:?}", plan.groups)),
    }
}
