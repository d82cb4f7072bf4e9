//! Local topics: the shell of `domain/local_topics/exchange` over the router of `protocol/bus`.
//!
//! Started by the supervisor `services`; nobody depends on it. When it, or the router, dies, it
//! is started anew, empty: connections join again within a second, what was on its way is gone.
//! While the setting is off it does nothing, and there is no router.

mod links;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use tokio::sync::oneshot;

use crate::actors::clock;
use crate::actors::endpoint::local::Local;
use crate::actors::supervision::{Obituary, Supervised};
use crate::domain::identity::Identity;
use crate::domain::local_topics::exchange::{Counts, Effect, Exchange};
use crate::domain::local_topics::tree::Slot;
use crate::messages::client::{Down, Downlink};
use crate::messages::local_topics::{
    GetLocalStatus, Join, Leave, LocalStatus, NotTaken, PolicyChanged, PublishLocal, PullLocal,
};
use crate::messages::supervision::Health;
use crate::protocol::bus::{Bus, BusTx};

/// How often it looks for connections that went without a word, and at the router.
const LOOK: Duration = Duration::from_secs(1);
/// The router has what it is given within microseconds.
const STUCK: Duration = Duration::from_secs(10);

/// The router that runs, if one does. It is not stopped with the actor: nothing can stop it.
pub type BusHouse = Rc<RefCell<Option<Bus>>>;

/// See the module documentation.
pub struct LocalTopics {
    /// `None`: off.
    local: Option<Local>,
    house: BusHouse,
    exchange: Option<Exchange>,
    links: HashMap<Slot, BusTx>,
    /// Connections that are here, and where they are told things.
    sinks: HashMap<Identity, (u64, Recipient<Downlink>)>,
    /// Who waits for the end of a batch.
    batches: HashMap<u64, (Instant, oneshot::Sender<()>)>,
    obituary: Obituary,
}

impl LocalTopics {
    /// Ready once there is a router.
    pub fn new(local: Option<Local>, house: BusHouse, obituary: Obituary) -> Self {
        LocalTopics {
            local,
            house,
            exchange: None,
            links: HashMap::new(),
            sinks: HashMap::new(),
            batches: HashMap::new(),
            obituary,
        }
    }

    fn carry_out(&mut self, effects: Vec<Effect>, ctx: &mut Context<Self>) {
        for effect in effects {
            match effect {
                Effect::Open(slot, identity) => self.open(slot, &identity, ctx),
                Effect::Close(slot) => drop(self.links.remove(&slot)), // its end says `on_closed`
                Effect::Push { from, to, is_last } => {
                    let pushed = self.links.get_mut(&from).map(|link| link.push(&to, is_last));
                    if let Some(Err(error)) = pushed {
                        return self.fail(&error, ctx);
                    }
                }
                Effect::Taken(number) => {
                    if let Some((_, waiting)) = self.batches.remove(&number) {
                        let _ = waiting.send(()); // its connection may be gone
                    }
                }
                Effect::Owed(slot) => {
                    let who = self.exchange.as_ref().and_then(|all| all.identity(slot));
                    if let Some((to, (_, sink))) = who.and_then(|it| self.sinks.get_key_value(it)) {
                        // Once until it has pulled all.
                        sink.do_send(Downlink { to: to.clone(), what: Down::LocalOwed });
                    }
                }
                Effect::Turn => {
                    // Everybody else who has something to do is first.
                    let turn = tokio::task::yield_now().into_actor(self).map(|(), this, ctx| {
                        let effects = this.exchange.as_mut().map(Exchange::on_turn);
                        this.carry_out(effects.unwrap_or_default(), ctx);
                    });
                    turn.spawn(ctx);
                }
            }
        }
        if let (Some(local), Some(exchange)) = (&self.local, &self.exchange) {
            local.board.set_links(exchange.links());
        }
    }

    /// Connections that died without a word, and a router that does nothing.
    fn look(&mut self, ctx: &mut Context<Self>) {
        let dead = |(who, (epoch, sink)): (&Identity, &(u64, Recipient<Downlink>))| {
            (!sink.connected()).then(|| (who.clone(), *epoch))
        };
        let dead: Vec<_> = self.sinks.iter().filter_map(dead).collect();
        for (identity, epoch) in dead {
            self.left(&identity, epoch, ctx);
        }
        let now = clock::now();
        let oldest = self.batches.values().map(|(since, _)| now.duration_since(*since)).max();
        if oldest.is_some_and(|oldest| oldest > STUCK) {
            *self.house.borrow_mut() = None;
            return self.fail(&format!("the router took nothing in {STUCK:?}"), ctx);
        }
        ctx.run_later(LOOK, Self::look);
    }

    fn left(&mut self, identity: &Identity, epoch: u64, ctx: &mut Context<Self>) {
        if self.sinks.get(identity).is_some_and(|(of, _)| *of == epoch) {
            self.sinks.remove(identity);
        }
        let effects = self.exchange.as_mut().map(|all| all.on_left(identity, epoch));
        self.carry_out(effects.unwrap_or_default(), ctx);
    }

