//! A real store behind a disk that takes its time: what is not committed when its process is
//! killed is lost.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use tempfile::TempDir;
use tokio::sync::oneshot;

use super::wire::Chance;
use crate::messages::state::{Change, Pairs, Save, Scan, StoreError};
use crate::store::{Kv, Options};

type Waiting = (Vec<Change>, oneshot::Sender<Result<(), StoreError>>);

/// Outlives the processes.
pub(super) struct Disk {
    store: Arc<Kv>,
    _directory: TempDir,
}

impl Disk {
    pub(super) fn new(tables: &[&'static str]) -> Self {
        // In memory, where there is such a place: what is lost by a kill is decided here.
        let memory = std::path::Path::new("/dev/shm");
        let directory = match memory.is_dir() {
            true => tempfile::tempdir_in(memory),
            false => tempfile::tempdir(),
        };
        let directory = directory.unwrap();
        let options = Options { reserve: 0, ..Options::state() };
        let store = Kv::open(directory.path(), tables, options).unwrap();
        Disk { store, _directory: directory }
    }

    /// For one life of a process.
    pub(super) fn mount(&self, chance: &Chance) -> Mounted {
        let (store, chance) = (Arc::clone(&self.store), chance.clone());
        Mounted { store, chance, line: Rc::default(), is_dead: Rc::default() }
    }

    pub(super) fn pairs(&self, table: &str) -> Pairs {
        self.store.scan(table, &[], &[], usize::MAX).unwrap()
    }

    /// Commits at once.
    pub(super) fn save(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        commit(&self.store, changes)
    }
}

/// Blocks this thread: no driven time passes meanwhile.
fn commit(store: &Kv, changes: Vec<Change>) -> Result<(), StoreError> {
    let saved = store.save(changes);
    std::thread::scope(|scope| {
        let wait = || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(saved)
        };
        scope.spawn(wait).join().unwrap()
    })
}

#[derive(Clone)]
pub(super) struct Mounted {
    store: Arc<Kv>,
    chance: Chance,
    line: Rc<RefCell<VecDeque<Waiting>>>,
    is_dead: Rc<RefCell<bool>>,
}

impl Mounted {
    /// The process is killed: what is in line is lost.
    pub(super) fn kill(&self) {
        *self.is_dead.borrow_mut() = true;
        self.line.borrow_mut().clear();
    }
}

impl Actor for Mounted {
    type Context = Context<Self>;
}

impl Mounted {
    fn commit_next(&mut self, ctx: &mut Context<Self>) {
        ctx.run_later(Duration::from_millis(self.chance.below(25)), |this, ctx| {
            let next = this.line.borrow_mut().pop_front();
            if let Some((changes, answer)) = next {
                let _ = answer.send(commit(&this.store, changes));
            }
            if !this.line.borrow().is_empty() {
                this.commit_next(ctx);
            }
        });
    }
}

impl Handler<Save> for Mounted {
    type Result = ResponseFuture<Result<(), StoreError>>;

    fn handle(&mut self, Save(changes): Save, ctx: &mut Self::Context) -> Self::Result {
        let (answer, answered) = oneshot::channel();
        if !*self.is_dead.borrow() {
            self.line.borrow_mut().push_back((changes, answer));
            if self.line.borrow().len() == 1 {
                self.commit_next(ctx);
            }
        }
        Box::pin(async move { answered.await.unwrap_or(Err(StoreError::Unavailable)) })
    }
}

impl Handler<Scan> for Mounted {
    type Result = Result<Pairs, StoreError>;

    fn handle(&mut self, ask: Scan, _: &mut Self::Context) -> Self::Result {
        self.store.scan(ask.table, &ask.prefix, &ask.from, ask.max)
    }
}
