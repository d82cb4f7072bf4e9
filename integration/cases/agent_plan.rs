//! Cases of plans: what is done for modules that are new, changed, gone, or in another status.
//!
//! Compared are the steps for each module. Records of restarts are no steps here.

use std::collections::BTreeMap;

use edge_runtime::domain::agent::observed::{Health, Observed, Phase};
use edge_runtime::domain::agent::plan::{Step, Want, plan};
use edge_runtime::domain::agent::words::DesiredStatus;
use serde_json::Value;

use super::{Verdict, text};

type Steps = BTreeMap<String, Vec<String>>;

pub(super) fn judge(area: &str, given: &Value, expect: &Value) -> Verdict {
    match area {
        "plan.basic" | "plan.remove" | "plan.update" | "plan.desired_status_change" => {}
        "plan.state_change" | "plan.start_stopped" | "plan.reset_stats" => {
            return Verdict::Otherwise("restarts-are-timers");
        }
        "plan.offline" => return Verdict::Otherwise("identities-per-module"),
        _ => return Verdict::Otherwise("plans-by-what-is-there"),
    }
    let (ours, wanted) = (ours(given), wanted(given, expect));
    if ours == wanted {
        return Verdict::Pass;
    }
    let without_stops = |steps: &Steps| -> Steps {
        let steps = steps.iter().map(|(module, steps)| {
            let steps = steps.iter().filter(|step| *step != "stop").cloned().collect();
            (module.clone(), steps)
        });
        steps.filter(|(_, steps): &(_, Vec<String>)| !steps.is_empty()).collect()
    };
    let resting = modules(given, "current").all(|module| !is_running(module));
    if resting && without_stops(&ours) == without_stops(&wanted) {
        return Verdict::Otherwise("what-rests-is-not-stopped");
    }
    Verdict::Fail(format!("{ours:?}, not {wanted:?}"))
}

fn modules<'a>(given: &'a Value, which: &str) -> impl Iterator<Item = &'a Value> {
    given[which].as_array().into_iter().flatten()
}

fn is_running(module: &Value) -> bool {
    matches!(text(module, "runtime_status"), "running" | "unhealthy")
}

fn is_to_run(given: &Value, name: &str) -> bool {
    modules(given, "desired").any(|it| text(it, "name") == name && text(it, "status") == "running")
}

/// All that makes a container another one.
fn hash(module: &Value) -> String {
    format!("{} {} {}", module["image"], module["env"], module["create_options"])
}

fn observed(module: &Value) -> Observed {
    let phase = match text(module, "runtime_status") {
        "running" | "unhealthy" => Phase::Running,
        "dead" => Phase::Dead,
        _ => Phase::Exited,
    };
    Observed {
        id: text(module, "name").into(),
        module: text(module, "name").into(),
        spec_hash: hash(module),
        phase,
        health: Health::parse(text(module, "runtime_status")),
        ..Observed::default()
    }
}

fn ours(given: &Value) -> Steps {
    let wants: Vec<Want> = modules(given, "desired")
        .map(|module| Want {
            name: text(module, "name").into(),
            hash: hash(module),
            generation: None,
            status: DesiredStatus::parse(text(module, "status")).unwrap_or(DesiredStatus::Running),
            startup_order: 0,
        })
        .collect();
    let have: Vec<Observed> = modules(given, "current").map(observed).collect();
    let plan = plan(&wants, &[], &have);
    let work = plan.groups.into_iter().flat_map(|(_, modules)| modules).chain(plan.unwanted);
    let mut steps: Steps = BTreeMap::new();
    for (module, todo) in work {
        let word = |step: &Step| match step {
            Step::Pull => Some("pull"),
            Step::Stop(_) => Some("stop"),
            Step::Remove(_) => Some("remove"),
            Step::Create => Some("create"),
            Step::StartNew | Step::Start(_) => Some("start"),
            Step::Aside(_) | Step::Back(_) | Step::Refuse(_) => None, // the way back is ours
        };
        let mut words: Vec<String> = todo.iter().filter_map(word).map(str::to_owned).collect();
        // The module's actor starts what is wanted anew, without a step of the planner.
        let before = modules(given, "current").find(|it| text(it, "name") == module);
        let want = wants.iter().find(|want| want.name == module);
        if let (Some(before), Some(want)) = (before, want)
            && words.is_empty()
            && want.status == DesiredStatus::Running
            && text(before, "status") != "running"
            && !is_running(before)
        {
            words.push("start".into());
        }
        if !words.is_empty() {
            steps.insert(module, words);
        }
    }
    steps
}

fn wanted(given: &Value, expect: &Value) -> Steps {
    let mut steps: Steps = BTreeMap::new();
    for command in expect["commands"].as_array().into_iter().flatten() {
        let module = command[1].as_str().unwrap_or_default();
        let current = modules(given, "current").find(|it| text(it, "name") == module);
        let words: &[&str] = match command[0].as_str().unwrap_or_default() {
            "PrepareUpdate" => &["pull"],
            // What is to run keeps what ran before until it is up: its removal is not of this plan.
            "Update" => match (current.is_some_and(is_running), is_to_run(given, module)) {
                (true, true) => &["create", "stop"],
                (true, false) => &["create", "stop", "remove"],
                (false, true) => &["create"],
                (false, false) => &["create", "remove"],
            },
            "Create" => &["create"],
            "Start" => &["start"],
            "Stop" => &["stop"],
            "Remove" => &["remove"],
            _ => &[],
        };
        if !words.is_empty() {
            let steps = steps.entry(module.to_owned()).or_default();
            steps.extend(words.iter().map(|word| (*word).to_owned()));
        }
    }
    steps
}
