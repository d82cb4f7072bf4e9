//! One thread per environment that writes: it runs what waits in ONE transaction, commits it with
//! fsync, and only then answers (group commit).
//!
//! Promises: an answer `Ok` means on disk. Work of one [`Kind`] is committed in the order of
//! submission. A piece of work that fails, or panics, fails alone: the transaction is aborted and
//! each piece runs again by itself. So work must be re-runnable and keep nothing outside the
//! transaction. While the device refuses (EIO, ENOSPC) nothing is answered and all is tried again;
//! vital work does not wait for appends then. Appends that find no room (`admit.rs`) wait, un-answered,
//! until there is some; those of one party keep their order. When LMDB gives up (MDB_PANIC), everything is
//! answered `Broken` for good, and the process has to exit: `bin` opens environments once.
//!
//! next: `thread.rs`, the loop; `inbox.rs`, what waits.

mod admit;
mod holds;
mod inbox;
mod job;
mod keeper;
mod plan;
#[cfg(test)]
mod tests;
mod thread;
mod waiting;

use heed::RwTxn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use tokio::sync::{Semaphore, oneshot, watch};

use self::inbox::Inbox;
use self::job::Work;
pub(super) use self::keeper::Keeper;
use self::plan::Plan;
#[cfg(any(test, feature = "faults"))]
pub use self::plan::Planned;
use self::thread::Loop;
use super::env::Environment;
use super::fault::Fault;
use crate::domain::budget::{Budget, Level};
pub use crate::domain::group_commit::Window;
use crate::messages::chain::Chain;
use crate::messages::state::StoreError;

/// Pieces of work that may wait at a time; whoever submits more waits before they are taken.
const CAPACITY: usize = 4_096;

/// What a piece of work does to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Frees more than it takes, or must be possible on a full disk: it may use up the reserve.
    Vital,
    /// As vital work, with which it is in line; but nobody waits for it, so it may wait a moment for
    /// appends to be written with.
    End,
    /// Adds to what is stored: waits while the disk is full.
    Append,
}

/// What the pieces of work of one transaction share: counts that each of them changes, say, are
/// read once and written once. Gone with the transaction, whether that is committed or not.
pub trait Shared: Default {
    /// Writes what is not written yet, at the end of the transaction.
    fn write(&mut self, txn: &mut RwTxn<'_>) -> Result<(), Fault>;
}

/// Nothing is shared.
impl Shared for () {
    fn write(&mut self, _: &mut RwTxn<'_>) -> Result<(), Fault> {
        Ok(())
    }
}

/// How the writer does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriterState {
    /// It writes.
    Ready,
    /// The device refuses; what waits is tried again. Why.
    Retrying(String),
    /// It writes, but there is no room for what is new: that waits. Why.
    Full(String),
    /// The environment is lost for this process. Why.
    Broken(String),
    /// It was stopped.
    Stopped,
}

/// What came of an exchange.
pub(super) enum Exchanged {
    /// This one is written to from now on.
    For(Arc<Environment>),
    /// Nothing has changed.
    Not,
    /// Nobody knows which one counts: neither may be written to. Why.
    Unknown(String),
}

/// Makes the environment to go on with, out of the one in use; tells who waits for it.
type Exchange = Box<dyn FnOnce(&Arc<Environment>) -> Exchanged + Send>;

/// How large a piece of work is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Size {
    /// In messages, or pages: whichever is more.
    pub weight: usize,
    /// Of disk, about.
    pub bytes: u64,
}

/// Whose a piece of work is.
#[derive(Default)]
pub(super) struct Whose {
    /// Its pieces are done in order.
    pub(super) party: Option<Arc<str>>,
    /// After one that failed none is done.
    pub(super) chain: Option<Chain>,
}

/// How full the store is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fill {
    /// For people.
    pub level: Level,
    /// Bytes of used pages when it came to this level.
    pub used: u64,
    /// The budget then.
    pub budget: Budget,
}

/// What the thread tells those who hold the handle.
struct Common<S> {
    inbox: Inbox<S>,
    commits: AtomicU64,
    plan: Plan,
}

/// Handle of the thread. When it is dropped, what waits is written first. Work gets the
/// transaction, and an `S` that all work of one transaction shares.
pub struct Writer<S = ()> {
    common: Arc<Common<S>>,
    /// For each kind, so that vital work finds a place beside appends that wait.
    permits: [Arc<Semaphore>; 2],
    state: watch::Receiver<WriterState>,
    fill: watch::Receiver<Fill>,
    thread: Option<JoinHandle<()>>,
}

impl<S> std::fmt::Debug for Writer<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "writer, {:?}", *self.state.borrow())
    }
}

