//! What is owed to a client: rows of its endpoint, in order, a window at a time, redelivered to a
//! resumed session with the same packet ids; and messages that the parent holds a lock on.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use actix::prelude::*;
use bytes::Bytes;

use super::Connection;
use crate::actors::endpoint::sessions::ConnectionSettings;
use crate::actors::{clock, suspect};
use crate::domain::bag::Bag;
use crate::domain::delivery::{Answer, Config, Delivery, Effect, LiveShare, Pace};
use crate::domain::devicebound::UNSETTLED;
use crate::domain::packet::{Publish, QoS, ServerPacket};
use crate::domain::packet_ids::{PacketIds, Sent};
use crate::domain::row::{End, Endpoint, Key, Row};
use crate::domain::topic;
use crate::messages::queue::{Finish, Pull};
use crate::messages::sessions::Settle;
use crate::messages::state::StoreError;

/// What a resumed session is owed waits for its first SUBSCRIBE, so that a client which has just
/// started can set its handlers, but no longer than this (spec sdk.md, trap 14).
const HOLD: Duration = Duration::from_secs(2);
const STORE: Duration = Duration::from_secs(60);
/// Before the next try at a store that did not answer.
const RETRY: Duration = Duration::from_secs(1);

/// A client that is slow to acknowledge is not sent a whole window: that would come again with its
/// next connection, and be in the way of what has a higher priority.
const PACE: Pace = Pace { over: Duration::from_secs(1), at_least: 2 << 20 };

/// See the module documentation.
#[derive(Default)]
pub(super) struct Outbox {
    /// Once it is released: most clients are never owed anything.
    delivery: Option<Box<Delivery>>,
    ids: PacketIds,
    /// Rows of the first window after a restart of the process may have been sent before it.
    doubtful: usize,
    /// To be recorded with the next `Finish`; one is under way at a time.
    ends: Vec<(Key, End)>,
    is_finishing: bool,
    /// Came before the release; the parent has few of a device under way (link.md).
    held: Vec<Locked>,
    /// Locks that were settled last. The parent that has not heard of it yet gives these messages
    /// again, and what says so may be on its way to `upstream` when they come.
    settled: VecDeque<String>,
}

/// A message that the parent holds a lock on.
struct Locked {
    lock: String,
    topic: String,
    body: Bytes,
}

impl Outbox {
    /// Takes up what an earlier connection of the session left behind.
    pub(super) fn resume(&mut self, unacked: Vec<(u16, Key)>, is_present: bool, window: usize) {
        self.doubtful = if is_present && unacked.is_empty() { window } else { 0 };
        self.ids = PacketIds::with_earlier(unacked);
    }

    fn release(&mut self, settings: &ConnectionSettings) {
        let live = LiveShare { gaps: usize::MAX, ..settings.live }; // a client remembers no numbers
        let (window, share) = (settings.window, settings.share);
        let config = Config { window, share, live, pace: Some(PACE), ..Config::CLIENT };
        self.delivery = Some(Box::new(Delivery::new(config)));
    }

    pub(super) fn allocate(&mut self, what: Sent) -> Option<u16> {
        self.ids.allocate(what)
    }

    pub(super) fn unacked(&self) -> Vec<(u16, Key)> {
        self.ids.unacked_rows()
    }

    /// Whether anything that the parent holds a lock on is not settled.
    pub(super) fn has_locked(&self) -> bool {
        !self.held.is_empty() || self.ids.has_locked()
    }
}

impl Connection {
    fn endpoint(&self) -> Endpoint {
        Endpoint::client(&self.identity)
    }

    pub(super) fn start_outbox(&mut self, is_present: bool, ctx: &mut Context<Self>) {
        if is_present {
            ctx.run_later(HOLD, Self::release_outbox);
        }
    }

