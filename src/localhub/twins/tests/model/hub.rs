//! The hub's side: its twins, who exists in which generation, and who is attached.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use futures_util::FutureExt as _;
use serde_json::{Value, json};

use super::disk::{Disk, Mounted};
use super::wire::{Chance, Line, Wire};
use crate::actors::port::Port;
use crate::actors::stand_in::port;
use crate::actors::supervision::Obituary;
use crate::domain::identity::Identity;
use crate::domain::registry::IfMatch;
use crate::localhub::tables::{TABLES, TWINS};
use crate::localhub::twins::{Twins, TwinsPorts};
use crate::messages::client::Down;
use crate::messages::registry::Forget;
use crate::messages::service_twins::{ChangeTwin, TwinChange};
use crate::messages::sessions::Send;
use crate::messages::state::Change;
use crate::messages::supervision::Shutdown;
use crate::messages::twins::{GetTwin, PatchReported, TwinAnswer};
use crate::messages::upstream::{Ask, LinkAnswer, Request};

pub(super) type Answer = tokio::sync::oneshot::Sender<LinkAnswer>;
/// Who exists, and in which generation.
pub(super) type Scope = BTreeMap<Identity, u64>;

/// From the gateway.
pub(super) enum Up {
    Request(Request, Answer),
    Scope(tokio::sync::oneshot::Sender<Scope>),
    Attach(Identity, bool),
    Detach(Identity),
}

/// To the gateway.
pub(super) enum Down2 {
    Answer(Answer, LinkAnswer),
    Scope(tokio::sync::oneshot::Sender<Scope>, Scope),
    ScopeChanged,
    Desired { to: Identity, version: u64, patch: bytes::Bytes },
}

#[derive(Clone)]
pub(super) struct Hub(Rc<RefCell<Inner>>);

struct Inner {
    chance: Chance,
    disk: Disk,
    life: Option<(Addr<Twins>, Mounted)>,
    line: Line,
    down: Option<Wire<Down2>>,
    scope: Scope,
    generations: u64,
    attached: BTreeMap<Identity, bool>,
    is_busy: bool,
    /// Desired properties by version, of all generations.
    history: BTreeMap<(Identity, u64), Vec<Value>>,
}

const DEADLINE: Duration = Duration::from_secs(20);

impl Hub {
    pub(super) fn new(chance: &Chance, line: &Line) -> Self {
        let inner = Inner {
            chance: chance.clone(),
            disk: Disk::new(&TABLES),
            life: None,
            line: line.clone(),
            down: None,
            scope: Scope::new(),
            generations: 0,
            attached: BTreeMap::new(),
            is_busy: false,
            history: BTreeMap::new(),
        };
        Hub(Rc::new(RefCell::new(inner)))
    }

    pub(super) fn connect(&self, down: Wire<Down2>) {
        self.0.borrow_mut().down = Some(down);
    }

    pub(super) async fn start(&self) {
        let own = self.clone();
        let disk = {
            let inner = self.0.borrow();
            inner.disk.mount(&inner.chance)
        };
        let (save, scan) = (Port::default(), Port::default());
        let state = disk.clone().start();
        save.plug(&state);
        scan.plug(&state);
        let send = port(move |send: Send| own.send(send));
        let ports = TwinsPorts { save, scan, send };
        let twins = Twins::new(ports, Obituary::unsupervised()).start();
        self.0.borrow_mut().life = Some((twins, disk));
        let all: Vec<_> = self.0.borrow().scope.keys().cloned().collect();
        for identity in all {
            self.note(&identity).await;
        }
    }

    pub(super) fn kill(&self) {
        let life = self.0.borrow_mut().life.take();
        if let Some((twins, disk)) = life {
            disk.kill();
            twins.do_send(Shutdown);
        }
        self.on_cut();
    }

    pub(super) fn on_cut(&self) {
        self.0.borrow_mut().attached.clear();
    }

    pub(super) fn set_busy(&self, is_busy: bool) {
        self.0.borrow_mut().is_busy = is_busy;
    }

    fn send(&self, Send { to, what }: Send) -> bool {
        let inner = self.0.borrow();
        let Down::Desired { version, patch } = what else { panic!("not of twins") };
        if inner.attached.get(&to) != Some(&true) {
            return false;
        }
        inner.down.as_ref().unwrap().put_now(Down2::Desired { to, version, patch });
        true
    }

    fn twins(&self) -> Option<Addr<Twins>> {
        self.0.borrow().life.as_ref().map(|(twins, _)| twins.clone())
    }

    pub(super) fn take(&self, up: Up) {
        let (epoch, down) = {
            let inner = self.0.borrow();
            (inner.line.epoch(), inner.down.clone().unwrap())
        };
        match up {
            Up::Attach(who, desired) => {
                if self.0.borrow().scope.contains_key(&who) {
                    self.0.borrow_mut().attached.insert(who, desired);
                }
            }
            Up::Detach(who) => drop(self.0.borrow_mut().attached.remove(&who)),
            Up::Scope(answer) => {
                let scope = self.0.borrow().scope.clone();
                down.put(epoch, Down2::Scope(answer, scope));
            }
            Up::Request(request, answer) => {
                let (own, busy) = (self.clone(), self.0.borrow().is_busy);
                actix::spawn(async move {
                    if let Some(answered) = own.answer(request, busy).await {
                        down.put(epoch, Down2::Answer(answer, answered));
                    }
                });
            }
        }
    }

