//! The gateway's side: EdgeHub's twins, and stand-ins for its sessions, identities and queue.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use serde_json::Value;
use tokio::sync::oneshot;

use super::client::{Client, ToClient};
use super::disk::{Disk, Mounted};
use super::hub::{Scope, Up};
use super::wire::{Chance, Line, Wire};
use crate::actors::hub::twins::{TABLES, Twins, TwinsPorts};
use crate::actors::port::Port;
use crate::actors::stand_in::port;
use crate::actors::supervision::Obituary;
use crate::domain::features::Features;
use crate::domain::identity::Identity;
use crate::messages::client::Down;
use crate::messages::queue::{Ingest, Verdict};
use crate::messages::registry::Forget;
use crate::messages::sessions::{ListOnline, Online, Send};
use crate::messages::state::{Save, StoreError};
use crate::messages::supervision::Shutdown;
use crate::messages::twins::{
    DesiredPatched, DesiredTaken, GetTwin, ListRefused, PatchReported, Refused, WatchDesired,
};
use crate::messages::upstream::{LinkChanged, NotConnected, Request};

#[derive(Clone)]
pub(super) struct Gateway(Rc<RefCell<Inner>>);

struct Inner {
    chance: Chance,
    disk: Disk,
    life: Option<(Addr<Twins>, Mounted)>,
    /// The disk of this life.
    save: Port<Save>,
    /// Counts lives: a stand-in of an earlier one does nothing.
    lives: u64,
    line: Line,
    up: Option<Wire<Up>>,
    /// As the cache of identities …
    scope: Scope,
    /// … and as it is on disk.
    kept: Scope,
    /// Who has subscribed to desired properties, on disk.
    subscribed: BTreeSet<Identity>,
    clients: BTreeMap<Identity, Client>,
    takes_changes: bool,
    /// What the routes saw: whose, and the patch.
    routed: Vec<(String, Value)>,
}

impl Gateway {
    pub(super) fn new(chance: &Chance, line: &Line) -> Self {
        let inner = Inner {
            chance: chance.clone(),
            disk: Disk::new(&TABLES),
            life: None,
            save: Port::default(),
            lives: 0,
            line: line.clone(),
            up: None,
            scope: Scope::new(),
            kept: Scope::new(),
            subscribed: BTreeSet::new(),
            clients: BTreeMap::new(),
            takes_changes: true,
            routed: Vec::new(),
        };
        Gateway(Rc::new(RefCell::new(inner)))
    }

    pub(super) fn connect(&self, up: Wire<Up>, clients: &[Client]) {
        let mut inner = self.0.borrow_mut();
        inner.up = Some(up);
        inner.clients = clients.iter().map(|it| (it.id().clone(), it.clone())).collect();
    }

    pub(super) fn start(&self) {
        let (disk, life) = {
            let mut inner = self.0.borrow_mut();
            inner.lives += 1;
            (inner.disk.mount(&inner.chance), inner.lives)
        };
        let (save, scan) = (Port::<Save>::default(), Port::default());
        self.0.borrow_mut().save = save.clone();
        let state = disk.clone().start();
        save.plug(&state);
        scan.plug(&state);
        let (asked, sent) = (self.clone(), self.clone());
        let (online, queue) = (self.clone(), self.clone());
        let ask = AskUp { gateway: asked, life }.start();
        let request = Port::default();
        request.plug(&ask);
        let ports = TwinsPorts {
            save,
            scan,
            request,
            send: port(move |send: Send| sent.is_living(life) && sent.send(send)),
            online: port(move |ListOnline| online.online()),
            ingest: port(move |ingest: Ingest| match queue.is_living(life) {
                true => queue.ingest(ingest),
                false => Err(StoreError::Unavailable),
            }),
            edge_hub: Port::default(),
            edge_agent: Port::default(),
        };
        let edge = Identity::parse("gw").unwrap();
        let twins = Twins::new(&edge, ports, Obituary::unsupervised()).start();
        self.0.borrow_mut().life = Some((twins, disk));
    }

