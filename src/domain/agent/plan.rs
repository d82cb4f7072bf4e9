//! What is to be done about the difference between what is wanted and what the engine has.
//!
//! Pure and without memory: what was done before shows in what the engine has. A container that
//! ended is not this file's: `restarts.rs` says when it is started again.
//! next: `actors/agent/deployment.rs`, and `actors/agent/container/` which carries the steps out.

use std::collections::BTreeMap;

use super::observed::{Observed, Phase};
use super::words::DesiredStatus;

/// What is wanted of one module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Want {
    /// The module.
    pub name: String,
    /// Hash of what its container is created from.
    pub hash: String,
    /// Generation of its identity, if it is known now.
    pub generation: Option<String>,
    /// Whether it is to run.
    pub status: DesiredStatus,
    /// Lower ones go first.
    pub startup_order: u32,
}

/// One thing to do. The image is there before what runs is stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Have the image.
    Pull,
    /// Stop this container.
    Stop(String),
    /// Remove this container; volumes are kept.
    Remove(String),
    /// Create the container.
    Create,
    /// Start the one that was just created.
    StartNew,
    /// Start this one, which never ran.
    Start(String),
}

/// A module, and what is to be done for it.
pub type Work = (String, Vec<Step>);

/// Who has to do what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Containers of modules that are wanted no more.
    pub unwanted: Vec<Work>,
    /// Modules by `startupOrder`, ascending; those that are as they should be have no steps.
    pub groups: Vec<(u32, Vec<Work>)>,
}

impl Plan {
    /// Whether nothing is to be done.
    pub fn is_empty(&self) -> bool {
        let mut modules = self.groups.iter().flat_map(|(_, modules)| modules);
        self.unwanted.is_empty() && modules.all(|(_, steps)| steps.is_empty())
    }
}

/// The whole plan. `kept` are modules whose containers are left alone (their desired properties
/// are wrong: what runs may be right).
pub fn plan(wanted: &[Want], kept: &[String], observed: &[Observed]) -> Plan {
    let mut by_module: BTreeMap<&str, Vec<&Observed>> = BTreeMap::new();
    for container in observed {
        by_module.entry(&container.module).or_default().push(container);
    }
    let mut groups: BTreeMap<u32, Vec<Work>> = BTreeMap::new();
    for want in wanted {
        let have = by_module.remove(want.name.as_str()).unwrap_or_default();
        let group = groups.entry(want.startup_order).or_default();
        group.push((want.name.clone(), steps(want, &have)));
    }
    by_module.retain(|module, _| !kept.iter().any(|kept| kept == module));
    let unwanted = by_module.into_iter().map(|(module, have)| (module.to_owned(), removal(&have)));
    Plan { unwanted: unwanted.collect(), groups: groups.into_iter().collect() }
}

/// What is to be done for one module, in this order.
pub fn steps(want: &Want, have: &[&Observed]) -> Vec<Step> {
    let (current, others) = choose(want, have);
    let mut steps = Vec::new();
    let Some(current) = current else {
        steps.push(Step::Pull);
        steps.extend(removal(&others));
        steps.push(Step::Create);
        if want.status == DesiredStatus::Running {
            steps.push(Step::StartNew);
        }
        return steps;
    };
    steps.extend(removal(&others));
    match (want.status, current.phase) {
        (DesiredStatus::Running, Phase::Created) => steps.push(Step::Start(current.id.clone())),
        (DesiredStatus::Stopped, Phase::Running | Phase::Paused | Phase::Restarting) => {
            steps.push(Step::Stop(current.id.clone()));
        }
        _ => {}
    }
    steps
}

/// Stops and removes all of these.
pub fn removal(have: &[&Observed]) -> Vec<Step> {
    let mut steps = Vec::new();
    for container in have {
        if matches!(container.phase, Phase::Running | Phase::Paused | Phase::Restarting) {
            steps.push(Step::Stop(container.id.clone()));
        }
        steps.push(Step::Remove(container.id.clone()));
    }
    steps
}

