//! The `queue` actor: a shell over the writer thread of the store-and-forward queue.
//!
//! Promises: the answer to `Ingest` comes after the commit, and batches of one connection are
//! stored in the order of asking; batches of several join one commit. Before the first `SetRoutes`
//! nothing is taken. Who is owed something new is told after the commit, by a notice that says no
//! more than that. Rows whose time is over end when they are met: at a pull, or by the sweep.
//! The store outlives the actor: after a restart nothing was lost.
//!
//! next: `store/queue`, then `actors/upstream` and `actors/endpoint`, which pull.

pub mod absent;
mod compact;
mod fill;
mod harm;
mod notices;
mod operator;
mod place;
mod routed;
mod status;
mod sweep;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix::prelude::*;

use self::notices::Notices;
pub use self::place::Bring;
use self::routed::Routed;
use self::sweep::Sweep;
use crate::actors::endpoint::backend::Fullness;
use crate::actors::port::Port;
use crate::actors::supervision::{Obituary, Supervised};
use crate::domain::budget::Budget;
use crate::domain::delivery::Loaded;
use crate::domain::identity::Identity;
use crate::domain::route::RouteTable;
use crate::domain::row::{End, Endpoint, Key};
use crate::messages::dead_letters::{Pause, ReadDeadLetters, Settle};
use crate::messages::queue::{
    Compact, Finish, GetQueueStatus, Ingest, PlaceQueue, Pull, QueueStatus, Refused, Rewound,
    Stored, Telemetry, TryRoutes, Verdict,
};
use crate::messages::routes::SetRoutes;
use crate::messages::state::StoreError;
use crate::messages::supervision::Health;
use crate::messages::trace::{Peek, Trace};
use crate::messages::twins::{GetTwin, PatchReported};
use crate::mutant;
use crate::store::QueueStore;
use crate::store::queue::{Appended, Link, Message as Incoming, Pulled, TRACED, Taken, Want};

/// What the queue answers to, and whom it tells.
#[derive(Clone, Default)]
pub struct QueuePorts {
    /// Connections.
    pub ingest: Port<Ingest>,
    /// Connections and upstream.
    pub pull: Port<Pull>,
    /// Connections and upstream.
    pub finish: Port<Finish>,
    /// Routes.
    pub set_routes: Port<SetRoutes>,
    /// Routes: where the queue is to lie.
    pub place: Port<PlaceQueue>,
    /// Management and metrics.
    pub status: Port<GetQueueStatus>,
    /// Upstream: `$upstream` is owed something new.
    pub stored_upstream: Port<Stored>,
    /// Sessions: a client is owed something new.
    pub stored_client: Port<Stored>,
    /// Management: dead letters,
    pub letters: Port<ReadDeadLetters>,
    /// … what becomes of them and of backlogs,
    pub settle: Port<Settle>,
    /// … routes that rest,
    pub pause: Port<Pause>,
    /// … routes that are only tried,
    pub try_routes: Port<TryRoutes>,
    /// Management: a smaller file.
    pub compact: Port<Compact>,
    /// … messages,
    pub trace: Port<Trace>,
    /// … and what waits for a route.
    pub peek: Port<Peek>,
    /// Upstream: `$upstream` is to read again.
    pub rewound_upstream: Port<Rewound>,
    /// Sessions: a client is to read again.
    pub rewound_client: Port<Rewound>,
    /// Connections: messages that found no room.
    pub refused: Port<Refused>,
    /// Twins: how full it is, what damage did.
    pub report: Port<PatchReported>,
    /// Twins: what was reported before.
    pub twin: Port<GetTwin>,
}

impl QueuePorts {
    /// A notice: those who start later pull anyway.
    fn tell_stored(&self, endpoint: Endpoint) {
        let is_upstream = endpoint == Endpoint::upstream();
        let port = if is_upstream { &self.stored_upstream } else { &self.stored_client };
        port.tell(Stored(endpoint));
    }
}

/// See the module documentation.
pub struct Queue {
    store: Arc<QueueStore>,
    /// `{device}/$edgeHub`.
    identity: Identity,
    ports: QueuePorts,
    notices: Notices,
    bring: Bring,
    /// For the mutant `stale-routes`.
    table: Option<Arc<RouteTable>>,
    /// Since the start of this actor: see `routed.rs`.
    not_json: Arc<AtomicU64>,
    sweep: Sweep,
    /// Live messages have a share: the store is to know who is behind.
    keeps_lanes: bool,
    /// As the settings of this device say; a deployment may allow less.
    budget: Budget,
    /// Whether there is room, for connections.
    fullness: Fullness,
    /// Messages of `QoS` 0 to be counted as refused, and whether others are being counted.
    refused: u64,
    is_counting: bool,
    is_compacting: bool,
    told_harm: harm::Told,
    /// Messages that have ended and are remembered.
    traced: usize,
    obituary: Obituary,
}

