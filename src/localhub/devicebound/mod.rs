//! Cloud-to-device messages, by device, until they are settled.
//!
//! Serves `Pull` and `Finish` as EdgeHub's queue does: the endpoint is a device, the offset of a
//! row its lock token. What waits is known in memory, bodies are read from the store.
//!
//! next: `service.rs` for REST, `store.rs` for what is written

mod service;
mod store;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use actix::prelude::*;

use self::store::{Feedback, Found, Stored};
use super::tables;
use crate::actors::clock;
use crate::actors::hub::state::settled;
use crate::actors::in_order::InOrder;
use crate::actors::port::Port;
use crate::actors::supervision::{Obituary, Supervised};
use crate::domain::delivery::{Loaded, Position};
use crate::domain::devicebound::{Mailbox, TRIES, key};
use crate::domain::identity::Identity;
use crate::domain::row::{End, Key, Offset};
use crate::messages::client::Down;
use crate::messages::queue::{Finish, Pull};
use crate::messages::sessions::Send;
use crate::messages::state::{Change, Fetch, Save, Scan, StoreError};
use crate::messages::supervision::Health;

/// How often the clock is looked at: expiry, messages that are not settled.
const TICK: Duration = Duration::from_secs(5);
/// How long sessions may take to say whether a device is there.
const DEADLINE: Duration = Duration::from_secs(5);

/// Whom it speaks to.
#[derive(Clone, Default)]
pub struct DeviceboundPorts {
    /// The store.
    pub save: Port<Save>,
    /// The store.
    pub fetch: Port<Fetch>,
    /// The store.
    pub scan: Port<Scan>,
    /// Sessions: tells a device that something waits for it.
    pub send: Port<Send>,
}

/// See the module documentation.
pub struct Devicebound {
    ports: DeviceboundPorts,
    is_loaded: bool,
    boxes: BTreeMap<Identity, Mailbox>,
    /// Messages that are not on disk yet.
    arriving: InOrder<(Identity, Offset, Option<Duration>)>,
    /// Number of the last message, of all devices; and of the last feedback.
    last: u64,
    last_feedback: u64,
    obituary: Obituary,
}

impl Devicebound {
    /// Empty until it was read.
    pub fn new(ports: DeviceboundPorts, obituary: Obituary) -> Self {
        let (boxes, arriving) = Default::default();
        let (is_loaded, last, last_feedback) = Default::default();
        Devicebound { ports, is_loaded, boxes, arriving, last, last_feedback, obituary }
    }

    fn on_loaded(&mut self, found: Found, ctx: &mut Context<Self>) {
        let Found { messages, orphans, last_feedback } = found;
        for (device, offset, _) in orphans {
            tracing::info!(%device, "message for a device that is no more: deleted");
            let ended = self.end(&device, vec![(offset, End::Discarded)]);
            ctx.spawn(ended.map(|_, _, _| ()));
        }
        for (device, offset, stored) in messages {
            self.last = self.last.max(offset.0);
            self.boxes.entry(device).or_default().add(offset, stored.expires, stored.tries);
        }
        // No number is given twice, also when all messages before a restart are gone: it is the
        // lock, by which edges know messages that come again.
        self.last = self.last.max(clock::unix_time().as_micros() as u64);
        self.last_feedback = last_feedback;
        self.is_loaded = true;
    }

    fn mailbox(&mut self, device: &Identity) -> &mut Mailbox {
        self.boxes.entry(device.clone()).or_default()
    }

    /// Something may be given that could not be before.
    fn notify(&self, device: &Identity) {
        if self.boxes.get(device).is_some_and(|mailbox| !mailbox.is_empty()) {
            self.ports.send.tell(Send { to: device.clone(), what: Down::Owed });
        }
    }

