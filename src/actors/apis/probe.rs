//! For tests: one actor that answers all that the APIs ask.

use std::time::Duration;

use actix::prelude::*;
use bytes::Bytes;
use futures_util::stream::{StreamExt, iter};

use super::overview::{About, ApiPorts};
use crate::domain::agent::observed::{Observed, Phase};
use crate::domain::features::Features;
use crate::domain::identity::Identity;
use crate::domain::row::Offset;
use crate::messages::agent::*;
use crate::messages::dead_letters::{DeadLetter, Letter, Pause, Progress, ReadDeadLetters, Settle};
use crate::messages::engine::{Commands, Done, EngineStatus, GetEngineStatus, ListContainers, Run};
use crate::messages::identities::{IdentityRecord, IdentityStatus, Lookup};
use crate::messages::local_topics::{GetLocalStatus, LocalStatus};
use crate::messages::queue::{EndpointStatus, GetQueueStatus, QueueStatus, RouteCounts};
use crate::messages::routes::{ListRoutes, RouteStatus};
use crate::messages::sessions::{ListOnline, Online};
use crate::messages::state::StoreError;
use crate::messages::supervision::{Health, Snapshot, TakeSnapshot};
use crate::messages::twins::{Desired, GetDesired, GetTwinsStatus, TwinsStatus};
use crate::messages::upstream::{GetLinkStatus, LinkStatus};

/// What it answers may be changed.
pub(super) struct Probe {
    pub(super) agent: AgentStatus,
    pub(super) desired: Option<u64>,
    pub(super) link: LinkStatus,
    pub(super) restarted: Vec<String>,
}

impl Default for Probe {
    fn default() -> Self {
        let module = |name: &str, status: &str| ModuleStatusLine {
            name: name.into(),
            status: status.into(),
            since: Some("2026-01-01T00:00:00Z".into()),
            restarts: 2,
            wanted_seconds: if name == "sensor" { 9.0 } else { 0.0 },
            running_seconds: 8.5,
            ..ModuleStatusLine::default()
        };
        let modules = vec![module("edgeHub", "running"), module("sensor", "running")];
        let (code, engine) = (200, "ready".into());
        let desired_version = Some(7);
        let link = LinkStatus { state: "connected".into(), attached: 3, ..LinkStatus::default() };
        Probe {
            agent: AgentStatus { desired_version, code, engine, modules, ..Default::default() },
            desired: Some(7),
            link,
            restarted: Vec::new(),
        }
    }
}

impl Probe {
    /// Starts it, and plugs it in everywhere.
    pub(super) fn plugged(self) -> (Addr<Probe>, ApiPorts) {
        let (addr, ports) = (self.start(), ApiPorts::default());
        ports.agent.plug(&addr);
        ports.restart.plug(&addr);
        ports.logs.plug(&addr);
        ports.inspect.plug(&addr);
        ports.list.plug(&addr);
        ports.run.plug(&addr);
        ports.engine.plug(&addr);
        ports.stop.plug(&addr);
        ports.link.plug(&addr);
        ports.queue.plug(&addr);
        ports.online.plug(&addr);
        ports.local.plug(&addr);
        ports.twins.plug(&addr);
        ports.desired.plug(&addr);
        ports.routes.plug(&addr);
        ports.lookup.plug(&addr);
        ports.letters.plug(&addr);
        ports.settle.plug(&addr);
        ports.pause.plug(&addr);
        ports.tree.plug(&addr);
        (addr, ports)
    }
}

pub(super) fn about() -> About {
    let device = Identity::device("gw").unwrap();
    About {
        device,
        hub: "hub.local".into(),
        gateway_hostname: "gw.local".into(),
        state: "/state".into(),
        warnings: vec!["mind the step".into()],
        settings: "log.level = info\n".into(),
    }
}

impl Actor for Probe {
    type Context = Context<Self>;
}

/// What was restarted so far.
#[derive(Message)]
#[rtype(result = "Vec<String>")]
pub(super) struct Restarted;

/// Answers `$message` with `$answer`.
macro_rules! answers {
    ($message:ty, |$self:ident, $m:ident| $answer:expr) => {
        impl Handler<$message> for Probe {
            type Result = MessageResult<$message>;

            fn handle(&mut $self, $m: $message, _: &mut Self::Context) -> Self::Result {
                MessageResult($answer)
            }
        }
    };
}

answers!(Restarted, |self, _m| self.restarted.clone());
answers!(GetAgentStatus, |self, _m| self.agent.clone());
answers!(GetLinkStatus, |self, _m| self.link.clone());
answers!(GetTwinsStatus, |self, _m| TwinsStatus {
    twins: 4,
    pending_patches: 1,
    dead_letters: 0,
    changes_owed: 0,
});
answers!(GetDesired, |self, _m| self
    .desired
    .map(|version| Desired { version, properties: serde_json::json!({}) }));
