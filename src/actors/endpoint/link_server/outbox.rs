//! Cloud-to-device messages for those behind the edge: sent under a lock, settled by the client's
//! PUBACK; 10 at most are unsettled per device (link.md, cloud to device).

use std::time::Duration;

use actix::prelude::*;

use super::LinkServer;
use crate::actors::clock;
use crate::domain::delivery::{Answer, Config, Delivery, Effect};
use crate::domain::devicebound::UNSETTLED;
use crate::domain::identity::Identity;
use crate::domain::link::down::LinkDown;
use crate::domain::packet::QoS;
use crate::domain::row::{End, Endpoint, Key, Offset, Priority};
use crate::messages::queue::{Finish, Pull};
use crate::messages::state::StoreError;

const STORE: Duration = Duration::from_secs(60);
const RETRY: Duration = Duration::from_secs(1);
/// Not settled by then on a live link: given again, and counted (by its next reading).
const LOCK: Duration = Duration::from_secs(60);

/// What is owed to one device behind the edge.
pub(super) struct Outbox {
    delivery: Delivery,
    /// What was begun for the outbox of an earlier attach is void.
    birth: u64,
}

impl LinkServer {
    /// Starts or ends the sending to an identity.
    pub(super) fn set_outbox(&mut self, who: &Identity, is_on: bool, ctx: &mut Context<Self>) {
        if !is_on {
            self.outboxes.remove(who);
        } else if !self.outboxes.contains_key(who) {
            let config = Config { window: UNSETTLED, ..Config::CLIENT };
            let mut delivery = Delivery::new(config);
            let effects = delivery.on_connected(clock::now());
            self.births += 1;
            let birth = self.births;
            self.outboxes.insert(who.clone(), Outbox { delivery, birth });
            self.carry_out(who, birth, effects, ctx);
        }
    }

    pub(super) fn pull_owed(&mut self, who: &Identity, ctx: &mut Context<Self>) {
        self.with_delivery(who, None, ctx, |delivery| delivery.on_stored(clock::now()));
    }

    pub(super) fn rewind(&mut self, who: &Identity, ctx: &mut Context<Self>) {
        self.with_delivery(who, None, ctx, |delivery| delivery.on_rewound(clock::now()));
    }

    pub(super) fn settle(&mut self, who: &Identity, lock: &str, ctx: &mut Context<Self>) {
        let Ok(offset) = lock.parse() else { return };
        let key = Key { priority: Priority::DEFAULT, offset: Offset(offset) };
        self.with_delivery(who, None, ctx, |delivery| {
            delivery.on_answered(key, Answer::Accepted, clock::now())
        });
    }

    /// Of this birth, if one is given.
    fn with_delivery(
        &mut self,
        who: &Identity,
        birth: Option<u64>,
        ctx: &mut Context<Self>,
        input: impl FnOnce(&mut Delivery) -> Vec<Effect>,
    ) {
        let outbox = self.outboxes.get_mut(who);
        if let Some(outbox) = outbox.filter(|outbox| birth.is_none_or(|it| it == outbox.birth)) {
            let (effects, birth) = (input(&mut outbox.delivery), outbox.birth);
            self.carry_out(who, birth, effects, ctx);
        }
    }

    fn carry_out(
        &mut self,
        who: &Identity,
        birth: u64,
        effects: Vec<Effect>,
        ctx: &mut Context<Self>,
    ) {
        let mut ends = Vec::new();
        for effect in effects {
            match effect {
                Effect::Load { from, max, max_bytes, without, live } => {
                    let endpoint = Endpoint::client(who);
                    let pull = Pull { endpoint, from, max, max_bytes, without, live };
                    self.load(who.clone(), birth, pull, ctx);
                }
                Effect::Publish { row, .. } => {
                    let lock = row.key.offset.0.to_string();
                    let topic = LinkDown::CloudToDevice(who.clone(), lock, row.bag);
                    self.publish(&topic, QoS::AtMostOnce, row.body);
                    self.expect_settlement(who.clone(), birth, row.key, ctx);
                }
                Effect::End { key, how } => ends.push((key, how)),
                Effect::WakeAt(at) => {
                    let who = who.clone();
                    ctx.run_later(at.saturating_duration_since(clock::now()), move |this, ctx| {
                        this.with_delivery(&who, Some(birth), ctx, |it| it.on_wake(clock::now()));
                    });
                }
            }
        }
        if !ends.is_empty() {
            self.finish(who.clone(), birth, ends, ctx);
        }
    }

    /// A lock that is not settled in time is void: the message goes out again.
    fn expect_settlement(&mut self, who: Identity, birth: u64, key: Key, ctx: &mut Context<Self>) {
        ctx.run_later(LOCK, move |this, ctx| {
            this.with_delivery(&who, Some(birth), ctx, |delivery| {
                delivery.on_answered(key, Answer::Throttled(408), clock::now())
            });
        });
    }

    fn load(&mut self, who: Identity, birth: u64, pull: Pull, ctx: &mut Context<Self>) {
        let rows = self.backend.pull.ask(pull, STORE).into_actor(self);
        rows.map(move |rows, this, ctx| match rows.unwrap_or(Err(StoreError::Unavailable)) {
            Ok(rows) => {
                let now = clock::now();
                this.with_delivery(&who, Some(birth), ctx, |it| it.on_loaded(rows, now));
            }
            Err(error) => {
                tracing::warn!(identity = %who, %error, "what is owed cannot be read");
                this.with_delivery(&who, Some(birth), ctx, |delivery| {
                    delivery.on_not_loaded();
                    Vec::new()
                });
                ctx.run_later(RETRY, move |this, ctx| {
                    this.with_delivery(&who, Some(birth), ctx, |it| it.on_wake(clock::now()));
                });
            }
        })
        .spawn(ctx);
    }

    fn finish(
        &mut self,
        who: Identity,
        birth: u64,
        ends: Vec<(Key, End)>,
        ctx: &mut Context<Self>,
    ) {
        let finish = Finish { endpoint: Endpoint::client(&who), ends, is_last: false };
        let ended = self.backend.finish.order(finish, STORE).into_actor(self);
        ended
            .map(move |ended, this, ctx| match ended.unwrap_or(Err(StoreError::Unavailable)) {
                Ok(keys) => {
                    let now = clock::now();
                    this.with_delivery(&who, Some(birth), ctx, |it| it.on_ended(&keys, now));
                }
                Err(error) => this.close(&format!("ends cannot be stored: {error}"), ctx),
            })
            .spawn(ctx);
    }
}
