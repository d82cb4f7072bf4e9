//! Makes room: ends what has expired, and evicts by the budget's policy. A part at a time.
//!
//! Rows that are in flight are evicted like others: what becomes of them later finds no row, and
//! is not counted. Dead letters stay: they are an operator's.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use heed::{RoTxn, RwTxn};

use super::exchange::Shelf;
use super::records::{RowKey, RowRecord, kind, place};
use super::status::ALL;
use super::{Books, Inner};
use crate::domain::budget::{Budget, FullPolicy};
use crate::domain::row::{End, Endpoint, Offset, Priority};
use crate::store::fault::Fault;
use crate::store::writer::{self, Shared};

/// Rows evicted in one transaction at most.
const EVICTED: u64 = 4_096;
/// Rows ended because they have expired, at a time.
const EXPIRED: usize = 1_000;
/// Rows looked at in a search for such, beside the first of each line.
const LOOKS: usize = 1_000;

/// What the writer of a queue asks when room is short.
pub(super) struct Keeper {
    shelf: Arc<Shelf>,
    /// Where the last search for expired rows ended.
    next: Option<[u8; 25]>,
}

impl Keeper {
    pub(super) fn new(shelf: Arc<Shelf>) -> Self {
        Keeper { shelf, next: None }
    }
}

impl writer::Keeper for Keeper {
    fn budget(&self) -> Budget {
        self.shelf.now().rules().budget
    }

    fn is_owed(&self, txn: &RoTxn<'_>, party: &str) -> Result<bool, Fault> {
        let record = self.shelf.now().record_of(txn, &Endpoint(party.into()))?;
        Ok(record.is_some_and(|record| record.rows > 0))
    }

    fn expire(&mut self, txn: &mut RwTxn<'_>) -> Result<u64, Fault> {
        let inner = self.shelf.now();
        let mut found = inner.expired_first(txn)?;
        if found.len() < EXPIRED {
            let (more, next) = inner.expired_from(txn, self.next)?;
            self.next = next;
            found.extend(more);
            found.sort_by_key(|key| key.write());
            found.dedup();
        }
        inner.end_all(txn, found.into_iter().map(|key| (key, End::Expired)))
    }

