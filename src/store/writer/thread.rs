//! The loop of the writer thread: take what waits, run it, commit, answer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use tokio::sync::watch;

use super::admit::Short;
use super::holds::Holds;
use super::inbox::Next;
use super::job::Job;
use super::keeper::Keeper;
use super::waiting::Waiting;
use super::{Common, Exchange, Exchanged, Fill, Kind, Shared, Window, WriterState};
use crate::messages::state::StoreError;
use crate::store::env::Environment;
use crate::store::fault::{Fault, Verdict};
use crate::store::space::{Space, used_pages};

pub(super) struct Loop<'s, S> {
    pub(super) environment: Arc<Environment>,
    pub(super) common: &'s Common<S>,
    pub(super) window: Window,
    pub(super) report: watch::Sender<WriterState>,
    pub(super) fill: watch::Sender<Fill>,
    pub(super) space: Space,
    pub(super) holds: Holds,
    pub(super) keeper: Option<Box<dyn Keeper>>,
    /// Appends that found no room,
    pub(super) waiting: Waiting<S>,
    /// … for want of what,
    pub(super) why: Short,
    /// … and when they are judged anew.
    pub(super) look_at: Option<Instant>,
    /// When what has expired was last looked for.
    pub(super) expired_at: Option<Instant>,
    /// What is stored makes room for the batch that is being written.
    pub(super) is_evicting: bool,
    /// Something was evicted since that was last told.
    pub(super) has_evicted: bool,
}

pub(super) type Batch<S> = Vec<Box<dyn Job<S>>>;

#[expect(clippy::disallowed_methods, reason = "this thread is no actor: it has no other clock")]
pub(super) fn now() -> Instant {
    Instant::now()
}

impl<'s, S: Shared> Loop<'s, S> {
    pub(super) fn new(
        environment: Arc<Environment>,
        common: &'s Common<S>,
        window: Window,
        (report, fill): (watch::Sender<WriterState>, watch::Sender<Fill>),
        keeper: Option<Box<dyn Keeper>>,
    ) -> Self {
        let space = Space::new(&environment.env, environment.options.reserve);
        Loop {
            environment,
            common,
            window,
            report,
            fill,
            space,
            holds: Holds::default(),
            keeper,
            waiting: Waiting::default(),
            why: Short::Disk,
            look_at: None,
            expired_at: None,
            is_evicting: false,
            has_evicted: false,
        }
    }

    /// Until the inbox is closed and empty. A panic loses the batch that was being written: those
    /// who wait for it are told `Unavailable`; the loop goes on with the next.
    pub(super) fn run(mut self) {
        loop {
            let ended = catch_unwind(AssertUnwindSafe(|| while self.step() {}));
            if ended.is_ok() {
                break;
            }
        }
        if !matches!(*self.report.borrow(), WriterState::Broken(_)) {
            self.report.send_replace(WriterState::Stopped);
        }
    }

    /// One transaction. `false`: there is nothing left to do.
    fn step(&mut self) -> bool {
        match self.common.inbox.take(&self.holds, self.look_at, now) {
            Next::Commit(batch) => {
                let broken = match &*self.report.borrow() {
                    WriterState::Broken(why) => Some(StoreError::Broken(why.clone())),
                    _ => None,
                };
                match broken {
                    Some(error) => answer(batch, &Err(error)),
                    None => self.write(batch),
                }
                true
            }
            Next::Look => {
                self.look();
                true
            }
            Next::Exchange(exchange) => {
                self.exchange(exchange);
                true
            }
            Next::End => {
                self.dismiss(&StoreError::Unavailable); // no time left to wait
                false
            }
        }
    }

    /// What there is room for, and then what that made room for.
    fn write(&mut self, batch: Batch<S>) {
        let mut batch = self.admit(batch);
        while !batch.is_empty() {
            self.settle(batch);
            batch = self.on_room();
        }
        self.tell();
    }

    /// Goes on with another environment. Work that the old device refused is tried on the new one
    /// at once.
    fn exchange(&mut self, exchange: Exchange) {
        if matches!(*self.report.borrow(), WriterState::Broken(_)) {
            return;
        }
        match exchange(&self.environment) {
            Exchanged::For(environment) => {
                self.space = Space::new(&environment.env, environment.options.reserve);
                self.environment = environment;
                self.holds = Holds::default();
                self.common.inbox.on_exchanged();
                self.report.send_replace(WriterState::Ready);
                self.look(); // there may be room on the new device
            }
            Exchanged::Not => {}
            Exchanged::Unknown(why) => {
                tracing::error!(why, "store is broken");
                self.report.send_replace(WriterState::Broken(why));
            }
        }
    }

