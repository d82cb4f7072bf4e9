//! How the runtime stands, put together from what its actors say of themselves.
//!
//! An actor that does not answer is a finding, not an error: it is named, and the rest is shown.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::actors::port::{NoAnswer, Port};
use crate::domain::identity::Identity;
use crate::messages::agent::{
    AgentStatus, GetAgentStatus, GetLogs, InspectModule, PreviewDeployment, RestartModule,
    StopModules,
};
use crate::messages::certificates::{CertificateStatus, GetCertificates};
use crate::messages::dead_letters::{Pause, ReadDeadLetters, Settle};
use crate::messages::engine::{Commands, GetEngineStatus, ListContainers, Run};
use crate::messages::identities::Lookup;
use crate::messages::local_topics::{GetLocalStatus, LocalStatus};
use crate::messages::queue::{Compact, GetQueueStatus, QueueStatus, TryRoutes};
use crate::messages::routes::{ListRoutes, RouteStatus};
use crate::messages::salvage::Report;
use crate::messages::sessions::{ListOnline, Online};
use crate::messages::supervision::{Snapshot, TakeSnapshot};
use crate::messages::trace::{Peek, Trace};
use crate::messages::twins::{GetDesired, GetTwinsStatus, ListRefused, TwinsStatus};
use crate::messages::upstream::{GetLinkStatus, LinkStatus};

/// How long an actor may take to say how it is.
const DEADLINE: Duration = Duration::from_secs(2);

/// Whom the management and metrics APIs ask.
#[derive(Clone, Default)]
pub struct ApiPorts {
    /// EdgeAgent: modules.
    pub agent: Port<GetAgentStatus>,
    /// EdgeAgent.
    pub preview: Port<PreviewDeployment>,
    /// EdgeAgent.
    pub restart: Port<RestartModule>,
    /// EdgeAgent.
    pub logs: Port<GetLogs>,
    /// EdgeAgent.
    pub inspect: Port<InspectModule>,
    /// EdgeAgent.
    pub list: Port<ListContainers>,
    /// EdgeAgent.
    pub run: Port<Run>,
    /// EdgeAgent.
    pub engine: Port<GetEngineStatus>,
    /// EdgeAgent.
    pub stop: Port<StopModules>,
    /// Upstream.
    pub link: Port<GetLinkStatus>,
    /// Queue.
    pub queue: Port<GetQueueStatus>,
    /// Queue.
    pub letters: Port<ReadDeadLetters>,
    /// Queue.
    pub settle: Port<Settle>,
    /// Queue.
    pub pause: Port<Pause>,
    /// Queue.
    pub try_routes: Port<TryRoutes>,
    /// Queue.
    pub compact: Port<Compact>,
    /// Queue.
    pub trace: Port<Trace>,
    /// Queue.
    pub peek: Port<Peek>,
    /// Sessions.
    pub online: Port<ListOnline>,
    /// Certificates.
    pub certificates: Port<GetCertificates>,
    /// Local topics.
    pub local: Port<GetLocalStatus>,
    /// Twins.
    pub twins: Port<GetTwinsStatus>,
    /// Twins.
    pub refused: Port<ListRefused>,
    /// Twins.
    pub desired: Port<GetDesired>,
    /// Routes.
    pub routes: Port<ListRoutes>,
    /// Identities.
    pub lookup: Port<Lookup>,
    /// The root supervisor.
    pub tree: Port<TakeSnapshot>,
    /// The root supervisor; test builds only.
    #[cfg(feature = "faults")]
    pub panic: Port<crate::messages::supervision::PanicAt>,
}

/// What does not change while the process runs.
#[derive(Clone, Debug)]
pub struct About {
    /// This device.
    pub device: Identity,
    /// The IoT hub's name.
    pub hub: String,
    /// Its name for clients.
    pub gateway_hostname: String,
    /// State directory, absolute.
    pub state: PathBuf,
    /// Settings that an operator should know of.
    pub warnings: Vec<String>,
    /// All settings, without secrets.
    pub settings: String,
}

