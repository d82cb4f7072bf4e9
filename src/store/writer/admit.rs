//! Which appends there is room for, in the budget and on the disk.
//!
//! What has expired makes room first; then what is stored, by the policy, in the transaction of
//! what is new: so that a new message of the lowest priority evicts itself, and none of a higher
//! one. Else what is new waits here, un-answered, and goes on by itself: after a commit that freed
//! enough, and at a look every second. Parties that are owed messages themselves (a filter between a
//! sensor and the hub) have room of their own, and pass those that wait.
//!
//! next: `domain/budget.rs`, which decides; `store/queue/evict.rs`, which ends rows

use std::time::Duration;

use heed::RoTxn;

use super::job::Job;
use super::thread::{Batch, Loop, answer, now};
use super::{Fill, Kind, Shared, WriterState};
use crate::domain::budget::{Budget, Free, Level};
use crate::messages::state::StoreError;
use crate::store::fault::Fault;
use crate::store::space::used_pages;

/// Between two looks at what waits.
const LOOK: Duration = Duration::from_secs(1);
/// Between two searches for what has expired.
const EXPIRE: Duration = Duration::from_millis(100);
/// Transactions that only evict, at most, before what is new waits.
const ROUNDS: usize = 4;

impl<S: Shared> Loop<'_, S> {
    fn budget(&self) -> Budget {
        self.keeper.as_ref().map_or_else(Budget::default, |keeper| keeper.budget())
    }

    fn used(&self, txn: &RoTxn<'_>) -> u64 {
        let env = &self.environment.env;
        let page_size = u64::from(env.unnamed_database_stat().page_size);
        used_pages(env, txn, &self.environment.tables) * page_size
    }

    /// Room now; without bounds if that cannot be told: the write itself will say.
    fn free(&mut self) -> (Free, Free) {
        if self.budget().max.is_none() && self.space.refill(&self.environment.env) {
            return (Free::ALL, Free::ALL);
        }
        let Ok(txn) = self.environment.env.read_txn() else { return (Free::ALL, Free::ALL) };
        let used = self.used(&txn);
        drop(txn);
        (self.budget().free(used), self.space.free(&self.environment.env, used))
    }

    /// Takes out of the batch what there is no room for.
    pub(super) fn admit(&mut self, batch: Batch<S>) -> Batch<S> {
        self.is_evicting = false;
        if batch.iter().all(|job| job.kind() != Kind::Append) {
            return batch;
        }
        let (budget, disk) = self.free();
        let appends = batch.iter().filter(|job| job.kind() == Kind::Append);
        let need = appends.map(|job| self.need(job.bytes())).sum::<u64>();
        if self.waiting.is_empty() && budget.and(disk).newcomers >= need {
            return batch;
        }
        self.why = if budget.newcomers < need { Short::Budget } else { Short::Disk };
        if self.budget().policy.evicts() {
            self.admit_evicting(batch)
        } else {
            self.expire();
            self.admit_one_by_one(batch)
        }
    }

    /// Even an empty queue has room for one piece.
    fn need(&self, bytes: u64) -> u64 {
        self.budget().line().map_or(bytes, |line| bytes.min(line / 2))
    }

    fn admit_evicting(&mut self, batch: Batch<S>) -> Batch<S> {
        for round in 0..=ROUNDS {
            let (budget, disk) = self.free();
            let mut free = budget.and(disk);
            free.newcomers = free.relays; // it is made good within the same transaction
            let (mut count, mut taken) = (0, 0);
            for job in &batch {
                let is_append = job.kind() == Kind::Append;
                if is_append && !free.take(self.need(job.bytes()), true) {
                    break;
                }
                (count, taken) = (count + 1, taken + usize::from(is_append));
            }
            if taken > 0 {
                self.is_evicting = true;
                let mut batch = batch;
                self.common.inbox.put_back(batch.split_off(count), now());
                return batch;
            }
            if round < ROUNDS && !self.make_room() {
                break; // dead letters only
            }
        }
        self.admit_one_by_one(batch)
    }

    fn admit_one_by_one(&mut self, batch: Batch<S>) -> Batch<S> {
        let (budget, disk) = self.free();
        let mut free = budget.and(disk);
        let mut admitted = Vec::new();
        for job in batch {
            if job.kind() != Kind::Append {
                admitted.push(job);
                continue;
            }
            let is_relay = self.is_relay(job.party().map(|party| &**party));
            let may = !self.waiting.has(job.party()) && (is_relay || self.waiting.is_empty());
            if may && free.take(self.need(job.bytes()), is_relay) {
                admitted.push(job);
            } else {
                self.waiting.push(job);
            }
        }
        if !self.waiting.is_empty() {
            self.look_at.get_or_insert_with(|| now() + LOOK);
        }
        admitted
    }

    fn is_relay(&self, party: Option<&str>) -> bool {
        let (Some(keeper), Some(party)) = (&self.keeper, party) else { return false };
        let txn = self.environment.env.read_txn();
        txn.is_ok_and(|txn| keeper.is_owed(&txn, party).unwrap_or(false))
    }

    /// Ends what has expired, a part of it, unless that was done just now.
    fn expire(&mut self) {
        if self.expired_at.is_some_and(|at| now() < at + EXPIRE) {
            return;
        }
        self.expired_at = Some(now());
        let environment = std::sync::Arc::clone(&self.environment);
        let Some(keeper) = &mut self.keeper else { return };
        let mut work = || -> Result<(), Fault> {
            let mut txn = environment.env.write_txn()?;
            if keeper.expire(&mut txn)? > 0 {
                txn.commit()?;
            }
            Ok(())
        };
        if let Err(fault) = work() {
            tracing::warn!(?fault, "cannot end messages whose time is over");
        }
    }

    /// Evicts in a transaction of its own; answers whether anything was.
    fn make_room(&mut self) -> bool {
        let environment = std::sync::Arc::clone(&self.environment);
        let mut work = || -> Result<u64, Fault> {
            let mut txn = environment.env.write_txn()?;
            let count = self.evict(&mut txn)?;
            txn.commit()?;
            Ok(count)
        };
        match work() {
            Ok(count) => count > 0,
            Err(fault) => {
                tracing::warn!(?fault, "cannot evict");
                false
            }
        }
    }

    /// Until newcomers have room, or a good part of it.
    pub(super) fn evict(&mut self, txn: &mut heed::RwTxn<'_>) -> Result<u64, Fault> {
        let environment = std::sync::Arc::clone(&self.environment);
        let Some(keeper) = &mut self.keeper else { return Ok(0) };
        let (env, budget) = (&environment.env, keeper.budget());
        let page_size = u64::from(env.unnamed_database_stat().page_size);
        let space = std::cell::RefCell::new(&mut self.space);
        let is_enough = |txn: &RoTxn<'_>, is_higher: bool| {
            let used = used_pages(env, txn, &environment.tables) * page_size;
            let most = if is_higher { budget.middle() } else { budget.line() };
            let is_below = most.is_none_or(|most| used <= most);
            is_below && space.borrow_mut().free(env, used).newcomers > 0
        };
        let count = keeper.evict(txn, budget.policy, &is_enough)?;
        self.has_evicted |= count > 0;
        Ok(count)
    }

    /// After a commit: what there is room for now, of what waits.
    pub(super) fn on_room(&mut self) -> Batch<S> {
        let mut again = Vec::new();
        if self.waiting.is_empty() {
            return again;
        }
        let (budget, disk) = self.free();
        let mut free = budget.and(disk);
        let line = self.budget().line();
        let need = |bytes: u64| line.map_or(bytes, |line| bytes.min(line / 2));
        let mut weight = 0;
        while weight < self.window.weight {
            let fits = |job: &dyn Job<S>| free.take(need(job.bytes()), false);
            let Some(job) = self.waiting.pop_if(fits) else { break };
            weight += job.weight();
            again.push(job);
        }
        if self.waiting.is_empty() {
            self.look_at = None;
        }
        again
    }

    /// A second has passed: those that wait are judged anew.
    pub(super) fn look(&mut self) {
        self.look_at = None;
        let waiting = self.waiting.take_all();
        self.common.inbox.put_back(waiting, now());
    }

    /// Nothing more will be written.
    pub(super) fn dismiss(&mut self, error: &StoreError) {
        answer(self.waiting.take_all(), &Err(error.clone()));
    }

    /// State and level, if they have changed.
    pub(super) fn tell(&mut self) {
        let budget = self.budget();
        let before = self.fill.borrow().level;
        let is_calm = budget.max.is_none() && before == Level::Normal && !self.has_evicted;
        if is_calm
            && self.waiting.is_empty()
            && !matches!(*self.report.borrow(), WriterState::Full(_))
        {
            return;
        }
        let Ok(txn) = self.environment.env.read_txn() else { return };
        let used = self.used(&txn);
        drop(txn);
        let is_full = !self.waiting.is_empty() || std::mem::take(&mut self.has_evicted);
        let level = before.next(used, budget.line(), is_full);
        if level != before {
            let (directory, max) = (self.environment.directory(), budget.max);
            let level_word = level.word();
            match level > before {
                true => {
                    tracing::warn!(?directory, level = level_word, used, max, policy = ?budget.policy, "the store fills up")
                }
                false => tracing::info!(
                    ?directory,
                    level = level_word,
                    used,
                    max,
                    "the store has room again"
                ),
            }
            self.fill.send_replace(Fill { level, used, budget });
        }
        if self.holds.is_empty() {
            let state = match (self.waiting.is_empty(), self.why) {
                (true, _) => WriterState::Ready,
                (false, Short::Budget) => WriterState::Full(format!(
                    "its budget of {} bytes is used up",
                    budget.max.unwrap_or_default()
                )),
                (false, Short::Disk) => {
                    WriterState::Full("the disk is full, but for the reserve".into())
                }
            };
            self.report.send_if_modified(|now| {
                let is_other = *now != state && !matches!(now, WriterState::Broken(_));
                if is_other {
                    *now = state;
                }
                is_other
            });
        }
    }
}

/// What there is not enough of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Short {
    Budget,
    Disk,
}