    /// Commits a batch as a whole or, if some of it cannot be done, one by one.
    fn settle(&mut self, mut batch: Batch<S>) {
        let mut end = self.attempt(&mut batch);
        if batch.len() > 1 && matches!(end, Err(Verdict::Refuse(_))) {
            let mut rest = batch.into_iter();
            loop {
                let Some(one) = rest.next() else { return };
                batch = vec![one];
                end = self.attempt(&mut batch);
                if matches!(end, Err(Verdict::Later(_) | Verdict::Broken(_) | Verdict::Damaged(_)))
                {
                    batch.extend(rest);
                    break;
                }
                self.conclude(batch, end);
            }
        }
        self.conclude(batch, end);
    }

    fn conclude(&mut self, batch: Batch<S>, end: Result<(), Verdict>) {
        match end {
            Ok(()) => {
                self.on_written(&batch);
                answer(batch, &Ok(()));
            }
            Err(Verdict::Refuse(error)) => answer(batch, &Err(error)),
            // The file that is open stays dead, whatever is plugged in again.
            Err(Verdict::Later(why)) if self.environment.is_gone() => {
                self.break_down(batch, format!("what it was on is gone: {why}"));
            }
            Err(Verdict::Later(why)) => self.hold(batch, why),
            Err(Verdict::Damaged(why)) => {
                self.environment.condemn(&why);
                self.break_down(batch, why);
            }
            Err(Verdict::Broken(why)) => self.break_down(batch, why),
        }
    }

    /// Lost for this process.
    fn break_down(&mut self, batch: Batch<S>, why: String) {
        let directory = self.environment.directory();
        tracing::error!(?directory, why, "store is broken");
        self.report.send_replace(WriterState::Broken(why.clone()));
        answer(batch, &Err(StoreError::Broken(why.clone())));
        self.dismiss(&StoreError::Broken(why));
    }

    /// Runs all of it in one transaction.
    fn attempt(&mut self, batch: &mut Batch<S>) -> Result<(), Verdict> {
        let env = &self.environment.env;
        let has_appends = batch.iter().any(|job| job.kind() == Kind::Append);
        self.space.refill(env);
        let environment = Arc::clone(&self.environment); // outlives what is written
        let mut txn = environment.env.write_txn().map_err(|error| self.verdict(error.into()))?;
        let mut shared = S::default();
        for job in batch {
            job.run(&mut txn, &mut shared).map_err(|fault| self.verdict(fault))?;
        }
        shared.write(&mut txn).map_err(|fault| self.verdict(fault))?;
        if self.is_evicting && has_appends {
            self.evict(&mut txn).map_err(|fault| self.verdict(fault))?;
        }
        let planned = self.common.plan.before_commit(has_appends);
        planned.and_then(|()| txn.commit()).map_err(|error| self.verdict(error.into()))?;
        self.common.commits.fetch_add(1, Ordering::Relaxed);
        self.common.plan.after_commit();
        Ok(())
    }

    fn verdict(&self, fault: Fault) -> Verdict {
        let Environment { env, tables, options, .. } = &*self.environment;
        let is_full = matches!(&fault, Fault::Lmdb(heed::Error::Mdb(heed::MdbError::MapFull)));
        let page_size = u64::from(env.unnamed_database_stat().page_size);
        let used = match env.read_txn() {
            Ok(txn) if is_full => used_pages(env, &txn, tables) * page_size,
            _ => 0,
        };
        fault.verdict(used, options.map_size as u64)
    }

    /// The device takes again what is of the kinds in `batch`.
    fn on_written(&mut self, batch: &Batch<S>) {
        if self.holds.is_empty() {
            return;
        }
        for job in batch {
            self.holds.clear(job.kind(), now());
        }
        if self.holds.is_empty() {
            tracing::info!(directory = ?self.environment.directory(), "store writes again");
            self.report.send_replace(WriterState::Ready);
        }
    }

    /// Puts a batch that the device refused back in line. Vital work in it is tried again without
    /// the appends at once: it may be what makes room for them.
    fn hold(&mut self, batch: Batch<S>, why: String) {
        if self.common.inbox.is_closed() {
            return answer(batch, &Err(StoreError::Unavailable)); // no time left to wait
        }
        let has_appends = batch.iter().any(|job| job.kind() == Kind::Append);
        let kind = if has_appends { Kind::Append } else { Kind::Vital };
        let delay = self.holds.hold(kind, now());
        let directory = self.environment.directory();
        tracing::warn!(?directory, ?kind, why, ?delay, "store cannot write");
        self.report.send_replace(WriterState::Retrying(why));
        self.look(); // behind the batch, as they came
        self.common.inbox.put_back(batch, now());
    }
}

/// Appends first: clients wait for their PUBACKs.
pub(super) fn answer<S>(batch: Batch<S>, end: &Result<(), StoreError>) {
    let (appends, others): (Vec<_>, Vec<_>) =
        batch.into_iter().partition(|job| job.kind() == Kind::Append);
    for job in appends.into_iter().chain(others) {
        job.answer(end.clone());
    }
}
