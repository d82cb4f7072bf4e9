//! What a deployment would do to this device, without doing it: by the planner's own steps.

use serde::Serialize;

use super::manifest::{Manifest, ModuleSpec};
use super::observed::Observed;
use super::plan::{Step, Want, plan};
use super::words::{PullPolicy, restart_policy_word};

/// What becomes of one module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ModuleChange {
    /// The module.
    pub name: String,
    /// `added`, `changed`, `removed`, `untouched` or `wrong`.
    pub change: &'static str,
    /// What differs; of a wrong one, why. Names only: values may be secrets.
    pub differences: Vec<String>,
    /// A container is made for it, so its image is needed.
    pub image: Option<String>,
    /// Its image is not asked for at the registry: it is here, or the module cannot run.
    pub is_never_pulled: bool,
}

/// Module by module. `now` is the deployment in force.
pub fn preview(
    now: Option<&Manifest>,
    new: &Manifest,
    wanted: &[Want],
    observed: &[Observed],
) -> Vec<ModuleChange> {
    let kept = new.modules.iter().filter(|(_, spec)| spec.is_err());
    let kept: Vec<String> = kept.map(|(name, _)| name.clone()).collect();
    let plan = plan(wanted, &kept, observed);
    let mut changes: Vec<ModuleChange> = Vec::new();
    for (name, spec) in &new.modules {
        let before = now.and_then(|now| now.modules.get(name)).and_then(|it| it.as_ref().ok());
        let (name, mut image) = (name.clone(), None);
        let (change, differences) = match spec {
            Err(invalid) => ("wrong", vec![invalid.to_string()]),
            Ok(spec) => {
                let mut all = plan.groups.iter().flat_map(|(_, all)| all);
                let steps = all.find(|(it, _)| *it == name).map(|(_, steps)| steps.as_slice());
                let steps = steps.unwrap_or_default();
                if steps.contains(&Step::Create) {
                    image = Some(spec.image.to_string());
                }
                let mut differences = before.map(|it| differences(it, spec)).unwrap_or_default();
                let is_there = observed.iter().any(|it| it.module == name);
                if is_there && differences.is_empty() && !steps.is_empty() {
                    differences.push("its container is not as it is to be".into());
                }
                match (is_there, differences.is_empty()) {
                    (false, _) => ("added", Vec::new()),
                    (true, true) => ("untouched", differences),
                    (true, false) => ("changed", differences),
                }
            }
        };
        let spec = spec.as_ref().ok();
        let is_never_pulled = spec.is_some_and(|it| it.pull_policy == PullPolicy::Never);
        changes.push(ModuleChange { name, change, differences, image, is_never_pulled });
    }
    changes.extend(plan.unwanted.into_iter().map(|(name, _)| ModuleChange {
        name,
        change: "removed",
        differences: Vec::new(),
        image: None,
        is_never_pulled: false,
    }));
    changes
}

fn differences(before: &ModuleSpec, after: &ModuleSpec) -> Vec<String> {
    let mut all = Vec::new();
    let mut word = |what: &str, before: &str, after: &str| {
        if before != after {
            all.push(format!("{what} {before} -> {after}"));
        }
    };
    word("image", before.image.as_str(), after.image.as_str());
    word("status", before.status.as_str(), after.status.as_str());
    let policies = [before, after].map(|it| restart_policy_word(it.restart_policy));
    word("restartPolicy", policies[0], policies[1]);
    word("imagePullPolicy", before.pull_policy.as_str(), after.pull_policy.as_str());
    let orders = [before, after].map(|it| it.startup_order.to_string());
    word("startupOrder", &orders[0], &orders[1]);
    word("version", &before.version, &after.version);
    let names =
        before.env.keys().chain(after.env.keys().filter(|it| !before.env.contains_key(*it)));
    for name in names.filter(|it| before.env.get(*it) != after.env.get(*it)) {
        all.push(format!("env {name}"));
    }
    let (old, new) = (&before.create_options, &after.create_options);
    let names = old.keys().chain(new.keys().filter(|it| !old.contains_key(*it)));
    for name in names.filter(|it| old.get(*it) != new.get(*it)) {
        all.push(format!("createOptions {name}"));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::agent::observed::Phase;
    use serde_json::{Value, json};

    fn manifest(modules: Value) -> Manifest {
        let document = json!({
            "schemaVersion": "1.1", "runtime": {"type": "docker"}, "systemModules": {},
            "modules": modules,
        });
        Manifest::parse(&document, None).unwrap()
    }

    #[test]
    fn what_comes_what_goes_and_what_differs_is_told_without_values() {
        let module = |image: &str, secret: &str, policy: &str| {
            json!({
                "type": "docker", "status": "running", "restartPolicy": policy,
                "settings": {"image": image}, "env": {"KEY": {"value": secret}},
            })
        };
        let same = module("i:1", "x", "never");
        let now = manifest(json!({"same": same, "image": same, "policy": same, "old": same}));
        let new = manifest(json!({
            "same": same, "image": module("i:2", "s3cret", "never"),
            "policy": module("i:1", "x", "always"), "new": same, "bad": {"type": "docker"},
        }));
        let want = |name: &str, hash: &str| Want {
            name: name.into(),
            hash: hash.into(),
            generation: None,
            status: crate::domain::agent::words::DesiredStatus::Running,
            startup_order: 0,
        };
        let wanted = [want("same", "1"), want("image", "2"), want("policy", "1"), want("new", "1")];
        let have = ["same", "image", "policy", "old"].map(|module| Observed {
            id: module.into(),
            module: module.into(),
            spec_hash: "1".into(),
            phase: Phase::Running,
            ..Observed::default()
        });
        let all = preview(Some(&now), &new, &wanted, &have);
        let told = |name: &str| {
            let found = all.iter().find(|it| it.name == name).unwrap();
            (found.change, found.differences.join(", "), found.image.clone())
        };
        assert_eq!(told("same"), ("untouched", String::new(), None));
        let differences = "image i:1 -> i:2, env KEY".to_owned();
        assert_eq!(told("image"), ("changed", differences, Some("i:2".into())));
        assert_eq!(told("policy"), ("changed", "restartPolicy never -> always".into(), None));
        assert_eq!(told("new"), ("added", String::new(), Some("i:1".into())));
        assert_eq!(told("old"), ("removed", String::new(), None));
        assert_eq!(told("bad").0, "wrong");
        assert!(!format!("{all:?}").contains("s3cret"));
    }
}
