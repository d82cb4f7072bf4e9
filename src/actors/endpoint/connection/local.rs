//! Local topics of one client: what it publishes goes to `local-topics` a batch at a time, what
//! waits for it there is pulled while there is room for it on the socket, so that it is never in
//! the way of what IoT Hub's topics bring. In memory only: nothing is sent again.

use std::collections::VecDeque;
use std::time::Duration;

use actix::prelude::*;

use super::Connection;
use crate::actors::endpoint::local::Local;
use crate::domain::identity::Identity;
use crate::domain::local_topics::policy::Permissions;
use crate::domain::local_topics::{Delivery, LocalMessage, filter};
use crate::domain::packet::{Publish, QoS, ServerPacket};
use crate::domain::packet_ids::Sent;
use crate::messages::local_topics::{Join, Leave, PublishLocal, PullLocal};

/// Messages to `local-topics` at a time.
const BATCH: usize = 32;
/// A client that has so many un-acknowledged gets no more.
const WINDOW: usize = 32;
/// Neither does one with so much unwritten.
const BACKLOG: usize = 64 << 10;
const ANSWER: Duration = Duration::from_secs(30);
/// Between the tries at a router that is being started anew, and how many there are.
const RETRY: Duration = Duration::from_millis(200);
const TRIES: u32 = 50;
/// Between two looks whether anything has changed.
const WATCH: Duration = Duration::from_secs(1);

/// See the module documentation.
pub(super) struct LocalUse {
    local: Local,
    may: Permissions,
    generation: u64,
    /// Its subscriptions to local topics, with whether `QoS` 1 was granted.
    filters: Vec<(String, bool)>,
    is_joined: bool,
    parked: VecDeque<Parked>,
    is_publishing: bool,
    failures: u32,
    /// Something waits for it.
    is_owed: bool,
    is_pulling: bool,
    /// Sent with `QoS` 1 and not acknowledged.
    in_flight: usize,
}

struct Parked {
    message: LocalMessage,
    ack: Option<u16>,
    reserved: usize,
}

impl LocalUse {
    pub(super) fn new(local: Local, who: &Identity) -> Self {
        LocalUse {
            may: local.board.permissions(who),
            generation: local.board.generation(),
            local,
            filters: Vec::new(),
            is_joined: false,
            parked: VecDeque::new(),
            is_publishing: false,
            failures: 0,
            is_owed: false,
            is_pulling: false,
            in_flight: 0,
        }
    }

    pub(super) fn is_answered(&self) -> bool {
        !self.is_publishing && self.parked.is_empty()
    }

    fn check(&self, topic: &str) -> Result<(), String> {
        filter::check(topic).map_err(|error| error.to_string())?;
        if self.may.may_publish(topic) {
            return Ok(());
        }
        self.local.board.count_denied();
        Err("no policy of local topics allows it".into())
    }

    /// Whether the filter is granted beside so many others; why not.
    pub(super) fn check_filter(&self, filter: &str, others: usize) -> Result<(), String> {
        filter::check_filter(filter).map_err(|error| error.to_string())?;
        let (board, limits) = (&self.local.board, self.local.board.limits);
        if !self.may.may_subscribe(filter) {
            board.count_denied();
            return Err("no policy of local topics allows it".into());
        }
        if !self.is_joined && !board.has_room() {
            let most = limits.clients;
            return Err(format!("{most} clients use local topics (local_topics.max_clients)"));
        }
        let is_new = self.filters.iter().all(|(other, _)| other != filter);
        if is_new && self.filters.len() + others >= limits.filters {
            let most = limits.filters;
            return Err(format!("it has {most} (local_topics.max_filters_per_client)"));
        }
        Ok(())
    }

    pub(super) fn add(&mut self, filter: &str, is_at_least_once: bool) {
        self.filters.retain(|(other, _)| other != filter);
        self.filters.push((filter.to_owned(), is_at_least_once));
    }
}

impl Connection {
    /// What a resumed session has of local filters.
    pub(super) fn resume_local(&mut self, ctx: &mut Context<Self>) {
        let Some(used) = &mut self.local else {
            // Of a time when the setting was on.
            return self.filters.retain(|(filter, _)| !filter::is_local(filter));
        };
        let all = std::mem::take(&mut self.filters);
        (used.filters, self.filters) = all.into_iter().partition(|it| filter::is_local(&it.0));
        if !used.filters.is_empty() {
            self.renew_local(ctx);
        }
    }