/// See the module documentation.
#[derive(Debug, Serialize)]
pub struct Overview {
    /// Of the program.
    pub version: &'static str,
    /// This device.
    pub device: String,
    /// Its name for clients.
    pub gateway_hostname: String,
    /// All parts that clients need are ready.
    pub is_ready: bool,
    /// Part by part.
    pub parts: Vec<Part>,
    /// To the parent.
    pub link: Option<LinkStatus>,
    /// Store-and-forward.
    pub queue: Option<QueueStatus>,
    /// Who is online.
    pub clients: Option<Vec<Online>>,
    /// Topics that are none of IoT Hub's.
    pub local_topics: Option<LocalStatus>,
    /// Against the parent's.
    pub twins: Option<TwinsStatus>,
    /// Until when each is good.
    pub certificates: Vec<CertificateStatus>,
    /// What the container engine was told to do.
    #[serde(skip)]
    pub commands: BTreeMap<&'static str, Commands>,
    /// Modules.
    pub agent: Option<AgentStatus>,
    /// Actual is as desired.
    pub in_sync: bool,
    /// Where it is not.
    pub differences: Vec<Difference>,
    /// What an operator should know.
    pub warnings: Vec<String>,
}

/// A part of the runtime.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Part {
    /// Its name.
    pub name: &'static str,
    /// It works.
    pub is_ready: bool,
    /// Clients need it; without the others they are served all the same.
    pub is_needed: bool,
    /// Why it does not.
    pub why: Option<String>,
}

/// Something that is not as desired.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Module, or `deployment`.
    pub module: String,
    /// What.
    pub what: String,
    /// ISO-8601.
    pub since: Option<String>,
}

impl ApiPorts {
    /// Asks everybody, at one time.
    pub async fn overview(&self, about: &About) -> Overview {
        let desired = |module| {
            let identity = about.device.sibling(module);
            let asked = identity.map(|id| self.desired.ask(GetDesired(id), DEADLINE));
            async move {
                match asked {
                    Ok(asked) => asked.await,
                    Err(_) => Err(NoAnswer),
                }
            }
        };
        let (link, queue, clients, local, twins, agent, routes, hub_twin, agent_twin) = tokio::join!(
            self.link.ask(GetLinkStatus, DEADLINE),
            self.queue.ask(GetQueueStatus, DEADLINE),
            self.online.ask(ListOnline, DEADLINE),
            self.local.ask(GetLocalStatus, DEADLINE),
            self.twins.ask(GetTwinsStatus, DEADLINE),
            self.agent.ask(GetAgentStatus, DEADLINE),
            self.routes.ask(ListRoutes, DEADLINE),
            desired("$edgeHub"),
            desired("$edgeAgent"),
        );
        let engine = self.engine.ask(GetEngineStatus, DEADLINE).await.unwrap_or_default();
        let certificates = self.certificates.ask(GetCertificates, DEADLINE).await;
        let certificates = certificates.unwrap_or_default();
        let parts = vec![
            part("twins", true, &twins, |_| None),
            part("queue", true, &queue, |queue| match queue {
                Ok(queue) => Some(queue.state.clone()).filter(|state| state != "ready"),
                Err(why) => Some(why.to_string()),
            }),
            part("routes", true, &hub_twin, |twin| {
                let why = "routes are not known yet: connect to the parent once, with a deployment";
                twin.is_none().then(|| why.into())
            }),
            part("sessions", true, &clients, |_| None),
            part("agent", false, &agent, |agent| {
                Some(agent.engine.clone()).filter(|engine| engine != "ready")
            }),
            part("link", false, &link, |link| {
                let why = || link.why.clone().unwrap_or_else(|| link.state.clone());
                (link.state != "connected").then(why)
            }),
        ];
        let wanted = agent_twin.ok().flatten().map(|twin| twin.version);
        let mut differences = differences(agent.as_ref().ok(), wanted);
        differences.extend(bad_routes(routes.unwrap_or_default()));
        Overview {
            version: env!("CARGO_PKG_VERSION"),
            device: about.device.to_string(),
            gateway_hostname: about.gateway_hostname.clone(),
            is_ready: parts.iter().all(|part| part.is_ready || !part.is_needed),
            parts,
            link: link.ok(),
            warnings: warnings(
                about,
                queue.as_ref().ok().and_then(|queue| queue.as_ref().ok()),
                &certificates,
            ),
            queue: queue.ok().and_then(Result::ok),
            clients: clients.ok(),
            local_topics: local.ok().filter(|local| local.is_enabled),
            twins: twins.ok(),
            certificates,
            commands: engine.commands,
            agent: agent.ok(),
            in_sync: differences.is_empty(),
            differences,
        }
    }

