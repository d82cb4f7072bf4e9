//! What the tests of localhub's actors share: a real store in a directory of its own, and probes
//! in the places of others.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use actix::prelude::*;
use tempfile::TempDir;

use super::tables::TABLES;
use crate::actors::hub::state::State;
use crate::actors::port::Port;
use crate::actors::supervision::Obituary;
use crate::domain::identity::Identity;
use crate::messages::sessions::Send;
use crate::messages::state::{Fetch, Save, Scan};
use crate::store::writer::Planned;
use crate::store::{Kv, Options};

/// A store and its ports.
pub(super) struct Disk {
    store: Arc<Kv>,
    pub(super) save: Port<Save>,
    pub(super) fetch: Port<Fetch>,
    pub(super) scan: Port<Scan>,
    _directory: TempDir,
}

impl Disk {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = Options { reserve: 0, ..Options::state() };
        let store = Kv::open(directory.path(), &TABLES, options).unwrap();
        let (save, fetch, scan) = Default::default();
        let disk = Disk { store, save, fetch, scan, _directory: directory };
        disk.plug();
        disk
    }

    /// Writes something, as another actor would.
    pub(super) async fn change(&self, changes: Vec<crate::messages::state::Change>) {
        let saved = self.save.ask(Save(changes), std::time::Duration::from_secs(5));
        saved.await.unwrap().unwrap();
    }

    /// The next commit is refused by the device once, and tried again.
    pub(super) fn refuse_once(&self) {
        const EIO: i32 = 5;
        self.store.writer().plan([Planned::Commit(EIO)]);
    }

    /// Starts a state actor over the store.
    pub(super) fn plug(&self) {
        let state = State::new(Arc::clone(&self.store), Obituary::unsupervised()).start();
        self.save.plug(&state);
        self.fetch.plug(&state);
        self.scan.plug(&state);
    }
}

/// Stands in for sessions: keeps what was sent, and says whether the client is there.
#[derive(Clone, Default)]
pub(super) struct Sessions {
    pub(super) sent: Rc<RefCell<Vec<(Identity, String)>>>,
    pub(super) is_connected: Rc<RefCell<bool>>,
}

impl Sessions {
    pub(super) fn plug(port: &Port<Send>) -> Self {
        let sessions = Sessions::default();
        port.plug(&sessions.clone().start());
        sessions
    }

    /// What was sent since the last time.
    pub(super) fn take(&self) -> Vec<(String, String)> {
        let sent = self.sent.take();
        sent.into_iter().map(|(to, what)| (to.to_string(), what)).collect()
    }
}

impl Actor for Sessions {
    type Context = Context<Self>;
}

impl Handler<Send> for Sessions {
    type Result = bool;

    fn handle(&mut self, send: Send, _: &mut Self::Context) -> bool {
        self.sent.borrow_mut().push((send.to, format!("{:?}", send.what)));
        *self.is_connected.borrow()
    }
}

/// `device` or `device/module`.
pub(super) fn id(text: &str) -> Identity {
    Identity::parse(text).unwrap()
}

/// Asks again until the actor has read its store.
pub(super) async fn ready<M, A, T, E>(actor: &Addr<A>, message: impl Fn() -> M) -> T
where
    M: Message<Result = Result<T, E>> + std::marker::Send + 'static,
    A: Actor<Context = Context<A>> + Handler<M>,
    T: std::marker::Send,
    E: std::marker::Send,
{
    for _ in 0..1_000_000 {
        // a busy disk takes its time
        if let Ok(answer) = actor.send(message()).await.unwrap() {
            return answer;
        }
        tokio::task::yield_now().await;
    }
    panic!("the actor does not get ready");
}