    /// From the opening on: what is allowed, or `local-topics`, may have changed without a word.
    pub(super) fn watch_local(&mut self, ctx: &mut Context<Self>) {
        if self.local.is_some() {
            self.on_local_changed(ctx);
            ctx.run_later(WATCH, Self::watch_local);
        }
    }

    /// What is allowed, or `local-topics`, may have changed.
    pub(super) fn on_local_changed(&mut self, ctx: &mut Context<Self>) {
        let is_old = |used: &LocalUse| used.generation != used.local.board.generation();
        if self.epoch != 0 && self.local.as_deref().is_some_and(is_old) {
            self.renew_local(ctx);
        }
    }

    /// Ends the subscriptions that are not allowed any more, and joins again with the others.
    pub(super) fn renew_local(&mut self, ctx: &mut Context<Self>) {
        let Some(used) = &mut self.local else { return };
        used.may = used.local.board.permissions(&self.identity);
        used.generation = used.local.board.generation();
        let is_ended = |(filter, _): &&(String, bool)| !used.may.may_subscribe(filter);
        let ended: Vec<_> = used.filters.iter().filter(is_ended).map(|it| it.0.clone()).collect();
        for filter in &ended {
            used.local.board.count_denied();
            tracing::warn!(identity = %self.identity, filter, "no policy allows this subscription to local topics any more: ended");
        }
        let is_used = used.is_joined || !used.filters.is_empty();
        if !ended.is_empty() {
            self.change_filters(Vec::new(), ended, None, ctx);
        } else if is_used {
            self.join_local(Vec::new(), ctx);
        }
    }

    pub(super) fn forget_local(&mut self, filters: &[String]) {
        if let Some(used) = &mut self.local {
            used.filters.retain(|(filter, _)| !filters.contains(filter));
        }
    }

    pub(super) fn join_local(&mut self, fresh: Vec<String>, ctx: &mut Context<Self>) {
        let Some(used) = &mut self.local else { return };
        used.is_joined = true;
        let (identity, filters, sink) =
            (self.identity.clone(), used.filters.clone(), ctx.address().recipient());
        let join = Join { identity, epoch: self.epoch, filters, fresh, sink };
        let joined = used.local.join.ask(join, ANSWER).into_actor(self);
        let joined = joined.map(|joined, this, ctx| {
            let Some(used) = this.local.as_mut().filter(|_| joined == Ok(false)) else { return };
            used.is_joined = false;
            let why = "too many clients use local topics (local_topics.max_clients)";
            if used.parked.is_empty() {
                tracing::warn!(identity = %this.identity, why, "subscriptions bring nothing");
            } else {
                this.close(why, ctx);
            }
        });
        joined.spawn(ctx);
    }

    /// A PUBLISH on a topic that is none of IoT Hub's.
    pub(super) fn on_local_publish(
        &mut self,
        publish: Publish,
        reserved: usize,
    ) -> Result<(), String> {
        let Publish { qos, retain, topic, id, payload, .. } = publish;
        let Some(used) = &mut self.local else { return Ok(()) };
        used.check(&topic)?;
        let is_at_least_once = qos == QoS::AtLeastOnce;
        let ack = is_at_least_once.then_some(id);
        let message = LocalMessage { topic, body: payload, is_at_least_once, retain };
        used.parked.push_back(Parked { message, ack, reserved });
        Ok(())
    }

    /// Hands what is parked to `local-topics`, unless a batch is under way.
    pub(super) fn publish_local(&mut self, ctx: &mut Context<Self>) {
        let Some(used) = &mut self.local else { return };
        if used.is_publishing || used.parked.is_empty() {
            return;
        }
        used.is_publishing = true;
        if !used.is_joined {
            self.join_local(Vec::new(), ctx); // is there before what follows
        }
        let Some(used) = &mut self.local else { return };
        let most = used.parked.len().min(BATCH);
        let batch: Vec<_> = used.parked.drain(..most).collect();
        let messages = batch.iter().map(|parked| parked.message.clone()).collect();
        let publish = PublishLocal { identity: self.identity.clone(), messages };
        let taken = used.local.publish.ask(publish, ANSWER).into_actor(self);
        let taken =
            taken.map(move |taken, this, ctx| this.on_taken(taken == Ok(Ok(())), batch, ctx));
        taken.spawn(ctx);
    }