    /// Records the end of messages that are not in their mailbox any more, with the feedback
    /// that their senders asked for.
    fn end(
        &mut self,
        device: &Identity,
        ends: Vec<(Offset, End)>,
    ) -> ResponseActFuture<Self, Result<Vec<Key>, StoreError>> {
        let keys: Vec<Key> = ends.iter().map(|(offset, _)| key(*offset)).collect();
        let read = ends.into_iter().map(|(offset, end)| {
            let stored = self.read(device, offset);
            async move { stored.await.map(|stored| (offset, end, stored)) }
        });
        let read = futures_util::future::try_join_all(read).into_actor(self);
        let device = device.clone();
        Box::pin(read.then(move |read, actor, _| {
            let saved = read.map(|read| {
                let mut changes = Vec::new();
                for (offset, end, stored) in read {
                    changes.push(Change::delete(tables::DEVICEBOUND, store::key(&device, offset)));
                    let Some(feedback) = stored.and_then(|stored| {
                        Feedback::of(&stored, &device, &end, clock::unix_time())
                    }) else {
                        continue;
                    };
                    actor.last_feedback += 1;
                    changes.push(feedback.to_change(actor.last_feedback));
                }
                tables::save(&actor.ports.save, changes)
            });
            async move {
                saved?.await?;
                Ok(keys)
            }
            .into_actor(actor)
            .map(|ended: Result<Vec<Key>, StoreError>, actor, ctx| {
                if let Err(error) = &ended {
                    actor.fail(error, ctx);
                }
                ended
            })
        }))
    }

    fn read(
        &self,
        device: &Identity,
        offset: Offset,
    ) -> impl Future<Output = Result<Option<Stored>, StoreError>> + use<> {
        let fetch = Fetch(tables::DEVICEBOUND, store::key(device, offset));
        let fetched = self.ports.fetch.ask(fetch, DEADLINE);
        async move {
            let value = fetched.await.unwrap_or(Err(StoreError::Unavailable))?;
            Ok(value.and_then(|value| Stored::decode(&value)))
        }
    }

    /// Ends what has expired; gives what was not settled again, and counts it.
    fn look_at_the_clock(&mut self, ctx: &mut Context<Self>) {
        let now = clock::unix_time();
        let devices: Vec<Identity> = self.boxes.keys().cloned().collect();
        for device in devices {
            let expired = self.mailbox(&device).expire(now);
            if !expired.is_empty() {
                let ends = expired.into_iter().map(|offset| (offset, End::Expired)).collect();
                let ended = self.end(&device, ends);
                ctx.spawn(ended.map(|_, _, _| ()));
            }
            if self.mailbox(&device).has_overdue(clock::now()) {
                self.ask_whether_connected(device, ctx);
            }
        }
        self.boxes.retain(|_, mailbox| !mailbox.is_empty());
    }

    fn ask_whether_connected(&mut self, device: Identity, ctx: &mut Context<Self>) {
        let owed = Send { to: device.clone(), what: Down::Owed };
        let told = self.ports.send.ask(owed, DEADLINE).into_actor(self);
        ctx.spawn(told.map(move |told, actor, ctx| {
            actor.on_overdue(&device, told.unwrap_or(false), ctx);
        }));
    }

    /// Counts what was out for too long if the device had it, and ends what was so too often.
    fn on_overdue(&mut self, device: &Identity, is_connected: bool, ctx: &mut Context<Self>) {
        let Some(mailbox) = self.boxes.get_mut(device) else { return };
        let overdue = mailbox.overdue(is_connected, clock::now());
        self.count(device, overdue.again, ctx);
        if !overdue.exhausted.is_empty() {
            let end = End::DeadLettered { why: "delivered too often".into(), tries: TRIES };
            let ends = overdue.exhausted.into_iter().map(|offset| (offset, end.clone()));
            let ended = self.end(device, ends.collect());
            ctx.spawn(ended.map(|_, _, _| ()));
        }
    }

    /// Writes how often messages were delivered in vain; then they may be given again.
    fn count(&self, device: &Identity, again: Vec<(Offset, u32)>, ctx: &mut Context<Self>) {
        let Some((first, _)) = again.first().copied() else { return };
        let device = device.clone();
        let read = again.into_iter().map(|(offset, tries)| {
            tracing::info!(%device, offset = offset.0, tries, "message was not settled in time");
            let (read, key) = (self.read(&device, offset), store::key(&device, offset));
            async move {
                let stored = read.await?.map(|stored| Stored { tries, ..stored }.encode());
                Ok(stored.map(|value| Change::put(tables::DEVICEBOUND, key, value)))
            }
        });
        let read = futures_util::future::try_join_all(read);
        let save = self.ports.save.clone();
        let counted = async move {
            let changes: Vec<Option<Change>> = read.await?;
            tables::save(&save, changes.into_iter().flatten().collect()).await
        };
        ctx.spawn(counted.into_actor(self).map(move |counted, actor, ctx| match counted {
            Ok(()) => {
                let again = Down::Rewind(first);
                actor.ports.send.tell(Send { to: device, what: again }); // it reads again
            }
            Err(error) => actor.fail(&error, ctx),
        }));
    }
}

