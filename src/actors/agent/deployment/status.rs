//! How the modules of this device do, for people and for the API.

use actix::prelude::*;

use super::Deployment;
use crate::actors::clock;
use crate::domain::agent::fields::Invalid;
use crate::domain::agent::manifest::{ModuleSpec, SYSTEM_MODULES};
use crate::domain::agent::state::{ModuleState, differences};
use crate::domain::agent::when::iso;
use crate::domain::agent::words::ModuleStatus;
use crate::messages::agent::{AgentStatus, GetAgentStatus, GetWantedImages, ModuleStatusLine};

impl Handler<GetAgentStatus> for Deployment {
    type Result = MessageResult<GetAgentStatus>;

    fn handle(&mut self, _: GetAgentStatus, _: &mut Self::Context) -> Self::Result {
        let (code, description) = self.outcome();
        MessageResult(AgentStatus {
            desired_version: self.version,
            code,
            description,
            engine: self.engine.text.clone(),
            deployment_seconds: self.times.deployment(),
            modules: self.lines(),
        })
    }
}

impl Handler<GetWantedImages> for Deployment {
    type Result = MessageResult<GetWantedImages>;

    fn handle(&mut self, _: GetWantedImages, _: &mut Self::Context) -> Self::Result {
        let current = self.current.iter().flatten();
        let manifests: Vec<_> = current.chain(&self.good).collect();
        let specs = manifests.iter().flat_map(|it| it.modules.values().flatten());
        let names = specs.map(|spec| spec.image.reference()).collect();
        MessageResult((!manifests.is_empty()).then_some(names))
    }
}

impl Deployment {
    fn lines(&self) -> Vec<ModuleStatusLine> {
        let mut lines: Vec<ModuleStatusLine> = SYSTEM_MODULES.map(|name| self.system(name)).into();
        let newest = self.current.as_ref().and_then(|current| current.as_ref().ok());
        let Some(manifest) = newest.or(self.good.as_ref()) else { return lines };
        for (name, spec) in &manifest.modules {
            let state = self.states.get(name).map(|it| self.as_of_now(it)).unwrap_or_default();
            let line = line(name, spec, &state, self.trouble.as_deref());
            let (wanted_seconds, running_seconds) = self.times.of(name);
            lines.push(ModuleStatusLine { wanted_seconds, running_seconds, ..line });
        }
        let gone = self.states.values().filter(|it| !manifest.modules.contains_key(&it.name));
        lines.extend(gone.map(|state| ModuleStatusLine {
            differences: vec!["is no longer wanted, and is still there".into()],
            ..plain(&state.name, state)
        }));
        lines
    }

    fn system(&self, name: &str) -> ModuleStatusLine {
        let system = self.good.as_ref().and_then(|manifest| manifest.system.get(name));
        let place = format!("systemModules.{name} ");
        let notes = self.good.iter().flat_map(|manifest| &manifest.warnings);
        ModuleStatusLine {
            name: name.into(),
            notes: notes.filter(|note| note.starts_with(&place)).cloned().collect(),
            status: ModuleStatus::Running.to_string(),
            since: Some(iso(self.started)),
            why: format!("part of edge-runtime {}", self.config.version),
            image: system.map(|system| system.image.clone()).unwrap_or_default(),
            ..ModuleStatusLine::default()
        }
    }
}

fn line(
    name: &str,
    spec: &Result<ModuleSpec, Invalid>,
    state: &ModuleState,
    trouble: Option<&str>,
) -> ModuleStatusLine {
    let mut line = plain(name, state);
    line.differences = differences(spec, state);
    match spec {
        // While an update is not there, what runs is of another image than is deployed.
        Ok(spec) if state.image.is_empty() => line.image = spec.image.to_string(),
        Ok(_) => line.image.clone_from(&state.image),
        Err(invalid) => {
            line.status = ModuleStatus::Failed.to_string();
            line.why = invalid.to_string();
        }
    }
    if line.why.is_empty() && state.status == ModuleStatus::Unknown {
        line.why = trouble.unwrap_or_default().to_owned();
    }
    line
}

fn plain(name: &str, state: &ModuleState) -> ModuleStatusLine {
    // What runs does so since its container was started: we may have come later.
    let runs = matches!(state.status, ModuleStatus::Running | ModuleStatus::Unhealthy);
    ModuleStatusLine {
        name: name.into(),
        status: state.status.to_string(),
        since: state.started.filter(|_| runs).or(state.since).map(iso),
        restarts: state.restarts,
        why: state.line(),
        next_attempt: state
            .next_attempt
            .map(|at| iso(clock::unix_time() + at.saturating_duration_since(clock::now()))),
        exit_code: state.exit_code,
        ..ModuleStatusLine::default()
    }
}