    /// From now on what is owed is sent, if the client has asked for it.
    pub(super) fn release_outbox(&mut self, ctx: &mut Context<Self>) {
        let features = topic::features(&self.filters, &self.identity);
        let is_module = self.identity.module_id().is_some();
        if self.outbox.delivery.is_some() || !(features.inputs && is_module || features.c2d) {
            return;
        }
        self.outbox.release(&self.settings);
        for locked in std::mem::take(&mut self.outbox.held) {
            self.send_now(locked);
        }
        self.deliver(Delivery::on_connected, ctx);
    }

    pub(super) fn pull_owed(&mut self, ctx: &mut Context<Self>) {
        self.deliver(Delivery::on_stored, ctx);
    }

    pub(super) fn rewind(&mut self, ctx: &mut Context<Self>) {
        self.deliver(Delivery::on_rewound, ctx);
    }

    pub(super) fn on_puback(&mut self, id: u16, ctx: &mut Context<Self>) {
        match self.outbox.ids.release(id) {
            Some(Sent::Row(key)) => self.on_row_taken(key, ctx),
            Some(Sent::Locked(lock)) => self.settle(lock),
            Some(Sent::Local) => self.on_local_acked(ctx),
            Some(Sent::Desired(version)) => self.on_desired_taken(version),
            None => {} // of an earlier connection
        }
    }

    fn settle(&mut self, lock: String) {
        let settled = &mut self.outbox.settled;
        settled.retain(|other| *other != lock);
        if settled.len() >= UNSETTLED {
            settled.pop_front();
        }
        settled.push_back(lock.clone());
        let identity = self.identity.clone();
        self.backend.settle.tell(Settle { identity, lock });
    }

    fn on_row_taken(&mut self, key: Key, ctx: &mut Context<Self>) {
        self.deliver(|delivery, now| delivery.on_answered(key, Answer::Accepted, now), ctx);
    }

    /// Nothing is due before the release: what is owed then is read from its beginning.
    fn deliver(
        &mut self,
        what: impl FnOnce(&mut Delivery, Instant) -> Vec<Effect>,
        ctx: &mut Context<Self>,
    ) {
        if let Some(delivery) = &mut self.outbox.delivery {
            let effects = what(delivery, clock::now());
            self.carry_out(effects, ctx);
        }
    }

    fn carry_out(&mut self, effects: Vec<Effect>, ctx: &mut Context<Self>) {
        let mut given_up = Vec::new();
        for effect in effects {
            match effect {
                Effect::Load { from, max, max_bytes, without, live } => {
                    let endpoint = self.endpoint();
                    self.load(Pull { endpoint, from, max, max_bytes, without, live }, ctx);
                }
                Effect::Publish { row, .. } => {
                    let (endpoint, key) = (self.endpoint(), row.key);
                    if suspect::handle(&endpoint, key, || self.send_row(row, ctx)).is_none() {
                        given_up.push(key);
                    }
                }
                Effect::End { key, how } => self.outbox.ends.push((key, how)),
                Effect::WakeAt(at) => {
                    ctx.run_later(at.saturating_duration_since(clock::now()), |this, ctx| {
                        this.deliver(Delivery::on_wake, ctx);
                    });
                }
            }
        }
        if !self.is_in_batch {
            self.finish(ctx);
        }
        for key in given_up {
            let why = suspect::WHY.into();
            self.deliver(|delivery, now| delivery.on_rejected(key, why, now), ctx);
        }
    }

    fn load(&mut self, pull: Pull, ctx: &mut Context<Self>) {
        let rows = self.backend.pull.ask(pull, STORE).into_actor(self);
        rows.map(|rows, this, ctx| match rows.unwrap_or(Err(StoreError::Unavailable)) {
            Ok(rows) => {
                this.deliver(|delivery, now| delivery.on_loaded(rows, now), ctx);
            }
            Err(error) => {
                tracing::warn!(identity = %this.identity, %error, "what is owed cannot be read");
                if let Some(delivery) = &mut this.outbox.delivery {
                    delivery.on_not_loaded();
                }
                ctx.run_later(RETRY, Self::pull_owed);
            }
        })
        .spawn(ctx);
    }