impl Actor for Devicebound {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let (settled, scan) = (settled(&self.ports.save), self.ports.scan.clone());
        let loaded = async move {
            settled.await?;
            store::load(scan).await
        };
        let loaded = loaded.into_actor(self);
        ctx.spawn(loaded.map(|loaded, actor, ctx| match loaded {
            Ok(found) => actor.on_loaded(found, ctx),
            Err(error) => actor.fail(&error, ctx),
        }));
        ctx.run_interval(TICK, |actor, ctx| actor.look_at_the_clock(ctx));
    }
}

impl Supervised for Devicebound {
    fn obituary(&mut self) -> &mut Obituary {
        &mut self.obituary
    }

    fn health(&self) -> Health {
        let waiting: usize = self.boxes.values().map(Mailbox::len).sum();
        Health { state: format!("{waiting} messages wait") }
    }
}

crate::supervised!(Devicebound);

impl Handler<Pull> for Devicebound {
    type Result = ResponseFuture<<Pull as Message>::Result>;

    fn handle(&mut self, pull: Pull, ctx: &mut Self::Context) -> Self::Result {
        let device = Identity::parse(&pull.endpoint.0).ok();
        let Some(device) = device.filter(|_| self.is_loaded) else {
            return Box::pin(std::future::ready(Err(StoreError::Unavailable)));
        };
        // Who reads on had what is out for too long; who begins anew has lost its connection.
        if pull.from != Position::default() {
            self.on_overdue(&device, true, ctx);
        }
        let Some(mailbox) = self.boxes.get_mut(&device) else {
            return Box::pin(std::future::ready(Ok(Loaded::default())));
        };
        let now = clock::unix_time();
        let given = mailbox.give(&pull.from, pull.max, clock::now());
        let is_valid = |offset: &Offset| {
            let waiting = mailbox.get(*offset);
            waiting.is_some_and(|waiting| waiting.expires.is_none_or(|at| at > now))
        };
        let given: Vec<Offset> = given.into_iter().filter(is_valid).collect();
        let read = given.into_iter().map(|offset| {
            let read = self.read(&device, offset);
            async move { read.await.map(|stored| stored.map(|stored| (offset, stored))) }
        });
        let read = futures_util::future::try_join_all(read);
        Box::pin(async move {
            let (mut rows, mut bytes) = (Vec::new(), 0);
            for (offset, stored) in read.await?.into_iter().flatten() {
                bytes += stored.body.len();
                if !rows.is_empty() && bytes > pull.max_bytes {
                    break;
                }
                rows.push(stored.into_row(&device, offset));
            }
            Ok(rows.into())
        })
    }
}

impl Handler<Finish> for Devicebound {
    type Result = ResponseActFuture<Self, <Finish as Message>::Result>;

    fn handle(&mut self, finish: Finish, _: &mut Self::Context) -> Self::Result {
        let device = Identity::parse(&finish.endpoint.0).ok();
        let Some(device) = device.filter(|_| self.is_loaded) else {
            return Box::pin(fut::err(StoreError::Unavailable));
        };
        let keys: Vec<Key> = finish.ends.iter().map(|(key, _)| *key).collect();
        let mailbox = self.mailbox(&device);
        let here = finish.ends.into_iter().filter(|(key, _)| mailbox.end(key.offset).is_some());
        let ends = here.map(|(key, end)| (key.offset, end)).collect();
        let ended = self.end(&device, ends);
        Box::pin(ended.map(move |ended, actor, _| {
            actor.notify(&device);
            ended.map(|_| keys) // those that were gone before are ended too
        }))
    }
}
