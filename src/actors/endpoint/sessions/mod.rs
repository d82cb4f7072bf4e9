//! Sessions: durable subscriptions, takeover, who is online; direct methods (`methods.rs`).
//!
//! Owner of the connections: it starts one for each client that may come in, and they end with
//! it. Subscriptions are on disk before they are acknowledged; all else can be lost.

mod clients;
mod methods;
mod owner;
mod presence;
mod restore;
#[cfg(test)]
mod tests;

pub use self::owner::Accept;
use self::owner::Line;

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;

use super::backend::Backend;
use super::budget::{Limits, Shared};
use super::watch::Watch;
use super::writer::Unwritten;
use crate::actors::clock;
use crate::actors::port::Port;
use crate::actors::supervision::{Obituary, Supervised};
use crate::domain::calls::Calls;
use crate::domain::clients_report::ClientsReport;
use crate::domain::delivery::{LiveShare, Share};
use crate::domain::directory::Directory;
use crate::domain::identity::Identity;
use crate::domain::method::Outcome;
use crate::domain::row::Offset;
use crate::domain::takeover::Takeovers;
use crate::messages::client::{Down, Downlink};
use crate::messages::queue::{Rewound, Stored};
use crate::messages::sessions::{Closed, Open, Opened, Subscribe};
use crate::messages::state::{Change, Save, Scan, StoreError};
use crate::messages::supervision::{ChildExited, Health};

/// Table of `state/` (or of localhub's store) that sessions are kept in.
pub const TABLE: &str = "sessions";

/// An old connection that does not leave in this time is left behind.
const TAKEOVER: Duration = Duration::from_secs(2);
/// Connections have gone by then when all stops.
const LEAVE: Duration = Duration::from_secs(4);
const STORE: Duration = Duration::from_secs(30);

/// What all connections share.
#[derive(Clone)]
pub struct ConnectionSettings {
    /// Parking of one connection.
    pub limits: Limits,
    /// Parking of all.
    pub parking: Rc<Shared>,
    /// Rows in flight to one client.
    pub window: usize,
    /// What each priority has of it in any case.
    pub share: Share,
    /// What live messages have while there is a backlog.
    pub live: LiveShare,
    /// What clients have not read yet.
    pub unwritten: Unwritten,
    /// Who may not go on.
    pub watch: Watch,
}

/// See the module documentation.
pub struct Sessions {
    backend: Rc<Backend>,
    save: Port<Save>,
    scan: Port<Scan>,
    settings: Rc<ConnectionSettings>,
    directory: Directory<Recipient<Downlink>>,
    is_restored: bool,
    epochs: u64,
    /// Openings that wait for the connection before them to leave: by its epoch. They are told
    /// whether it left anything unsettled that the parent holds a lock on.
    waiting: HashMap<u64, tokio::sync::oneshot::Sender<bool>>,
    takeovers: Takeovers,
    /// Clients that wait because their id is fought for, by their number.
    held: HashMap<u64, (Identity, Recipient<Downlink>)>,
    calls: Calls,
    callers: HashMap<u64, tokio::sync::oneshot::Sender<Outcome>>,
    connections: HashMap<u64, (Identity, Line)>,
    /// The path and the address that their obituaries share.
    shared: Option<(Rc<str>, Rc<Recipient<ChildExited>>)>,
    /// What is reported of them; on an edge.
    clients: Option<ClientsReport>,
    /// Somebody came or left since it was looked at.
    is_changed: Cell<bool>,
    is_leaving: bool,
    obituary: Obituary,
}

impl Sessions {
    /// Not restored yet: clients get CONNACK 3 until it is.
    pub fn new(
        backend: Backend,
        save: Port<Save>,
        scan: Port<Scan>,
        settings: ConnectionSettings,
        obituary: Obituary,
    ) -> Self {
        // Numbers go on after a restart of this actor, so that late notices and answers stay late.
        let first = clock::unix_time().as_millis() as u64 * 1000;
        Sessions {
            clients: backend.edge_device.as_deref().map(ClientsReport::new),
            is_changed: Cell::new(true),
            backend: Rc::new(backend),
            save,
            scan,
            settings: Rc::new(settings),
            directory: Directory::default(),
            is_restored: false,
            epochs: first,
            waiting: HashMap::new(),
            takeovers: Takeovers::default(),
            held: HashMap::new(),
            calls: Calls::after(first),
            callers: HashMap::new(),
            connections: HashMap::new(),
            shared: None,
            is_leaving: false,
            obituary,
        }
    }

    fn next_epoch(&mut self) -> u64 {
        self.epochs += 1;
        self.epochs
    }

    fn save(&self, changes: Vec<Change>) -> impl Future<Output = Result<(), StoreError>> + use<> {
        let saved = self.save.ask(Save(changes), STORE);
        async move { saved.await.unwrap_or(Err(StoreError::Unavailable)) }
    }

    fn send(&self, to: &Identity, what: Down) {
        if let Some(seat) = self.directory.seat(to) {
            seat.handle.do_send(Downlink { to: to.clone(), what }); // a notice, or bounded by its sender
        }
    }
}

impl Supervised for Sessions {
    fn obituary(&mut self) -> &mut Obituary {
        &mut self.obituary
    }

    fn health(&self) -> Health {
        let (online, kept) = (self.directory.online().count(), self.directory.sessions());
        Health { state: format!("{online} online, {kept} sessions kept") }
    }

    /// Connections answer what they have taken, and go first.
    fn shut_down(&mut self, ctx: &mut Context<Self>) {
        self.is_leaving = true;
        if self.connections.is_empty() {
            return ctx.stop();
        }
        for (_, line) in self.connections.values() {
            line.shut_down();
        }
        ctx.run_later(LEAVE, |_, ctx| ctx.stop());
    }
}
crate::supervised!(Sessions);

