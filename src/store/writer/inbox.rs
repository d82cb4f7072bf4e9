//! What waits to be written: two lines, so that vital work need not wait behind appends.
//!
//! Bounded by the permits that each piece of work holds (`mod.rs`). Whoever hands work in wakes the
//! writer only if it is to begin sooner than it would by itself: to be woken costs more than to write.
//!
//! next: `domain/group_commit`, which says when to begin

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::holds::Holds;
use super::job::Job;
use super::{Exchange, Kind, Window};
use crate::domain::group_commit::{Begin, GroupCommit, Waiting};
use crate::messages::state::StoreError;

pub(super) struct Inbox<S> {
    lines: Mutex<Lines<S>>,
    changed: Condvar,
}

struct Lines<S> {
    /// Vital work and ends.
    vital: VecDeque<Box<dyn Job<S>>>,
    appends: VecDeque<Box<dyn Job<S>>>,
    waiting: Waiting,
    group: GroupCommit,
    /// The writer sleeps; until when, unless it is woken.
    sleeps: Option<Option<Instant>>,
    exchange: Option<Exchange>,
    is_closed: bool,
}

impl<S> Lines<S> {
    fn line(&mut self, kind: Kind) -> &mut VecDeque<Box<dyn Job<S>>> {
        match kind {
            Kind::Vital | Kind::End => &mut self.vital,
            Kind::Append => &mut self.appends,
        }
    }

    fn weigh(&mut self, kind: Kind) -> &mut usize {
        match kind {
            Kind::Vital => &mut self.waiting.vital,
            Kind::End => &mut self.waiting.ends,
            Kind::Append => &mut self.waiting.appends,
        }
    }

    fn on_pushed(&mut self, kind: Kind, weight: usize, now: Instant) {
        *self.weigh(kind) += weight;
        if kind == Kind::End {
            self.waiting.ends_since.get_or_insert(now);
        }
    }

    /// Whether the writer is to be woken for what waits.
    fn wakes(&mut self, now: Instant) -> bool {
        let Some(until) = self.sleeps else { return false };
        let wakes = match self.group.begin(&self.waiting, now) {
            Begin::Now => true,
            Begin::At(at) => until.is_none_or(|until| at < until),
            Begin::Never => false,
        };
        if wakes {
            self.sleeps = None; // once is enough
        }
        wakes
    }
}

/// What to do next.
pub(super) enum Next<S> {
    Commit(Vec<Box<dyn Job<S>>>),
    Exchange(Exchange),
    /// It is time to look at what waits for room.
    Look,
    /// Closed, and nothing is left.
    End,
}

impl<S> Inbox<S> {
    pub(super) fn new(window: Window) -> Self {
        let lines = Lines {
            vital: VecDeque::new(),
            appends: VecDeque::new(),
            waiting: Waiting::default(),
            group: GroupCommit::new(window),
            sleeps: None,
            exchange: None,
            is_closed: false,
        };
        Inbox { lines: Mutex::new(lines), changed: Condvar::new() }
    }

    /// Appends work to its line; if the inbox is closed, answers it.
    pub(super) fn push(&self, job: Box<dyn Job<S>>, now: Instant) {
        let mut lines = self.lock();
        if lines.is_closed {
            drop(lines);
            job.answer(Err(StoreError::Unavailable));
            return;
        }
        lines.on_pushed(job.kind(), job.weight(), now);
        lines.line(job.kind()).push_back(job);
        let wakes = lines.wakes(now);
        drop(lines);
        if wakes {
            self.changed.notify_one();
        }
    }

    /// Puts work back at the head of its line, in the order given.
    pub(super) fn put_back(&self, jobs: Vec<Box<dyn Job<S>>>, now: Instant) {
        let mut lines = self.lock();
        for job in jobs.into_iter().rev() {
            lines.on_pushed(job.kind(), job.weight(), now);
            lines.line(job.kind()).push_front(job);
        }
    }

