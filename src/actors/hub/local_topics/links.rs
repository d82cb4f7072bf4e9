//! The router, and the links of clients with it.

use actix::prelude::*;

use super::LocalTopics;
use crate::actors::clock;
use crate::actors::supervision::Supervised;
use crate::domain::identity::Identity;
use crate::domain::local_topics::exchange::Exchange;
use crate::domain::local_topics::tree::Slot;
use crate::protocol::bus::{Bus, Came};

/// What came out of the router for the client of a seat; nothing: its link has ended.
struct FromRouter(Slot, Option<Came>);

impl LocalTopics {
    /// Takes the router that runs, or starts one.
    pub(super) fn start_bus(&mut self, ctx: &mut Context<Self>) {
        if self.house.borrow().is_some() {
            return self.begin();
        }
        let started = Bus::start().into_actor(self);
        let started = started.map(|started, this, ctx| match started {
            Ok((bus, ended)) => {
                *this.house.borrow_mut() = Some(bus);
                let house = this.house.clone();
                actix::spawn(async move {
                    ended.await;
                    *house.borrow_mut() = None; // whoever uses it sees its links end
                });
                tracing::info!("the router of local topics runs");
                this.begin();
            }
            Err(error) => this.fail(&error, ctx),
        });
        started.spawn(ctx);
    }

    /// From now on clients are taken; those that are here join (again).
    fn begin(&mut self) {
        let Some(local) = &self.local else { return };
        // References of an earlier exchange may still be on their way: no number comes twice.
        let first = u64::try_from(clock::unix_time().as_micros()).unwrap_or_default() << 8;
        self.exchange = Some(Exchange::new(local.board.limits).numbered_from(first));
        local.board.renew();
    }

    pub(super) fn open(&mut self, slot: Slot, who: &Identity, ctx: &mut Context<Self>) {
        let Some(bus) = self.house.borrow().clone() else {
            return self.fail(&"the router of local topics is dead", ctx);
        };
        let who = who.clone();
        let opened = async move { bus.open(who.as_str(), slot).await }.into_actor(self);
        let opened = opened.map(move |opened, this, ctx| match opened {
            Ok((tx, rx)) => {
                this.links.insert(slot, tx);
                let batches = rx.into_batches();
                let ended = futures_util::stream::once(async { None });
                let all = futures_util::StreamExt::map(batches, Some);
                let all = futures_util::StreamExt::chain(all, ended);
                let all = futures_util::StreamExt::map(all, move |came| FromRouter(slot, came));
                ctx.add_stream(all);
                let effects = this.exchange.as_mut().map(|all| all.on_opened(slot));
                this.carry_out(effects.unwrap_or_default(), ctx);
            }
            Err(error) => this.fail(&error, ctx),
        });
        opened.spawn(ctx);
    }
}

impl StreamHandler<FromRouter> for LocalTopics {
    fn handle(&mut self, FromRouter(slot, came): FromRouter, ctx: &mut Self::Context) {
        let Some(exchange) = &mut self.exchange else { return };
        let effects = match came {
            Some(Came { references, taken }) => {
                let mut effects = exchange.on_arrived(slot, &references);
                (0..taken).for_each(|_| effects.extend(exchange.on_taken(slot)));
                effects
            }
            None if self.links.contains_key(&slot) => {
                // Nobody closed it.
                *self.house.borrow_mut() = None;
                return self.fail(&"the router of local topics is dead", ctx);
            }
            None => exchange.on_closed(slot),
        };
        self.carry_out(effects, ctx);
    }

    /// One link's end is not this actor's.
    fn finished(&mut self, _: &mut Self::Context) {}
}
