//! The telemetry log: everything that devices sent, in order of arrival.
//!
//! A message is on disk before it is acknowledged, and with it, in the same transaction, the
//! note by which a second copy of it is known: of an edge (link.md, effectively once) or of a
//! client of our own (`copies.rs`). Places in the
//! log are given when a batch comes, and batches are committed in that order: there are no holes.
//!
//! next: `rest/telemetry.rs`, which reads it

mod copies;
mod item;
mod read;
mod retention;
mod runs;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use actix::prelude::*;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use self::copies::Copies;
pub use self::retention::Retention;
use self::runs::Runs;
use super::tables::{self, TELEMETRY, TELEMETRY_STATE};
use crate::actors::clock;
use crate::actors::port::Port;
use crate::actors::supervision::{Obituary, Supervised};
use crate::domain::identity::Identity;
use crate::domain::refusals::Refusals;
use crate::messages::queue::{Ingest, Telemetry as Sent, Verdict};
use crate::messages::registry::Active;
use crate::messages::state::{Change, Fetch, Save, Scan, StoreError};
use crate::messages::supervision::Health;
use crate::messages::telemetry::RefuseTelemetry;

/// How often a sender's activity is passed on.
const ACTIVITY: Duration = Duration::from_secs(1);

/// Whom it speaks to.
#[derive(Clone, Default)]
pub struct TelemetryPorts {
    /// The store.
    pub save: Port<Save>,
    /// The store.
    pub fetch: Port<Fetch>,
    /// The store.
    pub scan: Port<Scan>,
    /// Presence.
    pub active: Port<Active>,
}

/// See the module documentation.
pub struct Telemetry {
    ports: TelemetryPorts,
    retention: Retention,
    /// `None` until it was read.
    log: Option<Log>,
    /// The end of what is on disk.
    end: watch::Sender<u64>,
    runs: Runs,
    copies: Copies,
    /// On request, in test builds: whose messages are refused.
    faults: HashMap<Identity, u16>,
    refusals: Refusals,
    told: HashMap<Identity, Instant>,
    is_trimming: bool,
    obituary: Obituary,
}

/// Where the log begins and ends, and its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Log {
    first: u64,
    next: u64,
    bytes: u64,
}

impl Log {
    const EMPTY: Log = Log { first: 1, next: 1, bytes: 0 };

    fn to_change(self) -> Change {
        let json = serde_json::to_vec(&self).expect("numbers are JSON");
        Change::put(TELEMETRY_STATE, "log", json)
    }
}

impl Telemetry {
    /// With nothing in it until it was read.
    pub fn new(ports: TelemetryPorts, retention: Retention, obituary: Obituary) -> Self {
        Telemetry {
            ports,
            retention,
            log: None,
            end: watch::Sender::new(0),
            runs: Runs::default(),
            copies: Copies::default(),
            faults: HashMap::new(),
            refusals: Refusals::default(),
            told: HashMap::new(),
            is_trimming: false,
            obituary,
        }
    }

    /// Decides on each message and says what to write.
    fn take(&mut self, mut log: Log, sent: Vec<Sent>) -> (Log, Vec<Verdict>, Vec<Change>) {
        let now = clock::unix_time();
        let (mut verdicts, mut changes) = (Vec::with_capacity(sent.len()), Vec::new());
        for message in sent {
            let link = message.link.as_ref();
            if link.is_some_and(|link| self.runs.has(link)) || self.copies.has(&message) {
                verdicts.push(Verdict::Stored);
                continue;
            }
            if let Some(status) = link.and_then(|link| self.refusal(&message.sender, link.attempt))
            {
                let why = format!("{} is refused", message.sender);
                verdicts.push(Verdict::Refused(status, why));
                continue;
            }
            if let Some(link) = link {
                self.runs.note(link, now);
            }
            let value = item::encode(&message, now);
            log.bytes += value.len() as u64;
            changes.push(Change::put(TELEMETRY, tables::number(log.next), value));
            log.next += 1;
            verdicts.push(Verdict::Stored);
        }
        changes.extend(self.runs.take_changes());
        changes.extend(self.copies.take_changes());
        if !changes.is_empty() {
            changes.push(log.to_change());
        }
        (log, verdicts, changes)
    }

    /// The status with which a message on a link is refused; clients of our own know no refusals.
    fn refusal(&mut self, sender: &Identity, attempt: u64) -> Option<u16> {
        self.refusals.judge(sender, attempt, self.faults.get(sender).copied())
    }

    /// Passes on who is active, each once a second at most.
    fn tell_active(&mut self, sent: &[Sent]) {
        let now = clock::now();
        let is_old = |at: &Instant| now.duration_since(*at) >= ACTIVITY;
        let mut active = Vec::new();
        for Sent { sender, .. } in sent {
            if self.told.get(sender).is_none_or(is_old) {
                self.told.insert(sender.clone(), now);
                active.push(sender.clone());
            }
        }
        if !active.is_empty() {
            self.ports.active.tell(Active(active)); // at most one per sender and second
        }
    }
}

impl Actor for Telemetry {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let loaded = read::load(&self.ports).into_actor(self);
        ctx.spawn(loaded.map(|loaded, actor, ctx| match loaded {
            Ok((log, runs, copies)) => {
                actor.log = Some(log);
                (actor.runs, actor.copies) = (runs, copies);
                actor.end.send_replace(log.next);
                actor.trim(ctx);
            }
            Err(error) => actor.fail(&error, ctx),
        }));
        ctx.run_interval(retention::PERIOD, |actor, ctx| {
            actor.trim(ctx);
            let now = clock::now();
            actor.told.retain(|_, at| now.duration_since(*at) < ACTIVITY);
        });
    }
}

impl Supervised for Telemetry {
    fn obituary(&mut self) -> &mut Obituary {
        &mut self.obituary
    }

    fn health(&self) -> Health {
        let state = match self.log {
            Some(log) => format!("{} messages, {} bytes", log.next - log.first, log.bytes),
            None => "reading".to_owned(),
        };
        Health { state }
    }
}

crate::supervised!(Telemetry);

impl Handler<Ingest> for Telemetry {
    type Result = ResponseActFuture<Self, Result<Vec<Verdict>, StoreError>>;

    fn handle(&mut self, Ingest(sent, _): Ingest, ctx: &mut Self::Context) -> Self::Result {
        let Some(log) = self.log else {
            return Box::pin(fut::err(StoreError::Unavailable));
        };
        self.tell_active(&sent);
        let (log, verdicts, changes) = self.take(log, sent);
        self.log = Some(log);
        if self.retention.is_exceeded(log.bytes) {
            self.trim(ctx);
        }
        // Also with nothing to write: the first copy of a second one may not be on disk yet.
        let saved = tables::save(&self.ports.save, changes).into_actor(self);
        Box::pin(saved.map(move |saved, actor, ctx| match saved {
            Ok(()) => {
                actor.end.send_if_modified(|end| {
                    let is_further = log.next > *end;
                    *end = log.next.max(*end);
                    is_further
                });
                Ok(verdicts)
            }
            Err(error) => {
                actor.fail(&error, ctx);
                Err(error)
            }
        }))
    }
}

impl Handler<RefuseTelemetry> for Telemetry {
    type Result = ();

    fn handle(&mut self, refuse: RefuseTelemetry, _: &mut Self::Context) {
        match refuse.status {
            Some(status) => self.faults.insert(refuse.sender, status),
            None => self.faults.remove(&refuse.sender),
        };
    }
}
