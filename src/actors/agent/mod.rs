//! EdgeAgent: `engine` (Docker), `deployment` (desired in, plan out, reported back), `modules`
//! (a supervisor of modules), `module` (one module), `container` (one run of its container),
//! `roster` (their identities at the parent).
//!
//! ```text
//!  twins ─TwinChanged─► deployment ─Assign─► modules ─Adapt─► module ─► container ─► engine
//!  twins ◄─PatchReported── deployment ◄──────ModuleChanged────── module ◄─ RunReport
//! ```
//!
//! Restarting any of these actors restarts no container. next: `deployment/mod.rs`.

pub mod container;
pub mod deployment;
pub mod engine;
pub mod module;
pub mod modules;
pub mod roster;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;

use super::port::Port;
use crate::domain::agent::image_rules::ImageRules;
use crate::domain::agent::manifest::Credential;
use crate::domain::identity::Identity;
use crate::messages::agent::{
    GetAgentStatus, GetLogs, GetWantedImages, InspectModule, ModulesChanged, PreviewDeployment,
    RestartModule, StopModules,
};
use crate::messages::engine::{EngineNotice, GetEngineStatus, ListContainers, PullImage, Run};
use crate::messages::identities::Lookup;
use crate::messages::modules::{
    Assign, MakeIdentity, ModuleChanged, ModuleGone, ModulesStarted, ModulesWanted,
};
use crate::messages::state::{Fetch, Save, Scan};
use crate::messages::twins::{GetDesired, GetTwin, PatchReported, TwinChanged};
use crate::protocol::docker::DAEMON_FILE;
use crate::store::vault::Vault;

/// The table of the state store that EdgeAgent keeps the last good deployment in.
pub const TABLE: &str = "agent";

/// What EdgeAgent is told at start.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// This device.
    pub device: Identity,
    /// Host name of the hub, as in the connection string.
    pub hub: String,
    /// The name by which containers reach EdgeHub.
    pub gateway_hostname: String,
    /// Host name of the parent device, if there is one.
    pub parent_hostname: Option<String>,
    /// The modules' network.
    pub network: String,
    /// `unix:///var/run/docker.sock`, or `tcp://host:port`.
    pub docker: String,
    /// A deployment may have privileged containers, and give them capabilities.
    pub allow_elevated: bool,
    /// Log-ins to registries; a deployment's win.
    pub credentials: Vec<Credential>,
    /// How images come and go.
    pub images: ImagesConfig,
    /// State directory.
    pub state: PathBuf,
    /// Marks what is ours: unique per state directory, and the same after each start.
    pub instance: String,
    /// Of this program.
    pub version: String,
    /// So long a changed module's new container has to come up; zero: no time, it is up at once.
    pub update_deadline: Duration,
    /// So long modules wait for those of an earlier `startupOrder`.
    pub startup_deadline: Duration,
    /// Seals the last good deployment. None: it is kept as it is.
    pub vault: Option<Rc<Vault>>,
    /// The delay before the first restart of a container.
    pub restart_backoff: Duration,
    /// This boot of the machine; empty: it is not known.
    pub boot: String,
}

/// See [`AgentConfig`].
#[derive(Clone, Debug)]
pub struct ImagesConfig {
    /// Downloads at a time.
    pub max_pulls: usize,
    /// Of the engine's disk, what no download takes.
    pub reserve: u64,
    /// The engine's own configuration, as far as it is on this machine.
    pub daemon_file: PathBuf,
    /// Which may run.
    pub rules: ImageRules,
    /// When those that nothing needs go; `None`: never.
    pub collection: Option<Collection>,
}

/// See [`ImagesConfig`].
#[derive(Clone, Copy, Debug)]
pub struct Collection {
    /// Between two turns.
    pub every: Duration,
    /// So long nothing has needed them.
    pub age: Duration,
}

impl Default for ImagesConfig {
    fn default() -> Self {
        let (daemon_file, rules) = (DAEMON_FILE.into(), ImageRules::default());
        ImagesConfig { max_pulls: 3, reserve: 0, daemon_file, rules, collection: None }
    }
}

/// Makes the identity of a module at the parent (`PUT /devices/{d}/modules/{m}`); one that is
/// there already is as good.
pub type Registrar = Rc<dyn Fn(Identity) -> LocalBoxFuture<'static, Result<(), String>>>;

/// How EdgeAgent's actors reach one another and the rest of the tree. Each plugs itself in.
#[derive(Clone, Default)]
pub struct AgentPorts {
    /// Answered by `engine`.
    pub engine_status: Port<GetEngineStatus>,
    /// Answered by `engine`.
    pub list: Port<ListContainers>,
    /// Answered by `engine`.
    pub run: Port<Run>,
    /// Answered by `engine`.
    pub pull: Port<PullImage>,
    /// Answered by `engine`.
    pub logs: Port<GetLogs>,
    /// Answered by `engine`.
    pub inspect: Port<InspectModule>,
    /// Taken by `deployment`.
    pub engine_to_deployment: Port<EngineNotice>,
    /// Taken by `modules`.
    pub engine_to_modules: Port<EngineNotice>,
    /// Taken by `deployment`: told by twins.
    pub twin_changed: Port<TwinChanged>,
    /// Answered by `deployment`.
    pub status: Port<GetAgentStatus>,
    /// Answered by `deployment`.
    pub preview: Port<PreviewDeployment>,
    /// Taken by `deployment`.
    pub module_changed: Port<ModuleChanged>,
    /// Taken by `deployment`.
    pub module_gone: Port<ModuleGone>,
    /// Taken by `deployment`.
    pub modules_started: Port<ModulesStarted>,
    /// Taken by `modules`.
    pub assign: Port<Assign>,
    /// Answered by `modules`.
    pub restart: Port<RestartModule>,
    /// Answered by `modules`.
    pub stop: Port<StopModules>,
    /// Answered by `twins`.
    pub get_desired: Port<GetDesired>,
    /// Answered by `twins`.
    pub get_twin: Port<GetTwin>,
    /// Answered by `twins`.
    pub patch_reported: Port<PatchReported>,
    /// Answered by `identities`.
    pub lookup: Port<Lookup>,
    /// Answered by `workload`.
    pub sockets: Port<ModulesChanged>,
    /// Answered by `state`.
    pub fetch: Port<Fetch>,
    /// Answered by `state`.
    pub save: Port<Save>,
    /// Answered by `state`.
    pub scan: Port<Scan>,
    /// Answered by `deployment`.
    pub wanted_images: Port<GetWantedImages>,
    /// Answered by `roster`.
    pub make_identity: Port<MakeIdentity>,
    /// Taken by `roster`.
    pub modules_wanted: Port<ModulesWanted>,
}
