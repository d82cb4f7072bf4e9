//! How a module does, and what that makes of the deployment: `lastDesiredStatus`, differences.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::fields::Invalid;
use super::manifest::{Manifest, ModuleSpec, Rejected};
use super::words::{DesiredStatus, ModuleStatus};

/// How far a module's desired properties were carried out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Applied {
    /// Not yet.
    #[default]
    Pending,
    /// The container is the wanted one. How it does is another matter.
    Done,
    /// It could not be, and is tried again.
    Failed(String),
}

/// How a module does, as the one who runs it sees it. Times are since the epoch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModuleState {
    /// The module.
    pub name: String,
    /// In a word.
    pub status: ModuleStatus,
    /// When it came to be so.
    pub since: Option<Duration>,
    /// Why, in words; does not change by the second.
    pub why: String,
    /// How far a download is.
    pub progress: String,
    /// The same in steps of ten per cent, for reports; holds while there is progress.
    pub percent: Option<u8>,
    /// Restarts since it was last healthy.
    pub restarts: u32,
    /// The last of them.
    pub last_restart: Option<Duration>,
    /// When it is tried again: not by the wall clock, which may be set meanwhile.
    pub next_attempt: Option<Instant>,
    /// Of the last run.
    pub exit_code: Option<i64>,
    /// When the last run began.
    pub started: Option<Duration>,
    /// When the last run ended.
    pub finished: Option<Duration>,
    /// The image of its container, as it was deployed; empty: it has none.
    pub image: String,
    /// Hash of the image that is run.
    pub image_id: String,
    /// Whether it is what was asked for.
    pub applied: Applied,
    /// Of the desired properties that ask for it.
    pub version: u64,
    /// It runs (and is healthy, where it has a health check), or rests as is right.
    pub is_up: bool,
    /// It ended well, and its policy does not start it again.
    pub is_done: bool,
}

impl ModuleState {
    /// Whether modules that start later need not wait for it.
    pub fn is_settled(&self) -> bool {
        self.is_up && self.applied != Applied::Pending
    }

    /// Everything that an operator should know, in one line.
    pub fn line(&self) -> String {
        with(&self.why, &self.progress)
    }

    /// The same for reports: it does not change by the second.
    pub fn description(&self) -> String {
        match self.percent.filter(|_| !self.progress.is_empty()) {
            Some(percent) => with(&self.why, &format!("downloaded {percent} %")),
            None => self.why.clone(),
        }
    }
}

fn with(why: &str, progress: &str) -> String {
    match (why.is_empty(), progress.is_empty()) {
        (_, true) => why.to_owned(),
        (true, false) => progress.to_owned(),
        (false, false) => format!("{why} ({progress})"),
    }
}

/// Code and description of `lastDesiredStatus`. Without `current` none was read yet; `trouble` is
/// why modules cannot be looked at now.
pub fn outcome(
    current: Option<&Result<Manifest, Rejected>>,
    states: &BTreeMap<String, ModuleState>,
    trouble: Option<&str>,
) -> (u16, String) {
    let Some(current) = current else {
        return (406, trouble.unwrap_or("no deployment was read yet").into());
    };
    match (of_deployment(current, states), trouble) {
        ((406, _), Some(trouble)) => (500, trouble.into()),
        (outcome, _) => outcome,
    }
}

/// What came of a deployment as a whole.
fn of_deployment(
    deployment: &Result<Manifest, Rejected>,
    states: &BTreeMap<String, ModuleState>,
) -> (u16, String) {
    let manifest = match deployment {
        Ok(manifest) => manifest,
        Err(rejected) => return (rejected.code(), rejected.to_string()),
    };
    let bad: Vec<&Invalid> = manifest.modules.values().filter_map(|it| it.as_ref().err()).collect();
    if !bad.is_empty() {
        let bad = bad.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        return (400, format!("not all modules are well formed: {bad}"));
    }
    let applied = |name: &String| states.get(name).map(|it| it.applied.clone()).unwrap_or_default();
    let applied: Vec<(&String, Applied)> =
        manifest.modules.keys().map(|name| (name, applied(name))).collect();
    let failed = applied.iter().filter_map(|(name, applied)| match applied {
        Applied::Failed(why) => Some(format!("{name}: {why}")),
        Applied::Pending | Applied::Done => None,
    });
    let failed = failed.collect::<Vec<_>>().join("; ");
    if !failed.is_empty() {
        return (500, failed);
    }
    let pending = applied.iter().filter(|(_, applied)| *applied == Applied::Pending);
    let pending = pending.map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
    if !pending.is_empty() {
        return (406, format!("is being applied to: {pending}"));
    }
    (200, String::new())
}

