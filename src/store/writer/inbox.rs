//! What waits to be written: two lines, so that vital work need not wait behind appends.
//!
//! Bounded by the permits that each piece of work holds (`mod.rs`).

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::holds::Holds;
use super::job::Job;
use super::{Exchange, Kind, Window};
use crate::messages::state::StoreError;

pub(super) struct Inbox<S> {
    lines: Mutex<Lines<S>>,
    changed: Condvar,
}

impl<S> Default for Inbox<S> {
    fn default() -> Self {
        let (vital, appends) = (VecDeque::new(), VecDeque::new());
        let lines = Lines { vital, appends, weight: 0, exchange: None, is_closed: false };
        Inbox { lines: Mutex::new(lines), changed: Condvar::new() }
    }
}

struct Lines<S> {
    vital: VecDeque<Box<dyn Job<S>>>,
    appends: VecDeque<Box<dyn Job<S>>>,
    weight: usize,
    exchange: Option<Exchange>,
    is_closed: bool,
}

impl<S> Lines<S> {
    fn line(&mut self, kind: Kind) -> &mut VecDeque<Box<dyn Job<S>>> {
        match kind {
            Kind::Vital => &mut self.vital,
            Kind::Append => &mut self.appends,
        }
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
    /// Appends work to its line; if the inbox is closed, answers it.
    pub(super) fn push(&self, job: Box<dyn Job<S>>) {
        let mut lines = self.lock();
        if lines.is_closed {
            drop(lines);
            job.answer(Err(StoreError::Unavailable));
            return;
        }
        lines.weight += job.weight();
        lines.line(job.kind()).push_back(job);
        drop(lines);
        self.changed.notify_one();
    }

    /// Puts work back at the head of its line, in the order given.
    pub(super) fn put_back(&self, jobs: Vec<Box<dyn Job<S>>>) {
        let mut lines = self.lock();
        for job in jobs.into_iter().rev() {
            lines.weight += job.weight();
            lines.line(job.kind()).push_front(job);
        }
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

    /// Waits for work that may be done, then until `not_before` for more of it, unless there is
    /// enough. Vital work comes first.
    pub(super) fn take(
        &self,
        holds: &Holds,
        look_at: Option<Instant>,
        not_before: Instant,
        window: Window,
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
            if !has_vital && !has_appends {
                if is_closed && lines.vital.is_empty() && lines.appends.is_empty() {
                    return Next::End;
                }
                let next = holds.next(time).into_iter().chain(look_at).min();
                lines = self.wait(lines, next.map(|until| until.saturating_duration_since(time)));
            } else if is_closed || lines.weight >= window.weight || not_before <= time {
                return Next::Commit(lines.take(has_vital, has_appends, window.most));
            } else {
                lines = self.wait(lines, Some(not_before - time));
            }
        }
    }

    fn wait<'l>(
        &self,
        lines: MutexGuard<'l, Lines<S>>,
        time: Option<std::time::Duration>,
    ) -> MutexGuard<'l, Lines<S>> {
        match time {
            Some(time) => {
                let woken = self.changed.wait_timeout(lines, time);
                woken.unwrap_or_else(PoisonError::into_inner).0
            }
            None => self.changed.wait(lines).unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Nothing in here can be half done when a thread panics.
    fn lock(&self) -> MutexGuard<'_, Lines<S>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> Lines<S> {
    /// Takes up to `most` weight, at least one piece.
    fn take(&mut self, vital: bool, appends: bool, most: usize) -> Vec<Box<dyn Job<S>>> {
        let (mut taken, mut weight) = (Vec::new(), 0);
        let kinds = [(vital, Kind::Vital), (appends, Kind::Append)];
        for (_, kind) in kinds.into_iter().filter(|(wanted, _)| *wanted) {
            while weight < most {
                let Some(job) = self.line(kind).pop_front() else { break };
                weight += job.weight();
                taken.push(job);
            }
        }
        self.weight -= weight;
        taken
    }
}
