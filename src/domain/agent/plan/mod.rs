//! What is to be done about the difference between what is wanted and what the engine has.
//!
//! Pure and without memory: what was done before shows in what the engine has. An update can be
//! undone: the container that ran before is kept under another name, stopped, until the new one is
//! up. Whichever step is the last one before a crash, what is planned next ends in the old or the
//! new. A container that ended is not this file's: `restarts.rs` says when it is started again.
//! next: `trial.rs`, `effort.rs`; `actors/agent/container/` carries the steps out.

mod effort;
#[cfg(test)]
mod model;
#[cfg(test)]
mod space;
#[cfg(test)]
mod tests;
mod trial;

use std::collections::{BTreeMap, BTreeSet};

pub use self::effort::{Effort, TURNS, Then, Turn};
pub use self::trial::{Trial, is_on_trial};
use self::trial::{Verdict, verdict};
use super::observed::{Health, Observed, Phase};
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

/// What is known beside what the engine shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// The wanted container is not to be tried now, if there is another to be run in its place: it
    /// was refused, or its image is not there yet.
    pub is_held: bool,
    /// How long a new container has been on trial.
    pub trial: Trial,
    /// A clean end is an end: its policy does not start it again.
    pub may_end: bool,
    /// Any end is one.
    pub is_once: bool,
}

/// One thing to do. The image and the new container are there before what runs is stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Have the image.
    Pull,
    /// Give this container, which is the module's so far, the name of one that is kept aside.
    Aside(String),
    /// Create the container.
    Create,
    /// Stop this container.
    Stop(String),
    /// Start the one that was just created.
    StartNew,
    /// Start this one.
    Start(String),
    /// Note that the wanted container did not come up, and why; before anything is undone.
    Refuse(String),
    /// Remove this container; volumes are kept.
    Remove(String),
    /// Give this one, which was kept aside, its module's name again.
    Back(String),
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
    /// Modules of which the wanted container runs, and with which nothing is to be done.
    pub fn running(&self, wanted: &[Want], observed: &[Observed]) -> BTreeSet<String> {
        let modules = self.groups.iter().flat_map(|(_, modules)| modules);
        let idle: BTreeSet<&String> =
            modules.filter(|(_, steps)| steps.is_empty()).map(|(name, _)| name).collect();
        let runs = |want: &&Want| {
            let is_it = |it: &&Observed| it.module == want.name && it.spec_hash == want.hash;
            observed.iter().filter(is_it).any(|it| it.phase == Phase::Running)
        };
        let wanted = wanted.iter().filter(|want| idle.contains(&want.name)).filter(runs);
        wanted.map(|want| want.name.clone()).collect()
    }

    /// Whether nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.unwanted.is_empty() && self.works().all(|(_, steps)| steps.is_empty())
    }

    /// What is to be done that was not to be done before: what cannot be done now is planned again
    /// and again.
    pub fn news_since<'a>(&'a self, before: &Plan) -> Vec<&'a Work> {
        let known: Vec<&Work> = before.works().collect();
        self.works().filter(|work| !work.1.is_empty() && !known.contains(work)).collect()
    }

    fn works(&self) -> impl Iterator<Item = &Work> {
        self.unwanted.iter().chain(self.groups.iter().flat_map(|(_, works)| works))
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
        group.push((want.name.clone(), steps(want, &have, Known::default())));
    }
    by_module.retain(|module, _| !kept.iter().any(|kept| kept == module));
    let unwanted = by_module.into_iter().map(|(module, have)| (module.to_owned(), removal(&have)));
    Plan { unwanted: unwanted.collect(), groups: groups.into_iter().collect() }
}

/// How the containers of a module stand to what is wanted.
#[derive(Clone, Debug, Default)]
pub struct Stand<'a> {
    /// The one to be run: the wanted one; or, while that is held, the one that ran before.
    pub target: Option<&'a Observed>,
    /// Another that ran before: there is a way back.
    pub before: Option<&'a Observed>,
    /// To be removed.
    pub others: Vec<&'a Observed>,
}