answers!(StopModules, |self, _m| self.restarted.push("stopped".into()));
answers!(RestartModule, |self, m| {
    self.restarted.push(m.0.clone());
    if m.0 == "sensor" { Ok(()) } else { Err("the engine is away".into()) }
});
answers!(GetLogs, |self, m| {
    let lines = [format!("{} tail {:?}\n", m.module, m.tail), "second\n".into()];
    let chunk = |line| Ok(LogChunk { is_error: false, bytes: Bytes::from(line) });
    Ok(iter(lines.map(chunk)).boxed())
});
answers!(InspectModule, |self, m| match m.0.as_str() {
    "sensor" =>
        Ok(serde_json::json!({ "Config": { "Env": ["KEY=s1", "IOTEDGE_MODULEID=sensor"] } })),
    other => Err(format!("module {other} has no container")),
});
answers!(ListContainers, |self, m| {
    let found = |id: &str, phase| {
        let (id, module) = (id.to_owned(), m.module.clone().unwrap_or_default());
        Observed { id, module, phase, ..Observed::default() }
    };
    Ok(vec![found("aside", Phase::Exited), found("c1", Phase::Running)])
});
answers!(Run, |self, m| {
    self.restarted.push(format!("{m:?}"));
    Ok(Done::Plain)
});
answers!(GetEngineStatus, |self, _m| EngineStatus {
    version: "28".into(),
    commands: [("start", Commands { done: 3, failed: 1, took: Duration::from_millis(1500) })]
        .into(),
    ..Default::default()
});
answers!(Lookup, |self, m| Ok(Some(IdentityRecord {
    id: m.identity.clone(),
    keys: Vec::new(),
    thumbprints: Vec::new(),
    ca: false,
    status: IdentityStatus::Enabled,
    generation: "7".into(),
})));
answers!(ListRoutes, |self, _m| vec![RouteStatus { name: "r".into(), ..Default::default() }]);
answers!(ListOnline, |self, _m| {
    let online = |name, is_behind_edge| Online {
        identity: Identity::parse(name).unwrap(),
        features: Features::default(),
        is_behind_edge,
    };
    vec![online("gw/sensor", false), online("leaf", false), online("far", true)]
});
answers!(GetQueueStatus, |self, _m| Ok::<_, StoreError>(QueueStatus {
    endpoints: vec![EndpointStatus {
        endpoint: "$upstream".into(),
        messages: 5,
        bytes: 500,
        oldest_seconds: Some(9),
    }],
    routes: vec![RouteCounts {
        route: "say \"hi\"".into(),
        endpoint: "$upstream".into(),
        received: 25,
        stored: 5,
        delivered: 20,
        ..Default::default()
    }],
    messages_in: 30,
    unrouted: 5,
    resent: 2,
    not_json: 0,
    state: "ready".into(),
    ..Default::default()
}));
answers!(Pause, |self, m| {
    self.restarted.push(format!("{} {}", m.route, m.is_paused));
    Ok::<_, StoreError>(())
});
answers!(ReadDeadLetters, |self, m| {
    let known = DeadLetter { offset: 7, sender: "leaf".into(), ..DeadLetter::default() };
    let (properties, body) = match m.is_whole {
        true => ([("a".into(), "1".into())].into(), Some(b"{}".to_vec())),
        false => Default::default(),
    };
    let is_there = m.pick.has(Offset(7)) && m.after < Offset(7);
    let letter = is_there.then_some(Letter { known, properties, body });
    Ok::<Vec<Letter>, StoreError>(letter.into_iter().collect())
});
answers!(Settle, |self, m| {
    self.restarted.push(format!("{:?} {:?}", m.how, m.pick.offsets));
    Ok::<_, StoreError>(Progress { messages: 2, bytes: 20 })
});
answers!(TakeSnapshot, |self, _m| {
    let actor = |path: &str, restarts| Snapshot {
        path: path.into(),
        status: "running".into(),
        health: Health::default(),
        lag: Some(Duration::from_millis(5)),
        restarts,
        last_error: None,
    };
    let client = |name: &str| format!("edge-runtime/core/services/edge-hub/sessions/{name}");
    vec![actor("edge-runtime", 0), actor(&client("leaf"), 1), actor(&client("leaf2"), 2)]
});

impl Handler<GetLocalStatus> for Probe {
    type Result = MessageResult<GetLocalStatus>;

    fn handle(&mut self, _: GetLocalStatus, _: &mut Self::Context) -> Self::Result {
        let (published, dropped) = (7, 2);
        let local =
            LocalStatus { is_enabled: true, links: 3, published, dropped, ..Default::default() };
        MessageResult(local)
    }
}
