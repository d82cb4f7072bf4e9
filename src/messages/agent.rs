//! What EdgeAgent's actors answer to.

use actix::Message;
use serde::Serialize;

/// The modules of this device, for people and for the API.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "AgentStatus")]
pub struct GetAgentStatus;

/// See [`GetAgentStatus`].
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct AgentStatus {
    /// Desired version acted upon.
    pub desired_version: Option<u64>,
    /// `lastDesiredStatus` code and description.
    pub code: u16,
    /// See `code`.
    pub description: String,
    /// `ready`, or why the container engine cannot be used.
    pub engine: String,
    /// How long it took from reading a deployment to its 200: of the last one that got there.
    pub deployment_seconds: Option<f64>,
    /// Every module, `edgeAgent` and `edgeHub` first.
    pub modules: Vec<ModuleStatusLine>,
}

/// One module.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ModuleStatusLine {
    /// Name in the deployment.
    pub name: String,
    /// `running`, `backoff`, ….
    pub status: String,
    /// ISO-8601 of when the status began.
    pub since: Option<String>,
    /// Restarts counted.
    pub restarts: u32,
    /// Why it is as it is.
    pub why: String,
    /// ISO-8601 of the next try.
    pub next_attempt: Option<String>,
    /// As in the deployment.
    pub image: String,
    /// Of the last exit.
    pub exit_code: Option<i64>,
    /// Differences between desired and actual; empty: in sync.
    pub differences: Vec<String>,
    /// What its deployment says and is not acted on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// So long it was to run, since our start.
    pub wanted_seconds: f64,
    /// So long of that it ran, and did not fail its health check.
    pub running_seconds: f64,
}

/// What a deployment would do to this device; nothing is changed. The content of `$edgeAgent` as a
/// manifest gives it (`properties.desired`, and layers of it). An error names code and reason.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Previewed, String>")]
pub struct PreviewDeployment(pub serde_json::Value);

/// See [`PreviewDeployment`].
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Previewed {
    /// Module by module.
    pub modules: Vec<crate::domain::agent::preview::ModuleChange>,
    /// Images of which a container would be made, and their bytes if they are here.
    pub images: Vec<(String, Option<u64>)>,
    /// What of the deployment is not acted on, or cannot work here.
    pub notes: Vec<String>,
}

/// Restarts the container of a module; answers when the engine has done it.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<(), String>")]
pub struct RestartModule(pub String);

/// The last lines a module wrote, to standard output and error.
#[derive(Clone, Debug, Default, Message)]
#[rtype(result = "Result<ModuleLogs, String>")]
pub struct GetLogs {
    /// Name in the deployment.
    pub module: String,
    /// Lines; all without.
    pub tail: Option<usize>,
    /// From then on, in seconds of Unix time.
    pub since: Option<u64>,
    /// Until then, in seconds of Unix time.
    pub until: Option<u64>,
    /// Each line begins with the time at which the engine got it, and a space.
    pub is_stamped: bool,
    /// Goes on as lines are written, over restarts.
    pub follow: bool,
}

/// A piece of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogChunk {
    /// Of standard error, not output.
    pub is_error: bool,
    /// As written.
    pub bytes: bytes::Bytes,
}

/// A stream of chunks; one that is followed ends with the module, or when the reader goes away.
pub type ModuleLogs = futures_util::stream::BoxStream<'static, Result<LogChunk, String>>;

/// What the engine says of the container of a module; a JSON object, with all its secrets.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<serde_json::Value, String>")]
pub struct InspectModule(pub String);

/// The images that the present or the last good deployment names; `None` while neither is known.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Option<Vec<String>>")]
pub struct GetWantedImages;

/// Stops every module's container (`edgectl stop --modules`).
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct StopModules;

/// The modules that are to be on this device, all of them: `workload` makes the directory and the
/// socket of each (`domain/workload.rs`) and removes the others'. Asked before a container is made:
/// answers when the sockets listen, or names those that do not.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<(), String>")]
pub struct ModulesChanged(pub Vec<String>);