    fn on_taken(&mut self, is_taken: bool, batch: Vec<Parked>, ctx: &mut Context<Self>) {
        let Some(used) = &mut self.local else { return };
        if is_taken {
            (used.is_publishing, used.failures) = (false, 0);
            for Parked { ack, reserved, .. } in batch {
                self.acknowledge(ack, reserved);
            }
            self.publish_local(ctx);
            return self.hang_up_if_answered();
        }
        used.is_joined = false;
        used.failures += 1;
        if used.failures > TRIES {
            return self.close("local topics cannot be had", ctx);
        }
        for parked in batch.into_iter().rev() {
            match parked.ack {
                Some(_) => used.parked.push_front(parked),
                None => self.budget.release(parked.reserved), // volatile
            }
        }
        ctx.run_later(RETRY, |this, ctx| {
            if let Some(used) = &mut this.local {
                used.is_publishing = false;
                this.publish_local(ctx);
                this.hang_up_if_answered();
            }
        });
    }

    /// Something waits for the client.
    pub(super) fn on_local_owed(&mut self, ctx: &mut Context<Self>) {
        if let Some(used) = &mut self.local {
            used.is_owed = true;
            self.pull_local(ctx);
        }
    }

    pub(super) fn on_local_acked(&mut self, ctx: &mut Context<Self>) {
        if let Some(used) = &mut self.local {
            used.in_flight = used.in_flight.saturating_sub(1);
            self.pull_local(ctx);
        }
    }

    /// Pulls while there is room, one pull at a time.
    fn pull_local(&mut self, ctx: &mut Context<Self>) {
        let (identity, backlog) = (self.identity.clone(), self.writer.backlog());
        let Some(used) = &mut self.local else { return };
        if used.is_pulling || !used.is_owed || used.in_flight >= WINDOW || self.is_leaving {
            return;
        }
        used.is_pulling = true;
        if backlog >= BACKLOG {
            let written = self.writer.below(BACKLOG).into_actor(self);
            let written = written.map(|(), this, ctx| this.pull_anew(ctx));
            return written.spawn(ctx);
        }
        let pull = PullLocal { identity, most: WINDOW - used.in_flight, bytes: BACKLOG };
        let pulled = used.local.pull.ask(pull, ANSWER).into_actor(self);
        let pulled = pulled.map(|pulled, this, ctx| {
            let pulled = pulled.unwrap_or_default();
            if let Some(used) = this.local.as_mut().filter(|_| pulled.is_empty()) {
                used.is_owed = false;
            }
            pulled.into_iter().for_each(|delivery| this.send_local(delivery));
            this.pull_anew(ctx);
        });
        pulled.spawn(ctx);
    }

    fn pull_anew(&mut self, ctx: &mut Context<Self>) {
        if let Some(used) = &mut self.local {
            used.is_pulling = false;
            self.pull_local(ctx);
        }
    }

    fn send_local(&mut self, delivery: Delivery) {
        let Delivery { message, is_at_least_once, is_retained: retain } = delivery;
        let (mut qos, mut id) = (QoS::AtMostOnce, 0);
        if is_at_least_once {
            let Some(free) = self.outbox.allocate(Sent::Local) else { return }; // far below
            (qos, id) = (QoS::AtLeastOnce, free);
            if let Some(used) = &mut self.local {
                used.in_flight += 1;
            }
        }
        let (topic, payload) = (message.topic.clone(), message.body.clone());
        let publish = Publish { dup: false, qos, retain, topic, id, payload };
        self.writer.send(&ServerPacket::Publish(publish));
    }

    /// What nobody will send again: messages with `QoS` 0 that were read, and the will.
    pub(super) fn publish_last_words(
        &mut self,
        will: Option<LocalMessage>,
        ctx: &mut Context<Self>,
    ) {
        let Some(used) = &mut self.local else { return };
        let parked = used.parked.drain(..).filter(|parked| parked.ack.is_none());
        let mut messages: Vec<_> = parked.map(|parked| parked.message).collect();
        if let Some(will) = will {
            match used.check(&will.topic) {
                Ok(()) => messages.push(will),
                Err(why) => {
                    tracing::warn!(identity = %self.identity, why, "its will is left out");
                }
            }
        }
        if messages.is_empty() {
            return;
        }
        if !used.is_joined {
            self.join_local(Vec::new(), ctx);
        }
        if let Some(used) = &self.local {
            let identity = self.identity.clone();
            // Before it leaves; a router that is not there has nobody to give it to.
            actix::spawn(used.local.publish.ask(PublishLocal { identity, messages }, ANSWER));
        }
    }

    pub(super) fn leave_local(&self) {
        if let Some(used) = self.local.as_ref().filter(|used| used.is_joined) {
            let (identity, epoch) = (self.identity.clone(), self.epoch);
            used.local.leave.tell(Leave { identity, epoch }); // a lost one is found out
        }
    }
}