    pub(super) fn kill(&self) {
        let life = self.0.borrow_mut().life.take();
        {
            let mut inner = self.0.borrow_mut();
            inner.lives += 1;
            inner.scope = inner.kept.clone();
        }
        if let Some((twins, disk)) = life {
            disk.kill();
            twins.do_send(Shutdown);
        }
    }

    fn is_living(&self, life: u64) -> bool {
        self.0.borrow().lives == life
    }

    pub(super) fn twins(&self) -> Addr<Twins> {
        self.0.borrow().life.as_ref().unwrap().0.clone()
    }

    fn up(&self, up: Up) {
        self.0.borrow().up.as_ref().unwrap().put_now(up);
    }

    pub(super) fn set_queue(&self, takes: bool) {
        self.0.borrow_mut().takes_changes = takes;
    }

    fn ingest(&self, Ingest(batch, _): Ingest) -> Result<Vec<Verdict>, StoreError> {
        let mut inner = self.0.borrow_mut();
        if !inner.takes_changes {
            return Err(StoreError::Unavailable);
        }
        for message in &batch {
            assert_eq!(message.sender.to_string(), "gw/$edgeHub");
            let whose = message.bag.value("$.cdid").unwrap().to_string();
            let patch = serde_json::from_slice(&message.body).unwrap();
            inner.routed.push((whose, patch));
        }
        Ok(batch.iter().map(|_| Verdict::Unrouted).collect())
    }

    pub(super) fn routed(&self, who: &Identity) -> Vec<Value> {
        let inner = self.0.borrow();
        let of = inner.routed.iter().filter(|(whose, _)| *whose == who.to_string());
        of.map(|(_, patch)| patch.clone()).collect()
    }

    fn online(&self) -> Vec<Online> {
        let inner = self.0.borrow();
        let here = inner.clients.values().filter(|client| client.line().is_up());
        here.map(|client| Online {
            identity: client.id().clone(),
            features: Features {
                desired: inner.subscribed.contains(&*client.id()),
                ..Features::default()
            },
            is_behind_edge: false,
        })
        .collect()
    }

    fn send(&self, Send { to, what }: Send) -> bool {
        let Down::Desired { version, patch } = what else { panic!("not of twins") };
        let inner = self.0.borrow();
        let client = &inner.clients[&to];
        let is_there = client.line().is_up() && inner.subscribed.contains(&to);
        if is_there {
            client.give(client.line().epoch(), ToClient::Desired(version, patch));
        }
        is_there
    }

    /// The parent sent a patch.
    pub(super) fn on_desired(&self, identity: Identity, version: u64, patch: bytes::Bytes) {
        self.twins().do_send(DesiredPatched { identity, version, patch });
    }

    /// As sessions and identities do: all are attached, the scope is read, then twins hear of it.
    pub(super) fn on_link(&self, is_up: bool) {
        if !is_up {
            self.twins().do_send(LinkChanged { is_up });
            return;
        }
        for Online { identity, features, .. } in self.online() {
            self.up(Up::Attach(identity, features.desired));
        }
        self.read_scope(true);
    }

    pub(super) fn read_scope(&self, is_new_link: bool) {
        let (answer, answered) = oneshot::channel();
        self.up(Up::Scope(answer));
        let (own, epoch) = (self.clone(), self.0.borrow().line.epoch());
        actix::spawn(async move {
            let Ok(scope) = answered.await else { return };
            if !own.0.borrow().line.is(epoch) {
                return;
            }
            own.take_scope(scope);
            if is_new_link {
                own.twins().do_send(LinkChanged { is_up: true });
            }
        });
    }