    /// What is written next begins at once.
    pub(super) fn on_exchanged(&self) {
        self.lock().group.on_exchanged();
    }

    /// Asks for an exchange of the environment; one at a time.
    pub(super) fn exchange(&self, exchange: Exchange) {
        let mut lines = self.lock();
        if !lines.is_closed {
            lines.exchange = Some(exchange);
            drop(lines);
            self.changed.notify_one();
        }
    }

    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    /// Waits for work that may be done, and until it is time to begin. Vital work comes first.
    pub(super) fn take(
        &self,
        holds: &Holds,
        look_at: Option<Instant>,
        now: impl Fn() -> Instant,
    ) -> Next<S> {
        let mut lines = self.lock();
        loop {
            let time = now();
            let is_closed = lines.is_closed;
            if let Some(exchange) = lines.exchange.take().filter(|_| !is_closed) {
                return Next::Exchange(exchange);
            }
            if look_at.is_some_and(|at| at <= time) && !is_closed {
                return Next::Look;
            }
            let is_due = |kind| is_closed || !holds.is_held(kind, time);
            let has_vital = !lines.vital.is_empty() && is_due(Kind::Vital);
            let has_appends = !lines.appends.is_empty() && is_due(Kind::Append);
            let has_work = has_vital || has_appends;
            if is_closed && !has_work {
                return Next::End;
            }
            let due = lines.due(has_vital, has_appends, look_at.is_some());
            let begin = lines.group.on_wait(&due, time);
            if begin == Begin::Now || (is_closed && has_work) {
                return Next::Commit(lines.take(has_vital, has_appends, time));
            }
            let begin = match begin {
                Begin::At(at) => Some(at),
                _ => lines.group.pause(time), // what comes before need not wake it
            };
            let until = holds.next(time).into_iter().chain(look_at).chain(begin).min();
            lines = self.sleep(lines, until, time);
        }
    }

    fn sleep<'l>(
        &self,
        mut lines: MutexGuard<'l, Lines<S>>,
        until: Option<Instant>,
        now: Instant,
    ) -> MutexGuard<'l, Lines<S>> {
        lines.sleeps = Some(until);
        let mut lines = match until {
            Some(until) => {
                let woken = self.changed.wait_timeout(lines, until.saturating_duration_since(now));
                woken.unwrap_or_else(PoisonError::into_inner).0
            }
            None => self.changed.wait(lines).unwrap_or_else(PoisonError::into_inner),
        };
        lines.sleeps = None;
        lines
    }

    /// Nothing in here can be half done when a thread panics.
    fn lock(&self) -> MutexGuard<'_, Lines<S>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> Lines<S> {
    /// What waits and may be written. Where appends wait for room, ends may make it.
    fn due(&self, vital: bool, appends: bool, is_short: bool) -> Waiting {
        let mut due = self.waiting;
        if !vital {
            (due.vital, due.ends, due.ends_since) = (0, 0, None);
        }
        if !appends {
            due.appends = 0;
        }
        if is_short {
            due.vital += std::mem::take(&mut due.ends);
        }
        due
    }

    /// Takes up to the most of one transaction, at least one piece.
    fn take(&mut self, vital: bool, appends: bool, now: Instant) -> Vec<Box<dyn Job<S>>> {
        let most = self.group.window().most;
        let (mut taken, mut weight, mut appended) = (Vec::new(), 0, 0);
        let kinds = [(vital, Kind::Vital), (appends, Kind::Append)];
        for (_, kind) in kinds.into_iter().filter(|(wanted, _)| *wanted) {
            while weight < most {
                let Some(job) = self.line(kind).pop_front() else { break };
                weight += job.weight();
                *self.weigh(job.kind()) -= job.weight();
                appended += if kind == Kind::Append { job.weight() } else { 0 };
                taken.push(job);
            }
        }
        if self.waiting.ends == 0 {
            self.waiting.ends_since = None;
        }
        self.group.on_begun(appended, now);
        taken
    }
}
