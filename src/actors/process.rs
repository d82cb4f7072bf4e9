//! A process: one tree, from its start to its ordered stop.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};

use super::endpoint::backend::Readiness;
use super::supervision::{Factory, Obituary, Running, Supervisor, remember_panics};
use crate::domain::tree::Node;
use crate::messages::supervision::{ChildExited, Probe, Shutdown};
use crate::protocol::notify;
use crate::store::WriterState;

/// The whole tree stops in this time, or is left behind.
const STOP: Duration = Duration::from_secs(25);

/// Whoever is ready for so long is not about to be killed by what is in its stores.
const WELL: Duration = Duration::from_secs(60);

/// Takes the obituary of the root.
struct Top(Option<tokio::sync::oneshot::Sender<String>>);

impl Actor for Top {
    type Context = Context<Self>;
}

impl Handler<ChildExited> for Top {
    type Result = ();

    fn handle(&mut self, exited: ChildExited, _: &mut Self::Context) {
        if let Some(ended) = self.0.take() {
            let _ = ended.send(exited.why); // nobody waits when the process is about to end
        }
    }
}

/// The stores that the process cannot live without. When LMDB gives one up it is lost for this
/// process, whatever its actors do: the next one opens it anew. Cheap to clone.
#[derive(Clone, Default)]
pub struct Vital(Rc<Lost>);

/// What a process has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Milestone {
    /// All its parts are ready.
    Ready,
    /// It has been for a while.
    Well,
}

/// Who is told of it.
pub type Told = Box<dyn Fn(Milestone)>;

#[derive(Default)]
struct Lost {
    why: RefCell<Option<String>>,
    changed: Notify,
    told: RefCell<BTreeMap<&'static str, Told>>,
}

impl Vital {
    /// From now on the process ends when this store is broken. To be called while it runs.
    pub fn watch(&self, name: &'static str, mut state: watch::Receiver<WriterState>) {
        let lost = Rc::clone(&self.0);
        actix::spawn(async move {
            let broken = state.wait_for(|state| matches!(state, WriterState::Broken(_))).await;
            if let Ok(WriterState::Broken(why)) = broken.as_deref() {
                *lost.why.borrow_mut() = Some(format!("store `{name}` is broken: {why}"));
                lost.changed.notify_one();
            }
        });
    }

    /// From now on this one of the stores is told how far the process came.
    pub fn tell(&self, name: &'static str, told: Told) {
        self.0.told.borrow_mut().insert(name, told);
    }

    fn come_to(&self, milestone: Milestone) {
        self.0.told.borrow().values().for_each(|told| told(milestone));
    }

    /// Why the process must end.
    async fn lost(&self) -> String {
        loop {
            if let Some(why) = self.0.why.borrow_mut().take() {
                return why;
            }
            self.0.changed.notified().await;
        }
    }
}

/// Runs a tree until SIGTERM or SIGINT (0), or until its root gives up or one of the `vital`
/// stores is lost (1).
///
/// `plug` gets the root, for those who take snapshots of the tree; `addresses` are told to the log
/// once all parts are ready.
pub fn run(
    tree: &'static Node,
    factory: impl FnOnce() -> Rc<dyn Factory>,
    readiness: Readiness,
    addresses: String,
    vital: Vital,
    plug: impl FnOnce(&Running),
) -> ExitCode {
    remember_panics();
    let system = System::new();
    system.block_on(async move {
        let (ended, mut end) = tokio::sync::oneshot::channel();
        let top = Top(Some(ended)).start();
        let obituary = Obituary::new("", tree.name(), 1, top.recipient());
        let root = Supervisor::start_tree(tree, &factory(), obituary);
        plug(&root);
        let is_stopping = Rc::new(Cell::new(false));
        actix::spawn(announce(readiness, addresses, Rc::clone(&is_stopping), vital.clone()));
        actix::spawn(feed_watchdog(root.clone()));
        let mut term = signal(SignalKind::terminate()).expect("signals can be waited for");
        let mut int = signal(SignalKind::interrupt()).expect("signals can be waited for");
        tokio::select! {
            why = &mut end => {
                tracing::error!(why = why.unwrap_or_default(), "the tree gave up: the process ends");
                return ExitCode::FAILURE;
            }
            why = vital.lost() => {
                tracing::error!(why, "a store is lost: the process ends");
                return ExitCode::FAILURE;
            }
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        is_stopping.set(true);
        notify::stopping();
        tracing::info!("stopping");
        root.shutdown.do_send(Shutdown); // once
        if tokio::time::timeout(STOP, end).await.is_err() {
            tracing::error!("not stopped in time: left behind");
        }
        tracing::info!("stopped");
        ExitCode::SUCCESS
    })
}

/// Says `ready` once, as soon as every part is. The service manager is told at once that we run,
/// and then what is waited for: a part that cannot be had for long (a disk that is not there, a
/// hub that was never reached) is no reason to be killed and started again.
async fn announce(
    readiness: Readiness,
    addresses: String,
    is_stopping: Rc<Cell<bool>>,
    vital: Vital,
) {
    let mut last = None;
    notify::ready("starting");
    loop {
        let missing = readiness.missing();
        if is_stopping.get() {
            return;
        }
        if missing.is_none() && !readiness.parts().is_empty() {
            tracing::info!("ready {addresses}");
            notify::status("ready");
            vital.come_to(Milestone::Ready);
            tokio::time::sleep(WELL).await;
            return vital.come_to(Milestone::Well);
        }
        if missing != last {
            tracing::info!(waits_for = missing, "not ready");
            notify::status(missing.as_deref().unwrap_or_default());
            last = missing;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The root answers, so the service manager is told that we live.
async fn feed_watchdog(root: Running) {
    let Some(period) = notify::watchdog_period() else { return };
    loop {
        if root.probe.send(Probe).timeout(period).await.is_ok() {
            notify::watchdog();
        }
        tokio::time::sleep(period).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix::test]
    async fn a_broken_store_ends_the_process_and_one_that_retries_does_not() {
        tokio::time::pause();
        let vital = Vital::default();
        let (report, state) = watch::channel(WriterState::Ready);
        vital.watch("queue", state);
        report.send_replace(WriterState::Retrying("full".into()));
        let wait = Duration::from_secs(1);
        assert!(tokio::time::timeout(wait, vital.lost()).await.is_err());
        report.send_replace(WriterState::Broken("panic".into()));
        let why = tokio::time::timeout(wait, vital.lost()).await;
        assert_eq!(why.as_deref(), Ok("store `queue` is broken: panic"));
    }
}