    fn take_scope(&self, scope: Scope) {
        let old = std::mem::replace(&mut self.0.borrow_mut().scope, scope.clone());
        let gone = old.iter().filter(|(who, generation)| scope.get(*who) != Some(*generation));
        let gone: Vec<_> = gone.map(|(who, _)| who.clone()).collect();
        let forgotten = self.twins().send(Forget(gone.clone()));
        let (own, save) = (self.clone(), self.0.borrow().save.clone());
        actix::spawn(async move {
            // On disk after what twins delete: in line behind it, also of an earlier change.
            let is_forgotten = forgotten.await.is_ok();
            let saved = save.ask(Save(Vec::new()), Duration::from_secs(60));
            if is_forgotten && matches!(saved.await, Ok(Ok(()))) {
                own.0.borrow_mut().kept = scope;
            }
        });
        for who in gone {
            self.0.borrow_mut().subscribed.remove(&who);
            let client = self.0.borrow().clients[&who].clone();
            client.forget();
            self.leave(&who);
        }
    }

    /// The generation that it knows.
    pub(super) fn generation(&self, who: &Identity) -> Option<u64> {
        self.0.borrow().scope.get(who).copied()
    }

    /// A client came; its session is what it was.
    pub(super) fn arrive(&self, who: &Identity) {
        let is_watching = self.0.borrow().subscribed.contains(who);
        self.up(Up::Attach(who.clone(), is_watching));
        if is_watching {
            self.twins().do_send(WatchDesired(who.clone()));
        }
    }

    pub(super) fn leave(&self, who: &Identity) {
        self.up(Up::Detach(who.clone()));
    }

    pub(super) async fn subscribe(&self, who: &Identity) {
        self.0.borrow_mut().subscribed.insert(who.clone());
        self.up(Up::Attach(who.clone(), true));
        let watched = self.twins().send(WatchDesired(who.clone()));
        let _ = tokio::time::timeout(Duration::from_secs(2), watched).await;
    }

    pub(super) fn get(&self, who: &Identity) -> actix::prelude::Request<Twins, GetTwin> {
        self.twins().send(GetTwin(who.clone()))
    }

    pub(super) fn report(
        &self,
        who: &Identity,
        patch: &Value,
    ) -> actix::prelude::Request<Twins, PatchReported> {
        let patch = patch.to_string().into();
        self.twins().send(PatchReported { identity: who.clone(), patch })
    }

    pub(super) fn taken(&self, who: &Identity, version: u64) {
        self.twins().do_send(DesiredTaken { identity: who.clone(), version });
    }

    pub(super) async fn refused(&self) -> Vec<Refused> {
        self.twins().send(ListRefused).await.unwrap().unwrap()
    }

    /// The twin as it is on disk.
    pub(super) fn kept(&self, who: &Identity) -> Value {
        let pairs = self.0.borrow().disk.pairs("twins");
        let mut found = pairs.iter().filter(|(key, _)| key == who.as_str().as_bytes());
        found.next().map_or(Value::Null, |(_, value)| serde_json::from_slice(value).unwrap())
    }

    /// Rows of the tables of what is owed.
    pub(super) fn owed(&self) -> (usize, usize) {
        let inner = self.0.borrow();
        (inner.disk.pairs("twin-patches").len(), inner.disk.pairs("twin-changes").len())
    }
}

/// Stands in for upstream.
struct AskUp {
    gateway: Gateway,
    life: u64,
}

impl Actor for AskUp {
    type Context = Context<Self>;
}

impl Handler<Request> for AskUp {
    type Result = ResponseFuture<Result<crate::messages::upstream::LinkAnswer, NotConnected>>;

    fn handle(&mut self, request: Request, _: &mut Self::Context) -> Self::Result {
        let (answer, answered) = oneshot::channel();
        if self.gateway.is_living(self.life) && !request.identity.as_str().contains('$') {
            self.gateway.up(Up::Request(request, answer));
        }
        Box::pin(async move { answered.await.map_err(|_| NotConnected) })
    }
}