/// The container that is the wanted one, if there is one, and the others.
pub fn choose<'a>(want: &Want, have: &[&'a Observed]) -> (Option<&'a Observed>, Vec<&'a Observed>) {
    let is_it = |container: &Observed| {
        container.spec_hash == want.hash
            && want.generation.as_ref().is_none_or(|wanted| *wanted == container.generation)
            && !matches!(container.phase, Phase::Dead | Phase::Removing)
    };
    let candidates = have.iter().copied().filter(|container| is_it(container));
    let best =
        candidates.max_by_key(|container| (container.phase == Phase::Running, &container.id));
    let others = have.iter().copied().filter(|it| best.is_none_or(|best| best.id != it.id));
    (best, others.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::agent::words::ModuleStatus;
    use DesiredStatus::{Other, Running, Stopped};

    fn want(status: DesiredStatus) -> Want {
        let (name, hash) = ("m".into(), "h1".into());
        Want { name, hash, generation: None, status, startup_order: 5 }
    }

    fn container(id: &str, hash: &str, phase: Phase) -> Observed {
        let (id, spec_hash, module) = (id.into(), hash.into(), "m".into());
        Observed { id, spec_hash, module, phase, ..Observed::default() }
    }

    fn words(steps: &[Step]) -> String {
        let word = |step: &Step| match step {
            Step::Stop(id) => format!("stop {id}"),
            Step::Remove(id) => format!("remove {id}"),
            Step::Start(id) => format!("start {id}"),
            other => format!("{other:?}").to_lowercase(),
        };
        steps.iter().map(word).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn each_difference_has_its_steps() {
        let renew = "pull, stop c, remove c, create, startnew";
        let table = [
            (Running, None, "pull, create, startnew"),
            (Stopped, None, "pull, create"),
            (Other(ModuleStatus::Failed), None, "pull, create"),
            (Running, Some(("h1", Phase::Running)), ""),
            (Running, Some(("h1", Phase::Created)), "start c"),
            (Running, Some(("h1", Phase::Exited)), ""),
            (Running, Some(("h1", Phase::Paused)), ""),
            (Running, Some(("h1", Phase::Restarting)), ""),
            (Running, Some(("h1", Phase::Dead)), "pull, remove c, create, startnew"),
            (Running, Some(("h0", Phase::Running)), renew),
            (Running, Some(("h0", Phase::Exited)), "pull, remove c, create, startnew"),
            (Stopped, Some(("h0", Phase::Running)), "pull, stop c, remove c, create"),
            (Stopped, Some(("h1", Phase::Running)), "stop c"),
            (Stopped, Some(("h1", Phase::Exited)), ""),
            (Stopped, Some(("h1", Phase::Created)), ""),
            (Other(ModuleStatus::Unknown), Some(("h1", Phase::Running)), ""),
        ];
        for (status, have, expected) in table {
            let have = have.map(|(hash, phase)| container("c", hash, phase));
            let have: Vec<&Observed> = have.iter().collect();
            assert_eq!(words(&steps(&want(status), &have)), expected, "{status:?} {have:?}");
        }
    }

    #[test]
    fn of_two_containers_of_a_module_the_running_one_is_kept() {
        let (a, b) = (container("a", "h1", Phase::Exited), container("b", "h1", Phase::Running));
        assert_eq!(words(&steps(&want(Running), &[&a, &b])), "remove a");
    }

    #[test]
    fn a_container_for_an_identity_that_was_made_anew_is_replaced() {
        let have = Observed { generation: "g1".into(), ..container("c", "h1", Phase::Running) };
        let want = Want { generation: Some("g2".into()), ..want(Running) };
        let renew = "pull, stop c, remove c, create, startnew";
        assert_eq!(words(&steps(&want, &[&have])), renew);
    }

    #[test]
    fn groups_go_by_startup_order_and_what_nobody_wants_is_removed() {
        let wanted: Vec<Want> = [("b", 7), ("a", u32::MAX), ("c", 0), ("d", 7)]
            .map(|(name, startup_order)| Want { name: name.into(), startup_order, ..want(Running) })
            .into();
        let gone = Observed { module: "gone".into(), ..container("x", "h", Phase::Running) };
        let bad = Observed { module: "bad".into(), ..container("y", "h", Phase::Running) };
        let plan = plan(&wanted, &["bad".into()], &[gone, bad]);
        let order: Vec<(u32, Vec<&str>)> = plan
            .groups
            .iter()
            .map(|(order, modules)| (*order, modules.iter().map(|(name, _)| &**name).collect()))
            .collect();
        assert_eq!(order, [(0, vec!["c"]), (7, vec!["b", "d"]), (u32::MAX, vec!["a"])]);
        assert_eq!(plan.unwanted.len(), 1);
        assert_eq!(words(&plan.unwanted[0].1), "stop x, remove x");
        assert!(!plan.is_empty());
    }
}