impl<S: Shared + 'static> Writer<S> {
    /// Starts the thread.
    pub fn start(environment: Arc<Environment>, window: Window) -> std::io::Result<Self> {
        Self::start_with(environment, window, None)
    }

    /// Starts the thread; `keeper` knows the budget and what may go.
    pub(super) fn start_with(
        environment: Arc<Environment>,
        window: Window,
        keeper: Option<Box<dyn Keeper>>,
    ) -> std::io::Result<Self> {
        let (tell, fill) = watch::channel(Fill::default());
        let (report, state) = watch::channel(WriterState::Ready);
        let (inbox, commits, plan) = (Inbox::new(window), AtomicU64::new(0), Plan::default());
        let common = Arc::new(Common { inbox, commits, plan });
        let of_thread = Arc::clone(&common);
        let run = move || Loop::new(environment, &of_thread, window, (report, tell), keeper).run();
        let thread = std::thread::Builder::new().name("store-writer".into()).spawn(run)?;
        let permits = [(); 2].map(|()| Arc::new(Semaphore::new(CAPACITY)));
        Ok(Writer { common, permits, state, fill, thread: Some(thread) })
    }

    /// Hands in a piece of work; its answer comes after the commit. It is in line when this
    /// returns, unless [`CAPACITY`] pieces wait already: then it queues when the future is polled.
    /// `weight`: messages, or pages.
    pub fn submit<T: Send + 'static, F>(
        &self,
        kind: Kind,
        weight: usize,
        work: F,
    ) -> impl Future<Output = Result<T, StoreError>> + Send + 'static + use<T, F, S>
    where
        F: FnMut(&mut RwTxn<'_>, &mut S) -> Result<T, Fault> + Send + 'static,
    {
        self.enter(kind, Size { weight, bytes: 0 }, Whose::default(), work)
    }

    /// The same, of something new that is so large.
    pub(super) fn append<T: Send + 'static, F>(
        &self,
        size: Size,
        whose: Whose,
        work: F,
    ) -> impl Future<Output = Result<T, StoreError>> + Send + 'static + use<T, F, S>
    where
        F: FnMut(&mut RwTxn<'_>, &mut S) -> Result<T, Fault> + Send + 'static,
    {
        self.enter(Kind::Append, size, whose, work)
    }

    fn enter<T: Send + 'static, F>(
        &self,
        kind: Kind,
        size: Size,
        whose: Whose,
        work: F,
    ) -> impl Future<Output = Result<T, StoreError>> + Send + 'static + use<T, F, S>
    where
        F: FnMut(&mut RwTxn<'_>, &mut S) -> Result<T, Fault> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let chain = whose.chain.clone();
        let mut work = Work::new(kind, size, whose, work, reply);
        let is_in_line = move || chain.iter().for_each(Chain::on_in_line);
        let permits = &self.permits[usize::from(kind == Kind::Append)];
        let late = match Arc::clone(permits).try_acquire_owned() {
            Ok(permit) => {
                work.permit = Some(permit);
                self.common.inbox.push(Box::new(work), thread::now());
                is_in_line();
                None
            }
            Err(_) => {
                let work: Box<dyn job::Job<S>> = Box::new(work);
                Some((work, Arc::clone(permits), Arc::clone(&self.common), is_in_line))
            }
        };
        async move {
            if let Some((mut work, permits, common, is_in_line)) = late {
                work.allow(permits.acquire_owned().await.map_err(|_| StoreError::Unavailable)?);
                common.inbox.push(work, thread::now());
                is_in_line();
            }
            answer.await.unwrap_or(Err(StoreError::Unavailable))
        }
    }

    /// Runs `make` on the writer thread, between two transactions: nothing is written meanwhile,
    /// and what is handed in waits. If the writer has stopped, `make` is dropped.
    pub(super) fn exchange(
        &self,
        make: impl FnOnce(&Arc<Environment>) -> Exchanged + Send + 'static,
    ) {
        self.common.inbox.exchange(Box::new(make));
    }

    /// How the writer does; can be waited on.
    pub fn state(&self) -> watch::Receiver<WriterState> {
        self.state.clone()
    }

    /// How full the store is; can be waited on.
    pub fn fill(&self) -> watch::Receiver<Fill> {
        self.fill.clone()
    }

    /// Transactions committed since the start.
    pub fn commits(&self) -> u64 {
        self.common.commits.load(Ordering::Relaxed)
    }

    /// Takes nothing more; what waits is written, or answered `Unavailable` if that fails.
    pub fn stop(&self) {
        self.common.inbox.close();
    }

    /// The next failures to come, for tests.
    #[cfg(any(test, feature = "faults"))]
    pub fn plan(&self, failures: impl IntoIterator<Item = Planned>) {
        self.common.plan.extend(failures);
    }

    /// No failures are to come any more, for tests.
    #[cfg(test)]
    pub fn forget_plan(&self) {
        self.common.plan.forget();
    }
}

impl<S> Drop for Writer<S> {
    fn drop(&mut self) {
        self.common.inbox.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // a panic of it was reported by the hook
        }
    }
}