    /// Records the ends of what was acknowledged: what gathers while one batch is committed goes
    /// with the next.
    pub(super) fn finish(&mut self, ctx: &mut Context<Self>) {
        if self.outbox.is_finishing || self.outbox.ends.is_empty() {
            return;
        }
        self.outbox.is_finishing = true;
        let ends = std::mem::take(&mut self.outbox.ends);
        let finish = Finish { endpoint: self.endpoint(), ends, is_last: false };
        // A client may hang up right behind its PUBACK.
        let ended = self.backend.finish.order(finish, STORE).into_actor(self);
        ended
            .map(|ended, this, ctx| match ended.unwrap_or(Err(StoreError::Unavailable)) {
                Ok(keys) => {
                    this.outbox.is_finishing = false;
                    this.deliver(|delivery, now| delivery.on_ended(&keys, now), ctx);
                }
                // The rows are still owed: they will come again on the next connection.
                Err(error) => this.close(&format!("ends cannot be stored: {error}"), ctx),
            })
            .spawn(ctx);
    }

    /// The same as the connection ends, whichever way: nobody waits for it.
    pub(super) fn finish_last(&mut self) {
        let ends = std::mem::take(&mut self.outbox.ends);
        if !ends.is_empty() || self.outbox.is_finishing {
            let finish = Finish { endpoint: self.endpoint(), ends, is_last: true };
            drop(self.backend.finish.order(finish, STORE));
        }
    }

    fn send_row(&mut self, row: Row, ctx: &mut Context<Self>) {
        let topic = match &row.input {
            Some(input) => topic::delivery(&self.identity, input, &row.sender, &row.bag),
            None => topic::devicebound(&self.identity, &row.bag),
        };
        if !self.is_at_least_once(&topic) {
            self.publish(topic, row.body); // with QoS 0 it is delivered once it is written
            let (key, written) = (row.key, self.writer.written().into_actor(self));
            written.map(move |(), this, ctx| this.on_row_taken(key, ctx)).spawn(ctx);
            return;
        }
        let Some((id, was_sent)) = self.outbox.ids.for_row(row.key) else {
            return; // all 65,535 ids are in use: the window is far below that
        };
        let dup = was_sent || self.outbox.doubtful > 0;
        self.outbox.doubtful = self.outbox.doubtful.saturating_sub(1);
        let (qos, payload) = (QoS::AtLeastOnce, row.body);
        let publish = Publish { dup, qos, retain: false, topic, id, payload };
        self.writer.send(&ServerPacket::Publish(publish));
    }

    /// Whether a filter with `QoS` 1 asks for this topic.
    pub(super) fn is_at_least_once(&self, topic: &str) -> bool {
        self.filters.iter().any(|(filter, is_one)| *is_one && topic::matches(filter, topic))
    }

    pub(super) fn send_locked(
        &mut self,
        lock: String,
        bag: &Bag,
        body: Bytes,
        _: &mut Context<Self>,
    ) {
        let locked = Locked { lock, topic: topic::devicebound(&self.identity, bag), body };
        if self.outbox.delivery.is_some() {
            self.send_now(locked);
        } else if self.outbox.held.iter().all(|other| other.lock != locked.lock) {
            self.outbox.held.push(locked);
        }
    }

    fn send_now(&mut self, Locked { lock, topic, body }: Locked) {
        if self.outbox.settled.contains(&lock) {
            return self.settle(lock);
        }
        if !self.is_at_least_once(&topic) {
            self.publish(topic, body);
            return self.settle(lock);
        }
        let sent = Sent::Locked(lock);
        if self.outbox.ids.is_out(&sent) {
            return; // the link was lost meanwhile; the client's PUBACK settles it
        }
        if let Some(id) = self.outbox.ids.allocate(sent) {
            let qos = QoS::AtLeastOnce;
            let publish = Publish { dup: false, qos, retain: false, topic, id, payload: body };
            self.writer.send(&ServerPacket::Publish(publish));
        }
    }
}