/// In what a module is not as it was asked for; empty: in sync.
pub fn differences(spec: &Result<ModuleSpec, Invalid>, state: &ModuleState) -> Vec<String> {
    let spec = match spec {
        Ok(spec) => spec,
        Err(invalid) => return vec![format!("its desired properties are wrong: {invalid}")],
    };
    let mut differences = Vec::new();
    let mut why = state.why.as_str();
    match &state.applied {
        Applied::Done => {}
        Applied::Pending => differences.push("its desired properties are being applied".into()),
        Applied::Failed(because) => {
            differences.push(format!("could not be applied: {because}"));
            why = Some(why).filter(|why| why != because).unwrap_or_default();
        }
    }
    let is_wanted = match spec.status {
        DesiredStatus::Running if state.is_done => state.status == ModuleStatus::Stopped,
        DesiredStatus::Running => state.status == ModuleStatus::Running,
        DesiredStatus::Stopped => {
            matches!(state.status, ModuleStatus::Stopped | ModuleStatus::Failed)
        }
        DesiredStatus::Other(_) => true,
    };
    if !is_wanted {
        let (wanted, is) = (spec.status.as_str(), state.status);
        let colon = if why.is_empty() { "" } else { ": " };
        differences.push(format!("status: desired {wanted}, is {is}{colon}{why}"));
    }
    differences
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn manifest(modules: serde_json::Value) -> Result<Manifest, Rejected> {
        let document = json!({
            "schemaVersion": "1.1", "runtime": {"type": "docker"}, "systemModules": {},
            "modules": modules,
        });
        Manifest::parse(&document, None)
    }

    fn states(applied: &[(&str, Applied)]) -> BTreeMap<String, ModuleState> {
        let state = |name: &str, applied: &Applied| {
            let state = ModuleState { applied: applied.clone(), ..ModuleState::default() };
            (name.to_owned(), state)
        };
        applied.iter().map(|(name, applied)| state(name, applied)).collect()
    }

    #[test]
    fn the_code_tells_what_came_of_the_deployment() {
        let module = json!({"type": "docker", "status": "running", "settings": {"image": "i"}});
        let good = manifest(json!({"a": module, "b": module}));
        let bad = manifest(json!({"a": module, "b": {"type": "docker"}}));
        let failed = || Applied::Failed("no such image".into());
        fn code(deployment: &Result<Manifest, Rejected>, applied: &[(&str, Applied)]) -> u16 {
            outcome(Some(deployment), &states(applied), None).0
        }
        assert_eq!(code(&good, &[]), 406);
        assert_eq!(code(&good, &[("a", Applied::Done)]), 406);
        assert_eq!(code(&good, &[("a", Applied::Done), ("b", Applied::Done)]), 200);
        assert_eq!(code(&good, &[("a", Applied::Done), ("b", failed())]), 500);
        assert_eq!(code(&good, &[("b", failed())]), 500);
        assert_eq!(code(&bad, &[("a", Applied::Done)]), 400);
        assert_eq!(code(&manifest(json!({})), &[]), 200, "nothing is asked for, and that is so");
        assert_eq!(code(&Err(Rejected::Empty), &[("a", Applied::Done)]), 417);
        let (_, why) = outcome(Some(&good), &states(&[("b", failed())]), None);
        assert_eq!(why, "b: no such image");
        let away = |applied: &[(&str, Applied)]| {
            outcome(Some(&good), &states(applied), Some("the engine is away")).0
        };
        assert_eq!(away(&[]), 500, "nothing can be applied");
        assert_eq!(away(&[("a", Applied::Done), ("b", Applied::Done)]), 200, "it was applied");
        assert_eq!(outcome(None, &states(&[]), None).0, 406);
    }

    #[test]
    fn a_module_is_in_sync_if_it_is_as_asked_for_or_has_ended_well_for_good() {
        use ModuleStatus::{Backoff, Failed, Running, Stopped, Unhealthy};
        let spec = |status: &str| {
            let module = json!({"type": "docker", "status": status, "settings": {"image": "i"}});
            manifest(json!({ "m": module })).unwrap().modules.remove("m").unwrap()
        };
        for (wanted, status, is_done, is_in_sync) in [
            ("running", Running, false, true),
            ("running", Stopped, true, true),
            ("running", Stopped, false, false),
            ("running", Failed, false, false),
            ("running", Unhealthy, false, false),
            ("running", Backoff, false, false),
            ("stopped", Stopped, false, true),
            ("stopped", Running, false, false),
        ] {
            let applied = Applied::Done;
            let state = ModuleState { status, is_done, applied, ..ModuleState::default() };
            let found = differences(&spec(wanted), &state);
            assert_eq!(found.is_empty(), is_in_sync, "{wanted} {status} {is_done}: {found:?}");
        }
        let told = |applied: Applied, why: &str| {
            let why = why.to_owned();
            let state = ModuleState { status: Backoff, applied, why, ..ModuleState::default() };
            differences(&spec("running"), &state).join(" | ")
        };
        let because = "status: desired running, is backoff";
        assert_eq!(told(Applied::Done, "it ended"), format!("{because}: it ended"));
        let failed = || Applied::Failed("no image".into());
        let once = format!("could not be applied: no image | {because}");
        assert_eq!(told(failed(), "no image"), once, "a reason is told once");
        assert_eq!(told(failed(), "it ended"), format!("{once}: it ended"));
    }
}
