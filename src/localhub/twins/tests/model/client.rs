//! A client as the SDKs are: it subscribes and reads once, sends again what was not answered when
//! it comes back, and never subscribes again.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use actix::prelude::MailboxError;
use bytes::Bytes;
use serde_json::{Map, Value};
use tokio::sync::oneshot;

use super::gateway::Gateway;
use super::hub::{Hub, is_refused};
use super::wire::{Chance, Faults, Line, Wire};
use crate::domain::identity::Identity;
use crate::domain::twin::merge_object;
use crate::messages::twins::TwinAnswer;

#[derive(Clone)]
pub(super) struct Client(Rc<RefCell<Inner>>);

#[derive(Clone, Debug)]
enum Op {
    Subscribe,
    Read,
    Report(Value),
}

/// On its way to the client.
pub(super) enum ToClient {
    Answer(u64, Option<TwinAnswer>),
    Desired(u64, Bytes),
}

struct Inner {
    id: Identity,
    line: Line,
    up: Option<Wire<(u64, Op)>>,
    down: Option<Wire<ToClient>>,
    next: u64,
    unanswered: VecDeque<(u64, Op)>,
    /// Ends when the last twin request of this connection is answered.
    last_request: Option<oneshot::Receiver<()>>,
    /// What was answered, in order.
    view: Option<(u64, Map<String, Value>)>,
    /// By number, of which one that is sent again keeps its own.
    reported: BTreeMap<u64, Value>,
    refused: usize,
    /// All that was accepted, of earlier ones under its id too.
    accepted: Vec<Value>,
    /// Version whose PUBACK the gateway has.
    taken: Option<u64>,
    seen_here: Vec<u64>,
}

impl Client {
    pub(super) fn new(id: &str) -> Self {
        let inner = Inner {
            id: Identity::parse(id).unwrap(),
            line: Line::default(),
            up: None,
            down: None,
            next: 0,
            unanswered: VecDeque::new(),
            last_request: None,
            view: None,
            reported: BTreeMap::new(),
            refused: 0,
            accepted: Vec::new(),
            taken: None,
            seen_here: Vec::new(),
        };
        let client = Client(Rc::new(RefCell::new(inner)));
        client.reset();
        client
    }

    fn reset(&self) {
        let mut inner = self.0.borrow_mut();
        inner.unanswered.clear();
        inner.view = None;
        inner.reported.clear();
        inner.refused = 0;
        inner.taken = None;
        for op in [Op::Subscribe, Op::Read] {
            inner.next += 1;
            let number = inner.next;
            inner.unanswered.push_back((number, op));
        }
    }

    pub(super) fn connect(&self, gateway: &Gateway, hub: &Hub, chance: &Chance, faults: &Faults) {
        let (own, line) = (self.clone(), self.line());
        let (taker, hub, faults) = (gateway.clone(), hub.clone(), faults.clone());
        let down = Wire::new(&line, chance, move |to| own.take(to, &taker, &hub, &faults));
        let (own, gateway) = (self.clone(), gateway.clone());
        let up = Wire::new(&line, chance, move |(number, op)| own.serve(number, op, &gateway));
        let mut inner = self.0.borrow_mut();
        (inner.up, inner.down) = (Some(up), Some(down));
    }

