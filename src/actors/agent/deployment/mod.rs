//! The deployment of this device: desired state in, plan out, reported state back.
//!
//! Started by `edge-agent`. What is wanted comes from twins, or, where that cannot be used, is the
//! last deployment that could; what is there comes from the engine. Modules carry it out on their
//! own: this actor waits for none of them.
//! next: `apply.rs`, then `actors/agent/modules/mod.rs`; `report.rs` for the way back.

mod apply;
mod preview;
mod report;
mod status;
mod times;

use std::collections::BTreeMap;
use std::time::Duration;

use actix::prelude::*;
use serde_json::Value;

use self::report::Reporting;
use self::times::Times;
use super::{AgentConfig, AgentPorts};
use crate::actors::clock;
use crate::actors::supervision::{Obituary, Supervised};
use crate::domain::agent::manifest::{Manifest, Rejected};
use crate::domain::agent::plan::Plan;
use crate::domain::agent::state::{Applied, ModuleState, outcome};
use crate::domain::identity::Identity;
use crate::messages::engine::{EngineNotice, EngineStatus};
use crate::messages::modules::{ModuleChanged, ModuleGone, ModulesStarted};
use crate::messages::supervision::Health;
use crate::messages::twins::TwinChanged;

/// Everything is looked at anew now and then.
const RESYNC: Duration = Duration::from_secs(300);
/// What could not be done is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// A restarted `workload` learns of the modules again.
const RETELL: Duration = Duration::from_secs(30);

/// See the module documentation.
pub struct Deployment {
    config: AgentConfig,
    ports: AgentPorts,
    own: Identity,
    /// Of the desired properties in `current`.
    version: Option<u64>,
    /// What was made of the desired properties.
    current: Option<Result<Manifest, Rejected>>,
    /// The last one that could be used: modules follow it.
    good: Option<Manifest>,
    /// That one is on disk, for a start without a parent.
    is_kept: bool,
    states: BTreeMap<String, ModuleState>,
    /// What was to be done at the last look.
    planned: Plan,
    engine: EngineStatus,
    /// Why the modules cannot be assigned now.
    trouble: Option<String>,
    is_applying: bool,
    apply_again: bool,
    retry: Option<SpawnHandle>,
    reporting: Reporting,
    times: Times,
    started: Duration,
    obituary: Obituary,
}

impl Deployment {
    /// Knows nothing yet. Fails if the device's id makes no id of its agent.
    pub fn new(config: AgentConfig, ports: AgentPorts, obituary: Obituary) -> Self {
        let own = config.device.sibling("$edgeAgent").unwrap_or_else(|_| config.device.clone());
        Deployment {
            config,
            ports,
            own,
            version: None,
            current: None,
            good: None,
            is_kept: false,
            states: BTreeMap::new(),
            planned: Plan::default(),
            engine: EngineStatus::default(),
            trouble: None,
            is_applying: false,
            apply_again: false,
            retry: None,
            reporting: Reporting::default(),
            times: Times::default(),
            started: clock::unix_time(),
            obituary,
        }
    }

    /// What a module said of an earlier deployment says nothing of this one.
    fn as_of_now(&self, state: &ModuleState) -> ModuleState {
        let is_of_now = self.version.is_none_or(|version| state.version == version);
        let applied = if is_of_now { state.applied.clone() } else { Applied::Pending };
        ModuleState { applied, ..state.clone() }
    }

    /// `lastDesiredStatus`, by all that is known.
    fn outcome(&self) -> (u16, String) {
        let states = self.states.iter().map(|(name, state)| (name.clone(), self.as_of_now(state)));
        outcome(self.current.as_ref(), &states.collect(), self.trouble.as_deref())
    }
}

impl Actor for Deployment {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let own = ctx.address();
        self.ports.engine_to_deployment.plug(&own);
        self.ports.twin_changed.plug(&own);
        self.ports.status.plug(&own);
        self.ports.preview.plug(&own);
        self.ports.wanted_images.plug(&own);
        self.ports.module_changed.plug(&own);
        self.ports.module_gone.plug(&own);
        self.ports.modules_started.plug(&own);
        ctx.run_interval(RESYNC, Self::apply);
        ctx.run_interval(RETELL, |this, _| this.tell_sockets());
        ctx.run_interval(report::INTERVAL, Self::report);
        ctx.run_interval(times::STEP, |this, _| this.count_times());
        self.apply(ctx);
    }
}

impl Supervised for Deployment {
    fn obituary(&mut self) -> &mut Obituary {
        &mut self.obituary
    }

    fn health(&self) -> Health {
        let (code, why) = self.outcome();
        let version = self.version.map_or("none".into(), |version| version.to_string());
        Health { state: format!("version {version}: {code} {why}").trim_end().to_owned() }
    }

    fn shut_down(&mut self, ctx: &mut Context<Self>) {
        self.report_last(ctx);
    }
}
crate::supervised!(Deployment);

impl Handler<TwinChanged> for Deployment {
    type Result = ();

    fn handle(&mut self, changed: TwinChanged, ctx: &mut Self::Context) {
        match changed {
            TwinChanged::Desired(whose) if whose == self.own => self.apply(ctx),
            TwinChanged::Reported(whose) if whose == self.own => self.reporting.doubt(),
            TwinChanged::Desired(_) | TwinChanged::Reported(_) => {}
        }
    }
}

impl Handler<EngineNotice> for Deployment {
    type Result = ();

    fn handle(&mut self, _: EngineNotice, ctx: &mut Self::Context) {
        self.apply(ctx);
    }
}

impl Handler<ModulesStarted> for Deployment {
    type Result = ();

    fn handle(&mut self, _: ModulesStarted, ctx: &mut Self::Context) {
        self.states.clear(); // they look anew
        self.apply(ctx);
    }
}

impl Handler<ModuleChanged> for Deployment {
    type Result = ();

    fn handle(&mut self, ModuleChanged(state): ModuleChanged, _: &mut Self::Context) {
        self.states.insert(state.name.clone(), state);
        self.reporting.mark();
    }
}

impl Handler<ModuleGone> for Deployment {
    type Result = ();

    fn handle(&mut self, ModuleGone(name): ModuleGone, _: &mut Self::Context) {
        self.states.remove(&name);
        self.reporting.mark();
    }
}

/// The object under this name, or null.
fn part(document: &[u8], name: &str) -> Option<Value> {
    let document: Value = serde_json::from_slice(document).ok()?;
    Some(document.get(name).cloned().unwrap_or_else(|| Value::Object(Default::default())))
}
