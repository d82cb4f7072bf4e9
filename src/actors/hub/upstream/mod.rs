//! The link to the parent: ONE connection, for all identities of this edge.
//!
//! Started by the hub as its youngest child. What it knows is lost with it, and read again from
//! the store and the sessions. Nobody older waits for it: every ask of it has a deadline.
//!
//! ```text
//!   queue ◄──Pull, Finish── upstream ◄──events── protocol/link ◄──► parent
//!     └──────Stored──────────►│ ──Invoke, Send──► sessions (methods, cloud to device)
//!                             │ ──DesiredPatched, LinkChanged──► twins
//!                             └ ──ScopeChanged, LinkChanged──► identities
//! ```
//!
//! next: `upstream/dial.rs`, the connection; `upstream/flow.rs`, messages to the parent;
//! `upstream/asks.rs`, requests; `upstream/incoming.rs`, what the parent sends.

mod asks;
mod dial;
mod flow;
mod incoming;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use actix::prelude::*;

use self::asks::Pending;
use crate::actors::clock;
use crate::actors::port::Port;
use crate::actors::supervision::{Obituary, Supervised};
use crate::domain::delivery::{Config, Delivery, LiveShare, Share};
use crate::domain::features::Features;
use crate::domain::identity::Identity;
use crate::domain::row::{End, Key, Offset};
use crate::domain::upstream::{Attached, Line, Poison, Requests, Settled};
use crate::domain::wall_clock::WallClock;
use crate::messages::identities::{ScopeChanged, Sign};
use crate::messages::queue::{Finish, Pull};
use crate::messages::sessions::{self, Invoke};
use crate::messages::supervision::Health;
use crate::messages::twins::DesiredPatched;
use crate::messages::upstream::{GetLinkStatus, LinkChanged, LinkStatus};
use crate::protocol::link::{Address, LinkSender};

/// What the actor is told once. `Debug` shows no key.
#[derive(Clone)]
pub struct UpstreamConfig {
    /// Host name of the hub, as in the connection string.
    pub hub_host: String,
    /// This edge device.
    pub device: Identity,
    /// Where the parent is dialled.
    pub address: Address,
    /// The device's own key in base64: for the first log-in of all.
    pub device_key: Option<String>,
    /// What each priority has of the link in any case.
    pub share: Share,
    /// What live messages have of it while there is a backlog.
    pub live: LiveShare,
}

/// Whom the actor asks and tells.
#[derive(Clone, Default)]
pub struct UpstreamPorts {
    /// `queue`.
    pub pull: Port<Pull>,
    /// `queue`.
    pub finish: Port<Finish>,
    /// `identities`: tokens of `$edgeHub`.
    pub sign: Port<Sign>,
    /// `identities`.
    pub scope: Port<ScopeChanged>,
    /// `twins`.
    pub desired: Port<DesiredPatched>,
    /// `sessions`: direct methods.
    pub invoke: Port<Invoke>,
    /// `methods`: those of `$edgeAgent`.
    pub of_agent: Port<Invoke>,
    /// `sessions`: cloud-to-device messages.
    pub send: Port<sessions::Send>,
    /// `twins`, `identities`, `sessions`: whoever establishes anew what hangs on the link.
    pub changed: Vec<Port<LinkChanged>>,
}

/// See the module documentation.
pub struct Upstream {
    config: UpstreamConfig,
    edge_hub: Identity,
    edge_agent: Identity,
    ports: UpstreamPorts,
    line: Line,
    requests: Requests<Pending>,
    attached: Attached,
    poison: Poison,
    settled: Settled,
    delivery: Delivery,
    /// Messages on the wire: key by the number of the publish.
    flights: BTreeMap<u64, Key>,
    /// … and the number by the offset, which refusals name.
    numbers: BTreeMap<Offset, u64>,
    /// Of the last publish.
    number: u64,
    /// Ends to be recorded with the next `Finish`; one is under way at a time.
    ends: Vec<(Key, End)>,
    is_finishing: bool,
    connection: Option<Connection>,
    /// Connections begun: what belongs to an earlier one is void.
    generation: u64,
    /// The timer of the line.
    timer: Option<SpawnHandle>,
    /// The timer of the next token.
    renewal: Option<SpawnHandle>,
    wall_clock: WallClock,
    /// The parent refused a token of `$edgeHub`: try the device's own, and the other way round.
    is_own_key_refused: bool,
    obituary: Obituary,
}