    fn answer(
        &self,
        Request { identity, what }: Request,
        is_busy: bool,
    ) -> impl Future<Output = Option<LinkAnswer>> + use<> {
        let error = |status, why| Ok(TwinAnswer::error(status, why));
        let is_here = self.0.borrow().scope.contains_key(&identity);
        let twins = self.twins().filter(|_| is_here);
        // Asked now: twins take things in order of arrival.
        let asked = match (twins, what) {
            (None, _) => Err(error(404, "it is not here")),
            (Some(twins), Ask::TwinGet) => Ok(twins.send(GetTwin(identity)).boxed_local()),
            (Some(_), Ask::TwinPatch(patch)) if is_refused(&patch) => Err(error(400, "only here")),
            (Some(_), Ask::TwinPatch(_)) if is_busy => Err(error(503, "not now")),
            (Some(twins), Ask::TwinPatch(patch)) => {
                Ok(twins.send(PatchReported { identity, patch }).boxed_local())
            }
            _ => panic!("not of twins"),
        };
        async move {
            let answer: Result<TwinAnswer, MailboxError> = match asked {
                Ok(asked) => asked.await,
                Err(error) => error,
            };
            let TwinAnswer { status, body, version } = answer.ok()?;
            Some(LinkAnswer { status, body, version })
        }
    }

    /// A service changes desired properties; only what is answered is known.
    pub(super) async fn desire(&self, who: &Identity, desired: &Value, is_merged: bool) {
        let Some(twins) = self.twins().filter(|_| self.generation(who).is_some()) else { return };
        let body = json!({ "properties": { "desired": desired } });
        let change = match is_merged {
            true => TwinChange::Merge(body),
            false => TwinChange::Replace(body),
        };
        let change = ChangeTwin { identity: who.clone(), condition: IfMatch::None, change };
        let (own, who) = (self.clone(), who.clone());
        let generation = self.generation(&who);
        let changed = twins.send(change);
        actix::spawn(async move {
            if let Ok(Ok(twin)) = tokio::time::timeout(DEADLINE, changed).await.unwrap()
                && own.generation(&who) == generation
            {
                own.remember(&who, twin["properties"]["desired"].clone());
            }
        });
        tokio::task::yield_now().await;
    }

    fn remember(&self, who: &Identity, desired: Value) {
        let mut desired = desired.as_object().cloned().unwrap_or_default();
        desired.remove("$metadata");
        let version = desired.remove("$version").and_then(|it| it.as_u64()).unwrap_or_default();
        let key = (who.clone(), version);
        self.0.borrow_mut().history.entry(key).or_default().push(Value::Object(desired));
    }

    /// Its desired properties at a version: one of these.
    pub(super) fn at(&self, who: &Identity, version: u64) -> Vec<Value> {
        self.0.borrow().history.get(&(who.clone(), version)).cloned().unwrap_or_default()
    }

    async fn note(&self, who: &Identity) {
        let desired = self.read(who).await["desired"].clone();
        self.remember(who, desired);
    }

    /// The whole twin.
    pub(super) async fn read(&self, who: &Identity) -> Value {
        let twins = self.twins().unwrap();
        for _ in 0..1_000 {
            let answer = twins.send(GetTwin(who.clone())).await.unwrap();
            if answer.status == 200 {
                return serde_json::from_slice(&answer.body).unwrap();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("the hub does not get ready");
    }

    pub(super) fn generation(&self, who: &Identity) -> Option<u64> {
        self.0.borrow().scope.get(who).copied()
    }

    /// Gone with its twin.
    pub(super) fn delete(&self, who: &Identity) {
        let mut inner = self.0.borrow_mut();
        inner.scope.remove(who);
        inner.attached.remove(who);
        inner.disk.save(vec![Change::delete(TWINS, who.as_str())]).unwrap();
        if let Some((twins, _)) = &inner.life {
            twins.do_send(Forget(vec![who.clone()]));
        }
        inner.down.as_ref().unwrap().put_now(Down2::ScopeChanged);
    }

    pub(super) async fn make(&self, who: &Identity) {
        {
            let mut inner = self.0.borrow_mut();
            inner.generations += 1;
            let generation = inner.generations;
            inner.scope.insert(who.clone(), generation);
            inner.down.as_ref().unwrap().put_now(Down2::ScopeChanged);
        }
        self.note(who).await;
    }
}

/// The hub alone refuses what names this.
pub(super) fn is_refused(patch: &[u8]) -> bool {
    let patch: Value = serde_json::from_slice(patch).unwrap();
    patch.as_object().unwrap().keys().any(|name| name.starts_with("refused"))
}