/// Tells them apart.
pub fn stand<'a>(want: &Want, have: &[&'a Observed], known: Known) -> Stand<'a> {
    let is_usable = |it: &Observed| {
        !matches!(it.phase, Phase::Dead | Phase::Removing)
            && want.generation.as_ref().is_none_or(|wanted| *wanted == it.generation)
    };
    let usable = || have.iter().copied().filter(|it| is_usable(it));
    let wanted = usable().filter(|it| it.spec_hash == want.hash);
    let wanted = wanted.max_by_key(|it| (it.phase == Phase::Running, &it.id));
    let older = |aside: bool| {
        // To one that never ran there is no way back.
        let is_it = |it: &Observed| it.is_aside == aside && !(aside && it.phase == Phase::Created);
        let older = usable().filter(|it| it.spec_hash != want.hash && is_it(it));
        // While the wanted one is refused, a job that is done is not taken away for it either.
        let stays = |it: &Observed| known.is_held || it.is_aside || is_up(it) || !rests(it, known);
        let older = older.filter(|it| stays(it));
        older.max_by_key(|it| (it.phase == Phase::Running, &it.id))
    };
    let (target, before) = match (wanted, older(true)) {
        // What has come up has nobody aside; beside one in the module's place all else is left over.
        (Some(_), Some(aside)) if known.is_held => (Some(aside), None),
        (Some(wanted), aside) => (Some(wanted), aside),
        // What runs well; else what did.
        (None, aside) => match older(false).filter(|it| runs_well(it)).or(aside).or(older(false)) {
            Some(before) if known.is_held => (Some(before), None),
            before => (None, before),
        },
    };
    let is_one = |it: &Observed, one: Option<&Observed>| one.is_some_and(|one| one.id == it.id);
    let others = have.iter().copied().filter(|it| !is_one(it, target) && !is_one(it, before));
    Stand { target, before, others: others.collect() }
}

/// What is to be done for one module, in this order.
pub fn steps(want: &Want, have: &[&Observed], known: Known) -> Vec<Step> {
    let Stand { target, before, others } = stand(want, have, known);
    match (target, before) {
        (None, before) => renewal(want, before, &others),
        (Some(target), _) if target.is_aside => returning(want, target, &others),
        (Some(target), None) => {
            let mut steps = removal(&others);
            match (want.status, target.phase) {
                (DesiredStatus::Running, Phase::Created) => {
                    steps.push(Step::Start(target.id.clone()));
                }
                (DesiredStatus::Stopped, _) if is_up(target) => {
                    steps.push(Step::Stop(target.id.clone()));
                }
                _ => {}
            }
            steps
        }
        (Some(new), Some(old)) => on_trial(want, known, (new, old), &others),
    }
}

/// There is no container as it is wanted.
fn renewal(want: &Want, before: Option<&Observed>, others: &[&Observed]) -> Vec<Step> {
    let mut steps = vec![Step::Pull];
    steps.extend(removal(others));
    if let Some(old) = before.filter(|old| !old.is_aside) {
        steps.push(Step::Aside(old.id.clone()));
    }
    steps.push(Step::Create);
    let runs = want.status == DesiredStatus::Running;
    match before {
        Some(old) if runs => steps.extend(stop(old)),
        Some(old) => steps.extend(removal(&[old])),
        None => {}
    }
    if runs {
        steps.push(Step::StartNew);
    }
    steps
}

/// The one to be run is kept aside: it takes its place again. Until it has, it is known to be kept.
fn returning(want: &Want, target: &Observed, others: &[&Observed]) -> Vec<Step> {
    let mut steps: Vec<Step> = others.iter().flat_map(|it| stop(it)).collect();
    match want.status {
        DesiredStatus::Running if !is_up(target) => steps.push(Step::Start(target.id.clone())),
        DesiredStatus::Stopped => steps.extend(stop(target)),
        _ => {}
    }
    steps.extend(others.iter().map(|it| Step::Remove(it.id.clone())));
    steps.push(Step::Back(target.id.clone()));
    steps
}

/// The new one is there, and the old one is kept until it is up.
fn on_trial(
    want: &Want,
    known: Known,
    (new, old): (&Observed, &Observed),
    others: &[&Observed],
) -> Vec<Step> {
    let mut steps = removal(others);
    match verdict(want.status, new, known) {
        Verdict::Start => {
            steps.extend(stop(old));
            steps.push(Step::Start(new.id.clone()));
        }
        Verdict::Wait => steps.extend(stop(old)),
        Verdict::Up => steps.extend(removal(&[old])), // one that is not to run is stopped next
        Verdict::Failed(why) => {
            steps.push(Step::Refuse(why));
            let left = [new, old]; // the others are gone by then
            steps.extend(self::steps(want, &left, Known { is_held: true, ..known }));
        }
    }
    steps
}

/// It is done, or never began: nobody goes back to it.
fn rests(container: &Observed, known: Known) -> bool {
    known.is_once || known.may_end && matches!(container.exit_code, None | Some(0))
}

fn runs_well(container: &Observed) -> bool {
    container.phase == Phase::Running && matches!(container.health, Health::None | Health::Healthy)
}

fn is_up(container: &Observed) -> bool {
    matches!(container.phase, Phase::Running | Phase::Paused | Phase::Restarting)
}

fn stop(container: &Observed) -> Option<Step> {
    is_up(container).then(|| Step::Stop(container.id.clone()))
}

/// Stops and removes all of these.
pub fn removal(have: &[&Observed]) -> Vec<Step> {
    let both = |it: &&Observed| stop(it).into_iter().chain([Step::Remove(it.id.clone())]);
    have.iter().flat_map(both).collect()
}