/// The connection that there is, or that is being made.
struct Connection {
    sender: LinkSender,
    events: SpawnHandle,
}

/// How often requests are looked at that are not answered, and the wall clock.
const TICK: Duration = Duration::from_secs(1);

impl Upstream {
    /// Begins to connect when it starts, and never gives up.
    pub fn new(config: UpstreamConfig, ports: UpstreamPorts, obituary: Obituary) -> Self {
        let own = |name| config.device.sibling(name).expect("the id of this device was checked");
        let (edge_hub, edge_agent) = (own("$edgeHub"), own("$edgeAgent"));
        let mut attached = Attached::default();
        for (own, methods) in [(&edge_hub, false), (&edge_agent, true)] {
            let features = Features { desired: true, methods, ..Features::default() };
            attached.on_presence(own, Some(features));
        }
        let delivery =
            Delivery::new(Config { share: config.share, live: config.live, ..Config::UPSTREAM });
        Upstream {
            config,
            edge_hub,
            edge_agent,
            ports,
            line: Line::new(clock::now()),
            requests: Requests::default(),
            attached,
            poison: Poison::default(),
            settled: Settled::default(),
            delivery,
            flights: BTreeMap::new(),
            numbers: BTreeMap::new(),
            number: 0,
            ends: Vec::new(),
            is_finishing: false,
            connection: None,
            generation: 0,
            timer: None,
            renewal: None,
            wall_clock: WallClock::new(clock::now(), clock::unix_time()),
            is_own_key_refused: false,
            obituary,
        }
    }

    /// From 0 to 1. So that a thousand edges do not dial in step.
    fn chance() -> f64 {
        f64::from(RandomState::new().hash_one(0) as u32) / f64::from(u32::MAX)
    }

    fn tell_all(&self, is_up: bool) {
        self.ports.changed.iter().for_each(|port| port.tell(LinkChanged { is_up }));
    }
}

impl Actor for Upstream {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(TICK, |this, ctx| {
            this.look_after_requests(ctx);
            if this.wall_clock.is_set(clock::now(), clock::unix_time()) {
                this.on_clock_set(ctx);
            }
        });
        self.drive(ctx);
    }
}

impl Supervised for Upstream {
    fn obituary(&mut self) -> &mut Obituary {
        &mut self.obituary
    }

    fn health(&self) -> Health {
        let state = match self.line.why() {
            Some(why) => format!("{}: {why}", self.line.state()),
            None => self.line.state().into(),
        };
        Health { state }
    }
}

crate::supervised!(Upstream);

impl Handler<GetLinkStatus> for Upstream {
    type Result = MessageResult<GetLinkStatus>;

    fn handle(&mut self, _: GetLinkStatus, _: &mut Self::Context) -> Self::Result {
        let now = clock::now();
        MessageResult(LinkStatus {
            state: self.line.state().into(),
            parent: self.config.address.to_string(),
            why: self.line.why().map(str::to_owned),
            attempts: self.line.attempts(),
            next_attempt_seconds: self.line.next_attempt(now).map(|delay| delay.as_secs()),
            since_seconds: self.line.lasts(now).as_secs(),
            attached: if self.line.is_up() { self.attached.len() } else { 0 },
            in_flight: self.delivery.in_flight(),
            lanes_in_backoff: self.delivery.lanes_in_backoff(),
        })
    }
}