    fn evict(
        &mut self,
        txn: &mut RwTxn<'_>,
        policy: FullPolicy,
        is_enough: &dyn Fn(&RoTxn<'_>, bool) -> bool,
    ) -> Result<u64, Fault> {
        self.shelf.now().evict(txn, policy, is_enough)
    }
}

/// The first row of a line: of one endpoint and priority.
struct First {
    policy: FullPolicy,
    key: RowKey,
}

impl First {
    fn place(&self) -> (Priority, u64) {
        (self.key.key.priority, self.key.message)
    }
}

/// The greatest goes first.
impl Ord for First {
    fn cmp(&self, other: &Self) -> Ordering {
        let order = self.policy.order(self.place(), other.place()).reverse();
        order.then_with(|| self.key.write().cmp(&other.key.write()))
    }
}

impl PartialOrd for First {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for First {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for First {}

impl Inner {
    fn evict(
        &self,
        txn: &mut RwTxn<'_>,
        policy: FullPolicy,
        is_enough: &dyn Fn(&RoTxn<'_>, bool) -> bool,
    ) -> Result<u64, Fault> {
        let firsts = self.firsts(txn)?.into_iter();
        let mut firsts: BinaryHeap<_> = firsts.map(|key| First { policy, key }).collect();
        let lowest = firsts.peek().map(|first| first.key.key.priority);
        let names = self.names_of_endpoints(txn)?;
        let mut books = Books::default();
        let ledger = books.ledger(self, txn)?;
        let (mut count, at) = (0, ledger.time.at);
        while count < EVICTED {
            let Some(First { key, .. }) = firsts.pop() else { break };
            // Pages are not freed with every row: a higher priority does not pay for that.
            let is_higher = policy == FullPolicy::DropLowestPriority
                && lowest.is_some_and(|lowest| key.key.priority < lowest);
            if is_enough(txn, is_higher) {
                break;
            }
            let end = self.how_evicted(txn, key)?;
            if let Some(key) = self.after(txn, key)? {
                firsts.push(First { policy, key });
            }
            if let Some(name) = names.get(&key.endpoint) {
                self.end_row(txn, ledger, name, key, &end, at)?;
                count += 1;
            }
        }
        books.write(txn)?;
        Ok(count)
    }

    /// What has expired by now, or is damaged, is named so.
    fn how_evicted(&self, txn: &RoTxn<'_>, key: RowKey) -> Result<End, Fault> {
        let value = self.tables.rows.get(txn, kind::ROW, &key.write())?;
        let Some(Ok(row)) = value.map(|value| value.and_then(RowRecord::read)) else {
            return Ok(End::Quarantined);
        };
        let is_expired = self.has_expired(txn, key, &row, self.now())?;
        Ok(if is_expired { End::Expired } else { End::Evicted })
    }

    fn has_expired(
        &self,
        txn: &RoTxn<'_>,
        key: RowKey,
        row: &RowRecord<'_>,
        now: Duration,
    ) -> Result<bool, Fault> {
        let party = self.party(txn, key.account)?;
        Ok(party.is_some_and(|(route, _)| self.rules().has_expired(&route, row, now)))
    }

    /// The first row of each line.
    fn firsts(&self, txn: &RoTxn<'_>) -> Result<Vec<RowKey>, Fault> {
        let mut firsts = Vec::new();
        let mut at = Vec::new();
        loop {
            let range = (Bound::Included(&at[..]), Bound::Unbounded);
            let range = if at.is_empty() { ALL } else { range };
            let Some(pair) = self.tables.rows.range(txn, kind::ROW, &range)?.next() else {
                return Ok(firsts);
            };
            let key = RowKey::read(pair?.0)?;
            firsts.push(key);
            let (endpoint, priority) = (key.endpoint, key.key.priority);
            at = match priority.0.checked_add(1) {
                Some(next) => place(endpoint, Priority(next), Offset(0)).to_vec(),
                None => (endpoint + 1).to_be_bytes().to_vec(),
            };
        }
    }

    /// The row behind this one, in its line.
    fn after(&self, txn: &RoTxn<'_>, key: RowKey) -> Result<Option<RowKey>, Fault> {
        let begin = key.write();
        let range = (Bound::Excluded(&begin[..]), Bound::Unbounded);
        let Some(pair) = self.tables.rows.range(txn, kind::ROW, &range)?.next() else {
            return Ok(None);
        };
        let next = RowKey::read(pair?.0)?;
        let is_same = (next.endpoint, next.key.priority) == (key.endpoint, key.key.priority);
        Ok(Some(next).filter(|_| is_same))
    }

    /// Expired rows at the beginnings of the lines, where the oldest are.
    fn expired_first(&self, txn: &RoTxn<'_>) -> Result<Vec<RowKey>, Fault> {
        let (mut found, now) = (Vec::new(), self.now());
        for first in self.firsts(txn)? {
            let begin = first.write();
            let range = (Bound::Included(&begin[..]), Bound::Unbounded);
            for pair in self.tables.rows.range(txn, kind::ROW, &range)? {
                let (key, value) = pair?;
                let key = RowKey::read(key)?;
                let Ok(row) = value.and_then(RowRecord::read) else { break };
                let is_same =
                    (key.endpoint, key.key.priority) == (first.endpoint, first.key.priority);
                if !is_same || found.len() >= EXPIRED || !self.has_expired(txn, key, &row, now)? {
                    break;
                }
                found.push(key);
            }
        }
        Ok(found)
    }

    /// Expired rows among the next ones anywhere, and where to go on: routes of one line may let
    /// messages live for different times.
    fn expired_from(
        &self,
        txn: &RoTxn<'_>,
        from: Option<[u8; 25]>,
    ) -> Result<(Vec<RowKey>, Option<[u8; 25]>), Fault> {
        let (mut found, now) = (Vec::new(), self.now());
        let begin = from.as_ref().map_or(Bound::Unbounded, |from| Bound::Included(&from[..]));
        let range = (begin, Bound::Unbounded);
        for (looks, pair) in self.tables.rows.range(txn, kind::ROW, &range)?.enumerate() {
            let (key, value) = pair?;
            let key = RowKey::read(key)?;
            if looks >= LOOKS {
                return Ok((found, Some(key.write())));
            }
            let Ok(row) = value.and_then(RowRecord::read) else { continue };
            if self.has_expired(txn, key, &row, now)? {
                found.push(key);
            }
        }
        Ok((found, None))
    }

    fn names_of_endpoints(&self, txn: &RoTxn<'_>) -> Result<HashMap<u32, Endpoint>, Fault> {
        let endpoints = self.endpoints(txn)?.into_iter();
        Ok(endpoints.map(|(name, record)| (record.number, name)).collect())
    }

    fn end_all(
        &self,
        txn: &mut RwTxn<'_>,
        ends: impl Iterator<Item = (RowKey, End)>,
    ) -> Result<u64, Fault> {
        let names = self.names_of_endpoints(txn)?;
        let mut books = Books::default();
        let ledger = books.ledger(self, txn)?;
        let (mut count, at) = (0, ledger.time.at);
        for (key, end) in ends {
            if let Some(name) = names.get(&key.endpoint) {
                self.end_row(txn, ledger, name, key, &end, at)?;
                count += 1;
            }
        }
        books.write(txn)?;
        Ok(count)
    }
}