    fn counts(&self) -> Counts {
        let earlier = self.local.as_ref().map(|local| local.board.earlier()).unwrap_or_default();
        let now = self.exchange.as_ref().map(Exchange::counts).unwrap_or_default();
        Counts {
            published: earlier.published + now.published,
            delivered: earlier.delivered + now.delivered,
            dropped: earlier.dropped + now.dropped,
            unretained: earlier.unretained + now.unretained,
        }
    }
}

impl Actor for LocalTopics {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let Some(local) = self.local.clone() else { return };
        local.join.plug(&ctx.address());
        local.leave.plug(&ctx.address());
        local.publish.plug(&ctx.address());
        local.pull.plug(&ctx.address());
        local.changed.plug(&ctx.address());
        self.start_bus(ctx);
        ctx.run_later(LOOK, Self::look);
    }
}

/// What is on its way goes with it.
impl Drop for LocalTopics {
    fn drop(&mut self) {
        if let Some(local) = &self.local {
            let mut counts = self.counts();
            counts.dropped += self.exchange.as_ref().map_or(0, Exchange::undelivered);
            local.board.keep(counts);
            local.board.set_links(0);
        }
    }
}

impl Supervised for LocalTopics {
    fn obituary(&mut self) -> &mut Obituary {
        &mut self.obituary
    }

    fn health(&self) -> Health {
        let links = self.exchange.as_ref().map(Exchange::links);
        let state = match (&self.local, links) {
            (None, _) => "off".into(),
            (_, None) => "the router is being started".into(),
            (_, Some(links)) => format!("{links} links"),
        };
        Health { state }
    }
}
crate::supervised!(LocalTopics);

impl Handler<Join> for LocalTopics {
    type Result = bool;

    fn handle(&mut self, join: Join, ctx: &mut Self::Context) -> bool {
        let Join { identity, epoch, filters, fresh, sink } = join;
        let Some(exchange) = &mut self.exchange else { return true }; // told when there is one
        let Some((_, effects)) = exchange.on_joined(&identity, epoch, filters, &fresh) else {
            return false;
        };
        self.sinks.insert(identity, (epoch, sink));
        self.carry_out(effects, ctx);
        true
    }
}

impl Handler<Leave> for LocalTopics {
    type Result = ();

    fn handle(&mut self, Leave { identity, epoch }: Leave, ctx: &mut Self::Context) {
        self.left(&identity, epoch, ctx);
    }
}

impl Handler<PublishLocal> for LocalTopics {
    type Result = ResponseFuture<Result<(), NotTaken>>;

    fn handle(&mut self, publish: PublishLocal, ctx: &mut Self::Context) -> Self::Result {
        let PublishLocal { identity, messages } = publish;
        let Some(exchange) = &mut self.exchange else {
            return Box::pin(async { Err(NotTaken::Lost) });
        };
        let Some((number, effects)) = exchange.on_published(&identity, messages) else {
            return Box::pin(async { Err(NotTaken::NoSeat) });
        };
        let (taken, wait) = oneshot::channel();
        self.batches.insert(number, (clock::now(), taken));
        self.carry_out(effects, ctx);
        Box::pin(async move { wait.await.map_err(|_| NotTaken::Lost) })
    }
}

impl Handler<PullLocal> for LocalTopics {
    type Result = MessageResult<PullLocal>;

    fn handle(&mut self, pull: PullLocal, _: &mut Self::Context) -> Self::Result {
        let PullLocal { identity, most, bytes } = pull;
        let pulled = self.exchange.as_mut().map(|all| all.on_pulled(&identity, most, bytes));
        MessageResult::<PullLocal>(pulled.unwrap_or_default())
    }
}

impl Handler<PolicyChanged> for LocalTopics {
    type Result = ();

    fn handle(&mut self, _: PolicyChanged, _: &mut Self::Context) {
        for (to, (_, sink)) in &self.sinks {
            sink.do_send(Downlink { to: to.clone(), what: Down::LocalChanged }); // idempotent
        }
    }
}

impl Handler<GetLocalStatus> for LocalTopics {
    type Result = MessageResult<GetLocalStatus>;

    fn handle(&mut self, _: GetLocalStatus, _: &mut Self::Context) -> Self::Result {
        let counts = self.counts();
        let (retained, retained_bytes) =
            self.exchange.as_ref().map(Exchange::retained).unwrap_or_default();
        MessageResult(LocalStatus {
            is_enabled: self.local.is_some(),
            links: self.exchange.as_ref().map_or(0, Exchange::links),
            published: counts.published,
            delivered: counts.delivered,
            dropped: counts.dropped,
            denied: self.local.as_ref().map_or(0, |local| local.board.denied()),
            unretained: counts.unretained,
            retained,
            retained_bytes,
            waiting_bytes: self.exchange.as_ref().map_or(0, Exchange::waiting),
        })
    }
}
