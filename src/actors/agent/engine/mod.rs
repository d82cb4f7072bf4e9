//! The container engine's actor: connects for ever, does what it is asked, tells what happened.
//!
//! Started by `edge-agent`. While the engine is away every ask is answered with that, at once.
//! next: `work.rs` carries out; `actors/agent/modules/mod.rs` is told of events.

mod collect;
mod follow;
mod gate;
mod pulls;
#[cfg(test)]
mod tests;
mod work;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;

use self::gate::Gate;
use self::pulls::Pulls;
use super::{AgentConfig, AgentPorts};
use crate::actors::clock;
use crate::actors::supervision::{Obituary, Supervised};
use crate::domain::backoff::Backoff;
use crate::messages::engine::{Commands, EngineError, EngineNotice, EngineStatus, GetEngineStatus};
use crate::messages::supervision::Health;
use crate::protocol::docker::{Docker, EngineVersion};

/// Between tries to connect.
const BACKOFF: Backoff = Backoff { first: Duration::from_secs(1), max: Duration::from_secs(10) };
/// Between looks whether it is still there.
const PING: Duration = Duration::from_secs(20);

/// See the module documentation.
pub struct Engine {
    config: AgentConfig,
    ports: AgentPorts,
    connection: Connection,
    tries: u32,
    /// The ping under way, or the timer of the next: one at a time.
    next_ping: Option<SpawnHandle>,
    pulls: Pulls,
    gate: Gate,
    is_collecting: bool,
    commands: Counted,
    obituary: Obituary,
}

/// Shared with what is under way.
type Counted = Rc<RefCell<BTreeMap<&'static str, Commands>>>;

enum Connection {
    /// Why it cannot be used.
    Away(String),
    /// It answers; with the stream of its events.
    Up(Docker, EngineVersion, SpawnHandle),
}

/// An answer to an attempt to connect, or to a ping.
struct Pinged(Result<Option<(Docker, EngineVersion)>, EngineError>);

impl Engine {
    /// Not connected yet.
    pub fn new(config: AgentConfig, ports: AgentPorts, obituary: Obituary) -> Self {
        let connection = Connection::Away("not asked yet".into());
        let pulls = Pulls::new(config.images.max_pulls, config.images.reserve);
        let gate = Gate::new(&config.images.rules, &ports);
        Engine {
            config,
            ports,
            connection,
            tries: 0,
            next_ping: None,
            pulls,
            gate,
            is_collecting: false,
            commands: Counted::default(),
            obituary,
        }
    }

    fn docker(&self) -> Result<Docker, EngineError> {
        match &self.connection {
            Connection::Up(docker, ..) => Ok(docker.clone()),
            Connection::Away(why) => Err(EngineError::Away(why.clone())),
        }
    }

    fn ping(&mut self, ctx: &mut Context<Self>) {
        let known = self.docker().ok();
        let config = self.config.clone();
        let asked = async move {
            Pinged(match known {
                Some(docker) => docker.version().await.map(|_| None),
                None => {
                    let file = &config.images.daemon_file;
                    Docker::connect(&config.docker, &config.instance, file).await.map(Some)
                }
            })
        };
        let asked = asked.into_actor(self).map(|pinged, this, ctx| {
            this.next_ping = None;
            this.on_pinged(pinged, ctx);
        });
        self.next_ping = Some(ctx.spawn(asked));
    }

    fn on_pinged(&mut self, Pinged(result): Pinged, ctx: &mut Context<Self>) {
        match result {
            Ok(None) => self.ping_later(PING, ctx),
            Ok(Some((docker, version))) => {
                tracing::info!(
                    address = self.config.docker,
                    version = version.version,
                    "container engine is ready"
                );
                let since = clock::unix_time().as_secs().saturating_sub(1);
                let events = ctx.add_stream(docker.events(since));
                self.connection = Connection::Up(docker, version, events);
                self.tries = 0;
                self.tell(&EngineNotice::Up);
                self.ping_later(PING, ctx);
            }
            Err(error) => {
                self.on_lost(error.to_string(), ctx);
                let delay = BACKOFF.delay(self.tries);
                self.tries = self.tries.saturating_add(1);
                self.ping_later(delay, ctx);
            }
        }
    }

    /// What a ping under way would find is of no use any more.
    fn ping_later(&mut self, delay: Duration, ctx: &mut Context<Self>) {
        if let Some(pending) = self.next_ping.take() {
            ctx.cancel_future(pending);
        }
        self.next_ping = Some(ctx.run_later(delay, Self::ping));
    }

    fn on_lost(&mut self, why: String, ctx: &mut Context<Self>) {
        let was = std::mem::replace(&mut self.connection, Connection::Away(why.clone()));
        match was {
            Connection::Up(_, _, events) => {
                ctx.cancel_future(events);
                tracing::warn!(%why, "container engine is away; it is tried for ever");
                self.tell(&EngineNotice::Down);
            }
            Connection::Away(before) if before != why => {
                tracing::warn!(%why, "container engine is away; it is tried for ever");
            }
            Connection::Away(_) => {}
        }
    }

    /// Idempotent notices: who gets them looks.
    fn tell(&self, notice: &EngineNotice) {
        self.ports.engine_to_modules.tell(notice.clone());
        if !matches!(notice, EngineNotice::Container(_)) {
            self.ports.engine_to_deployment.tell(notice.clone());
        }
    }
}

impl Actor for Engine {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let own = ctx.address();
        self.ports.engine_status.plug(&own);
        self.ports.list.plug(&own);
        self.ports.run.plug(&own);
        self.ports.pull.plug(&own);
        self.ports.logs.plug(&own);
        self.ports.inspect.plug(&own);
        self.collect_now_and_then(ctx);
        self.ping(ctx);
    }
}

impl Supervised for Engine {
    fn obituary(&mut self) -> &mut Obituary {
        &mut self.obituary
    }

    fn health(&self) -> Health {
        Health { state: self.status().text }
    }
}
crate::supervised!(Engine);

impl Engine {
    fn status(&self) -> EngineStatus {
        let commands = self.commands.borrow().clone();
        match &self.connection {
            Connection::Up(_, version, _) => EngineStatus {
                commands,
                is_ready: true,
                text: "ready".into(),
                version: version.version.clone(),
                architecture: version.architecture.clone(),
            },
            Connection::Away(why) => {
                EngineStatus { commands, text: format!("away: {why}"), ..EngineStatus::default() }
            }
        }
    }
}

impl Handler<GetEngineStatus> for Engine {
    type Result = MessageResult<GetEngineStatus>;

    fn handle(&mut self, _: GetEngineStatus, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.status())
    }
}

impl StreamHandler<Result<String, EngineError>> for Engine {
    fn handle(&mut self, event: Result<String, EngineError>, _: &mut Self::Context) {
        match event {
            Ok(module) => self.tell(&EngineNotice::Container(module)),
            Err(error) => tracing::debug!(%error, "events of the container engine broke off"),
        }
    }

    /// The engine ended its events: it goes away, or was restarted. The ping finds out which.
    fn finished(&mut self, ctx: &mut Self::Context) {
        if matches!(self.connection, Connection::Up(..)) {
            self.on_lost("it ended the connection".into(), ctx);
            self.ping_later(BACKOFF.first, ctx);
        }
    }
}