impl Queue {
    /// Answers for `store`, at the edge device of `identity`; `bring` moves it elsewhere.
    pub fn new(
        store: Arc<QueueStore>,
        identity: Identity,
        ports: QueuePorts,
        bring: Bring,
        obituary: Obituary,
    ) -> Self {
        let not_json = Arc::default();
        Queue {
            store,
            identity,
            notices: Notices::new(ports.clone()),
            ports,
            bring,
            table: None,
            not_json,
            sweep: Sweep::default(),
            told_harm: harm::Told::default(),
            keeps_lanes: false,
            budget: Budget::default(),
            fullness: Fullness::default(),
            refused: 0,
            is_counting: false,
            is_compacting: false,
            traced: TRACED,
            obituary,
        }
    }

    /// With this budget; tells `fullness` whether there is room.
    pub fn bounded(self, budget: Budget, fullness: Fullness) -> Self {
        self.store.set_budget(budget);
        Queue { budget, fullness, ..self }
    }

    /// How many messages that have ended are remembered.
    #[must_use]
    pub fn tracing(mut self, ended: usize) -> Self {
        self.traced = ended;
        self
    }

    /// Whether live messages have a share of what is sent.
    #[must_use]
    pub fn keeping_lanes(mut self, is_so: bool) -> Self {
        self.keeps_lanes = is_so;
        self
    }
}

impl Actor for Queue {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        let own = ctx.address();
        self.ports.ingest.plug(&own);
        self.ports.pull.plug(&own);
        self.ports.finish.plug(&own);
        self.ports.set_routes.plug(&own);
        self.ports.place.plug(&own);
        self.ports.status.plug(&own);
        self.ports.letters.plug(&own);
        self.ports.settle.plug(&own);
        self.ports.pause.plug(&own);
        self.ports.try_routes.plug(&own);
        self.ports.compact.plug(&own);
        self.ports.trace.plug(&own);
        self.ports.peek.plug(&own);
        self.store.remember(self.traced);
        drop(self.store.keep_lanes(self.keeps_lanes)); // in line before anything else
        self.ports.refused.plug(&own);
        sweep::begin(ctx);
        fill::begin(self, ctx);
        harm::begin(ctx);
    }
}

impl Supervised for Queue {
    fn obituary(&mut self) -> &mut Obituary {
        &mut self.obituary
    }

    fn health(&self) -> Health {
        Health { state: status::words(&self.store) }
    }
}
crate::supervised!(Queue);

impl Handler<Ingest> for Queue {
    type Result = ResponseFuture<Result<Vec<Verdict>, StoreError>>;

    fn handle(&mut self, Ingest(batch, chain): Ingest, _: &mut Context<Self>) -> Self::Result {
        if !self.store.has_matcher() {
            return Box::pin(async { Err(StoreError::Unavailable) });
        }
        let notices = self.notices.clone();
        let batch: Vec<_> = batch.into_iter().map(incoming).collect();
        if mutant::is("ack-before-commit") {
            return ack_before_commit(Arc::clone(&self.store), batch, notices);
        }
        let appended = self.store.ingest_next(batch, chain); // in line from here on
        Box::pin(async move { Ok(announce(appended.await?, &notices)) })
    }
}

/// Tells those who are owed something, and makes verdicts.
fn announce(done: Appended, notices: &Notices) -> Vec<Verdict> {
    notices.tell(done.endpoints);
    let verdict = |taken| match taken {
        Taken::Stored | Taken::Duplicate => Verdict::Stored,
        Taken::Unrouted => Verdict::Unrouted,
    };
    done.taken.into_iter().map(verdict).collect()
}

fn incoming(telemetry: Telemetry) -> Incoming {
    let Telemetry { sender, bag, body, link, transmission } = telemetry;
    let link = link.map(|link| Link { edge: link.edge, stamp: link.stamp, low: link.low });
    Incoming { sender, bag, body, link, transmission }
}