/// A connection never outlives the sessions that know of it.
impl Drop for Sessions {
    fn drop(&mut self) {
        for (_, line) in self.connections.values() {
            line.shut_down();
        }
    }
}

impl Handler<Open> for Sessions {
    type Result = ResponseActFuture<Self, Result<Opened, StoreError>>;

    fn handle(&mut self, open: Open, _: &mut Self::Context) -> Self::Result {
        if !self.is_restored {
            return Box::pin(async { Err(StoreError::Unavailable) }.into_actor(self));
        }
        let is_taken = self.directory.seat(&open.identity).is_some_and(|it| !it.is_behind_edge);
        let delay = match is_taken {
            true => self.takeovers.delay(&open.identity, clock::now()),
            false => Duration::ZERO,
        };
        if delay.is_zero() {
            return self.open(open);
        }
        tracing::warn!(identity = %open.identity, ?delay, "clients fight for one id: held back");
        let number = self.next_epoch();
        self.held.insert(number, (open.identity.clone(), open.downlink.clone()));
        let held = tokio::time::sleep(delay).into_actor(self);
        Box::pin(held.then(move |(), this, _| {
            this.held.remove(&number);
            match open.downlink.connected() {
                true => this.open(open),
                false => Box::pin(async { Err(StoreError::Unavailable) }.into_actor(this)),
            }
        }))
    }
}

impl Sessions {
    /// Seats the client; whoever sits there leaves first.
    fn open(&mut self, open: Open) -> ResponseActFuture<Self, Result<Opened, StoreError>> {
        let Open { identity, is_clean, downlink } = open;
        let forgotten = is_clean && self.directory.forget(&identity);
        let epoch = self.next_epoch();
        let earlier = self.directory.open(&identity, epoch, is_clean, downlink);
        let earlier = earlier.filter(|seat| !seat.is_behind_edge).map(|seat| {
            let why = "another connection of the same client took over".to_owned();
            seat.handle.do_send(Downlink { to: identity.clone(), what: Down::Close(why) });
            let (left, wait) = tokio::sync::oneshot::channel();
            self.waiting.insert(seat.epoch, left);
            wait
        });
        let saved = forgotten.then(|| self.save(vec![Change::delete(TABLE, identity.as_str())]));
        let ready = async move {
            let has_locked = match earlier {
                // One that does not say so in time is left behind.
                Some(left) => !matches!(tokio::time::timeout(TAKEOVER, left).await, Ok(Ok(false))),
                None => false,
            };
            match saved {
                Some(saved) => saved.await.map(|()| has_locked),
                None => Ok(has_locked),
            }
        };
        Box::pin(ready.into_actor(self).map(move |ready, this, ctx| {
            let has_locked = ready?;
            if this.directory.seat(&identity).is_none_or(|seat| seat.epoch != epoch) {
                return Err(StoreError::Unavailable); // taken over while it waited
            }
            let session = this.directory.session(&identity).cloned();
            let opened = Opened {
                epoch,
                is_present: session.is_some(),
                filters: session.map(|stored| stored.filters).unwrap_or_default(),
                unacked: this.directory.take_unacked(&identity),
            };
            if has_locked {
                this.farewell(identity.clone()); // so the parent gives it again, and not in a minute
            }
            this.arrived(&identity);
            this.reached(&identity, ctx);
            Ok(opened)
        }))
    }
}

impl Handler<Closed> for Sessions {
    type Result = ();

    fn handle(&mut self, closed: Closed, ctx: &mut Self::Context) {
        let Closed { identity, epoch, unacked, has_locked } = closed;
        if let Some(waiting) = self.waiting.remove(&epoch).filter(|it| !it.is_closed()) {
            self.directory.hand_over(&identity, unacked);
            let _ = waiting.send(has_locked);
            return;
        }
        if self.directory.closed(&identity, epoch, unacked) {
            self.left(&identity, ctx);
            self.farewell(identity);
        }
    }
}

impl Handler<Subscribe> for Sessions {
    type Result = ResponseActFuture<Self, Result<(), StoreError>>;

    fn handle(&mut self, subscribe: Subscribe, _: &mut Self::Context) -> Self::Result {
        let Subscribe { identity, epoch, add, remove } = subscribe;
        let seat = self.directory.seat(&identity).filter(|seat| seat.epoch == epoch);
        let Some((is_clean, had)) = seat.map(|seat| (seat.is_clean, seat.features)) else {
            return Box::pin(async { Err(StoreError::Unavailable) }.into_actor(self)); // taken over
        };
        let (stored, _) = self.directory.subscribe(&identity, &add, &remove);
        let value = serde_json::to_vec(&stored).expect("filters are plain data");
        let changes =
            if is_clean { vec![] } else { vec![Change::put(TABLE, identity.as_str(), value)] };
        let saved = self.save(changes);
        let told = self.announce(&identity, had);
        let done = async move {
            saved.await?;
            told.await;
            Ok(())
        };
        Box::pin(done.into_actor(self).map(move |done, this, ctx| {
            this.reached(&identity, ctx);
            done
        }))
    }
}

impl Handler<Stored> for Sessions {
    type Result = ();

    fn handle(&mut self, Stored(endpoint): Stored, _: &mut Self::Context) {
        if let Ok(identity) = Identity::parse(&endpoint.0) {
            self.send(&identity, Down::Owed);
        }
    }
}

impl Handler<Rewound> for Sessions {
    type Result = ();

    fn handle(&mut self, Rewound(endpoint): Rewound, _: &mut Self::Context) {
        if let Ok(identity) = Identity::parse(&endpoint.0) {
            self.send(&identity, Down::Rewind(Offset(0)));
        }
    }
}