    /// Every actor.
    pub async fn tree(&self) -> Result<Vec<Snapshot>, NoAnswer> {
        self.tree.ask(TakeSnapshot, 2 * DEADLINE).await
    }

    /// Every route.
    pub async fn routes(&self) -> Result<Vec<RouteStatus>, NoAnswer> {
        self.routes.ask(ListRoutes, DEADLINE).await
    }

    /// The modules.
    pub async fn agent_status(&self) -> Result<AgentStatus, NoAnswer> {
        self.agent.ask(GetAgentStatus, DEADLINE).await
    }
}

fn part<T>(
    name: &'static str,
    is_needed: bool,
    answer: &Result<T, NoAnswer>,
    trouble: impl FnOnce(&T) -> Option<String>,
) -> Part {
    let why = match answer {
        Ok(answer) => trouble(answer),
        Err(_) => Some("does not answer: it is starting, or being restarted".into()),
    };
    Part { name, is_ready: why.is_none(), is_needed, why }
}

/// What is known since the start, what ends soon, and what became of damaged messages.
fn warnings(
    about: &About,
    queue: Option<&QueueStatus>,
    certificates: &[CertificateStatus],
) -> Vec<String> {
    let mut warnings = about.warnings.clone();
    warnings.extend(certificates.iter().filter_map(|it| it.warning.clone()));
    let Some(queue) = queue else { return warnings };
    warnings.extend(queue.salvages.iter().map(Report::summary));
    if queue.quarantined > 0 {
        let count = queue.quarantined;
        warnings.push(format!("{count} stored messages were damaged and are not delivered"));
    }
    warnings
}

/// Their errors name them.
fn bad_routes(routes: Vec<RouteStatus>) -> impl Iterator<Item = Difference> {
    let errors = routes.into_iter().filter_map(|route| route.error);
    errors.map(|what| Difference { module: "edgeHub".into(), what, since: None })
}

fn differences(agent: Option<&AgentStatus>, wanted: Option<u64>) -> Vec<Difference> {
    let whole = |what| Difference { module: "deployment".into(), what, since: None };
    let Some(agent) = agent else {
        return vec![whole("the agent does not answer".into())];
    };
    let mut all = Vec::new();
    match (wanted, agent.desired_version) {
        (None, None) => all.push(whole("no deployment was read from the parent yet".into())),
        (Some(wanted), Some(acted)) if wanted == acted => {}
        (Some(wanted), None) => all.push(whole(format!("version {wanted} is not acted upon yet"))),
        (Some(wanted), Some(acted)) => {
            all.push(whole(format!("version {wanted} is desired, {acted} was acted upon")));
        }
        (None, Some(_)) => {}
    }
    if agent.code != 200 && agent.desired_version.is_some() {
        all.push(whole(format!("{} {}", agent.code, agent.description).trim_end().into()));
    }
    for module in &agent.modules {
        let (name, since) = (&module.name, &module.since);
        let differences = module.differences.iter().cloned();
        all.extend(differences.map(|what| Difference {
            module: name.clone(),
            what,
            since: since.clone(),
        }));
    }
    all
}