fn ack_before_commit(
    store: Arc<QueueStore>,
    batch: Vec<Incoming>,
    notices: Notices,
) -> ResponseFuture<Result<Vec<Verdict>, StoreError>> {
    let verdicts = vec![Verdict::Stored; batch.len()];
    actix::spawn(async move {
        tokio::time::sleep(Duration::from_millis(20)).await;
        if let Ok(done) = store.ingest(batch).await {
            announce(done, &notices);
        }
    });
    Box::pin(async { Ok(verdicts) })
}

impl Handler<Pull> for Queue {
    type Result = ResponseFuture<Result<Loaded, StoreError>>;

    fn handle(&mut self, ask: Pull, _: &mut Context<Self>) -> Self::Result {
        let store = Arc::clone(&self.store);
        Box::pin(async move {
            let Pull { endpoint, from, max, max_bytes, without, live } = ask;
            let want = Want { from: &from, max, max_bytes, without: &without, live };
            let (mut rest, mut paused, mut left_out) = (None, None, 0);
            loop {
                let mut pulled = store.pull(&endpoint, &want, rest)?;
                let rows = std::mem::take(&mut pulled.rows);
                rest = pulled.rest;
                paused = pulled.paused.into_iter().chain(paused).min();
                let read_to = pulled.read_to;
                left_out += pulled.left_out;
                end(&store, &endpoint, pulled);
                if rest.is_none() {
                    if mutant::is("delete-before-ack") {
                        let ends = rows.iter().map(|row| (row.key, End::Delivered)).collect();
                        drop(store.finish(endpoint, ends));
                    }
                    return Ok(Loaded { rows, read_to, paused, left_out });
                }
                tokio::task::yield_now().await; // others have their turn in a long search
            }
        })
    }
}

/// Records the ends of rows that cannot be given out. Nobody waits for it: what is not ended now
/// is met again.
fn end(store: &QueueStore, endpoint: &Endpoint, found: Pulled) {
    let Pulled { expired, damaged, .. } = found;
    if !damaged.is_empty() {
        tracing::error!(endpoint = &*endpoint.0, rows = ?damaged, "damaged records quarantined");
    }
    let expired = expired.into_iter().map(|key| (key, End::Expired));
    let damaged = damaged.into_iter().map(|key| (key, End::Quarantined));
    let ends: Vec<(Key, End)> = expired.chain(damaged).collect();
    if !ends.is_empty() {
        drop(store.finish(endpoint.clone(), ends));
    }
}

impl Handler<Finish> for Queue {
    type Result = ResponseFuture<Result<Vec<Key>, StoreError>>;

    fn handle(&mut self, ask: Finish, _: &mut Context<Self>) -> Self::Result {
        let (store, endpoint) = (Arc::clone(&self.store), ask.endpoint.clone());
        let is_dead = |(_, end): &&(Key, End)| matches!(end, End::DeadLettered { .. });
        let dead: Vec<_> = ask.ends.iter().filter(is_dead).cloned().collect();
        let finished = self.store.record(ask.endpoint, ask.ends, ask.is_last);
        Box::pin(async move {
            let keys = finished.await?;
            for (key, end) in dead {
                let End::DeadLettered { why, tries } = end else { continue };
                let id = store.dead_message(&endpoint, key)?.unwrap_or_default();
                let endpoint = &*endpoint.0;
                tracing::warn!(id, endpoint, why, tries, "dead-lettered: see `edgectl trace`");
            }
            Ok(keys)
        })
    }
}

impl Handler<SetRoutes> for Queue {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, SetRoutes(table): SetRoutes, _: &mut Context<Self>) -> Self::Result {
        let before = self.table.replace(Arc::clone(&table));
        let table = match before {
            Some(before) if mutant::is("stale-routes") => before,
            _ => table,
        };
        self.store.set_time_to_live(table.global_ttl().map(Duration::from_secs));
        self.store.set_budget(self.budget.lowest(table.max_bytes()));
        let routed = Routed::new(table, &self.identity).counting(Arc::clone(&self.not_json));
        let set = self.store.set_matcher(Arc::new(routed));
        Box::pin(async move {
            if let Err(error) = set.await {
                tracing::error!(%error, "routes are set, but the queue does not write");
            }
        })
    }
}

impl Handler<GetQueueStatus> for Queue {
    type Result = Result<QueueStatus, StoreError>;

    fn handle(&mut self, _: GetQueueStatus, _: &mut Context<Self>) -> Self::Result {
        status::of(&self.store, self.not_json.load(Ordering::Relaxed))
    }
}