    pub(super) fn id(&self) -> Identity2<'_> {
        std::cell::Ref::map(self.0.borrow(), |inner| &inner.id)
    }

    pub(super) fn line(&self) -> Line {
        self.0.borrow().line.clone()
    }

    /// Comes (back).
    pub(super) fn join(&self, gateway: &Gateway) {
        let line = self.line();
        line.join();
        {
            let mut inner = self.0.borrow_mut();
            inner.seen_here.clear();
            inner.last_request = None;
        }
        let id = self.id().clone();
        gateway.arrive(&id);
        let all: Vec<_> = self.0.borrow().unanswered.iter().cloned().collect();
        for (number, op) in all {
            self.put(number, op);
        }
    }

    pub(super) fn cut(&self) {
        self.line().cut();
    }

    /// The gateway was killed: what it was told last may not be on its disk.
    pub(super) fn doubt(&self) {
        self.0.borrow_mut().taken = None;
    }

    /// Another one bears its id from now on.
    pub(super) fn forget(&self) {
        self.cut();
        self.reset();
    }

    fn put(&self, number: u64, op: Op) {
        self.0.borrow().up.as_ref().unwrap().put_now((number, op));
    }

    pub(super) fn give(&self, epoch: u64, what: ToClient) {
        self.0.borrow().down.as_ref().unwrap().put(epoch, what);
    }

    fn ask(&self, op: Op) {
        let number = {
            let mut inner = self.0.borrow_mut();
            inner.next += 1;
            let number = inner.next;
            inner.unanswered.push_back((number, op.clone()));
            number
        };
        self.put(number, op);
    }

    pub(super) fn read(&self) {
        self.ask(Op::Read);
    }

    pub(super) fn report(&self, patch: Value) {
        self.ask(Op::Report(patch));
    }

    /// The gateway's connection of it: twin requests are answered in order.
    fn serve(&self, number: u64, op: Op, gateway: &Gateway) {
        let (own, epoch, id) = (self.clone(), self.line().epoch(), self.id().clone());
        let answer = move |answer| own.give(epoch, ToClient::Answer(number, answer));
        match op {
            Op::Subscribe => {
                let gateway = gateway.clone();
                actix::spawn(async move {
                    gateway.subscribe(&id).await;
                    answer(None);
                });
            }
            Op::Read => self.answer_twin(gateway.get(&id), answer),
            Op::Report(patch) => self.answer_twin(gateway.report(&id, &patch), answer),
        }
    }

    fn answer_twin(
        &self,
        asked: impl Future<Output = Result<TwinAnswer, MailboxError>> + 'static,
        answer: impl FnOnce(Option<TwinAnswer>) + 'static,
    ) {
        let (done, is_done) = oneshot::channel::<()>();
        let before = self.0.borrow_mut().last_request.replace(is_done);
        actix::spawn(async move {
            let answered = asked.await;
            if let Some(before) = before {
                let _ = before.await;
            }
            if let Ok(answered) = answered {
                answer(Some(answered));
            }
            drop(done);
        });
    }

    fn take(&self, what: ToClient, gateway: &Gateway, hub: &Hub, faults: &Faults) {
        match what {
            ToClient::Answer(number, answer) => self.on_answer(number, answer, hub, faults),
            ToClient::Desired(version, patch) => {
                self.on_desired(version, &patch, hub, faults);
                let (own, gateway) = (self.clone(), gateway.clone());
                let (line, id, epoch) = (self.line(), self.id().clone(), self.line().epoch());
                actix::spawn(async move {
                    tokio::time::sleep(std::time::Duration::from_millis(3)).await;
                    if line.is(epoch) {
                        gateway.taken(&id, version);
                        own.0.borrow_mut().taken = Some(version);
                    }
                });
            }
        }
    }

    fn on_answer(&self, number: u64, answer: Option<TwinAnswer>, hub: &Hub, faults: &Faults) {
        let mut inner = self.0.borrow_mut();
        let at = inner.unanswered.iter().position(|(of, _)| *of == number);
        let Some((_, op)) = at.and_then(|at| inner.unanswered.remove(at)) else { return };
        let status = answer.as_ref().map_or(0, |answer| answer.status);
        match (op, status) {
            (Op::Subscribe, _) => {}
            (Op::Read, 200) => {
                let body: Value = serde_json::from_slice(&answer.unwrap().body).unwrap();
                let mut desired = body["desired"].as_object().unwrap().clone();
                let version = desired.remove("$version").unwrap().as_u64().unwrap();
                let is_known = hub.at(&inner.id, version).contains(&Value::Object(desired.clone()));
                if version > 0 && !is_known {
                    faults.note(format!("{}: read {version} {desired:?}, of no hub", inner.id));
                }
                inner.view = Some((version, desired));
            }
            (Op::Report(patch), 400) => {
                let is_ours = patch.get("bad name").is_some();
                if is_ours == is_refused(patch.to_string().as_bytes()) {
                    faults.note(format!("{}: refused {patch}", inner.id));
                }
                if !is_ours {
                    inner.refused += 1;
                    inner.accepted.push(patch);
                }
            }
            (Op::Report(_), 404) => {} // it was just deleted
            (Op::Report(patch), 204) => {
                if is_refused(patch.to_string().as_bytes()) {
                    inner.refused += 1;
                } else {
                    inner.reported.insert(number, patch.clone());
                }
                inner.accepted.push(patch);
            }
            (op @ (Op::Report(_) | Op::Read), 429 | 503) => {
                drop(inner);
                self.ask(op); // at the end: only what comes after it was sent meanwhile
            }
            (op, status) => faults.note(format!("{}: {op:?} answered {status}", inner.id)),
        }
    }

    fn on_desired(&self, version: u64, patch: &[u8], hub: &Hub, faults: &Faults) {
        let mut inner = self.0.borrow_mut();
        let mut patch: Map<String, Value> = serde_json::from_slice(patch).unwrap();
        if patch.remove("$version").and_then(|it| it.as_u64()) != Some(version) {
            faults.note(format!("{}: $version is not {version}", inner.id));
        }
        if inner.taken == Some(version) || inner.seen_here.contains(&version) {
            faults.note(format!("{}: version {version} was told twice", inner.id));
        }
        inner.seen_here.push(version);
        let id = inner.id.clone();
        let Some((at, view)) = &mut inner.view else { return };
        merge_object(view, &patch);
        let is_known = hub.at(&id, version);
        if !is_known.contains(&Value::Object(view.clone())) {
            let shown = Value::Object(view.clone());
            faults.note(format!(
                "{id}: {patch:?} brought it from {at} to {version} {shown}, the hub has {is_known:?}"
            ));
        }
        *at = version;
    }

    pub(super) fn view(&self) -> Option<(u64, Map<String, Value>)> {
        self.0.borrow().view.clone()
    }

    pub(super) fn reported(&self) -> Value {
        let mut whole = Map::new();
        for patch in self.0.borrow().reported.values() {
            merge_object(&mut whole, patch.as_object().unwrap());
        }
        Value::Object(whole)
    }

    /// Answered, and named what only the hub refuses.
    pub(super) fn refused(&self) -> usize {
        self.0.borrow().refused
    }

    pub(super) fn accepted(&self) -> Vec<Value> {
        self.0.borrow().accepted.clone()
    }

    pub(super) fn waits(&self) -> usize {
        self.0.borrow().unanswered.len()
    }
}

type Identity2<'a> = std::cell::Ref<'a, Identity>;
