//! The lanes of an endpoint: per priority and sender, how many rows are owed, and from which offset
//! on. So a read near the end of a long backlog knows, without looking at it, whose rows it may
//! give out: those of senders that owe nothing before (ADR 6).
//!
//! A lane is there as long as a row of it is owed. `since` is the offset of the first of its rows,
//! or below it: after a row ended, nobody looks for the next one. Kept only if it is asked for:
//! one record for each sender in a transaction, and none for each message.

use std::ops::Bound;

use heed::{RoTxn, RwTxn};

use super::codec::{Reader, Writer};
use super::records::{RowKey, RowRecord, kind};
use super::{Books, Inner, Ledger, QueueStore, Tables};
use crate::domain::row::{Key, Offset, Priority};
use crate::messages::state::StoreError;
use crate::store::fault::Fault;
use crate::store::value::Damage;
use crate::store::writer::Kind;

/// Under this key: lanes are kept. Shorter than that of any lane.
const KEPT: &[u8] = b"kept";

/// See the module documentation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LaneRecord {
    pub(super) rows: u64,
    pub(super) since: u64,
}

impl LaneRecord {
    pub(super) fn write(self) -> Vec<u8> {
        Writer::default().u64(self.rows).u64(self.since).0
    }

    pub(super) fn read(payload: &[u8]) -> Result<Self, Damage> {
        let mut from = Reader(payload);
        let lane = LaneRecord { rows: from.u64()?, since: from.u64()? };
        from.end(lane)
    }

    fn add(&mut self, offset: Offset) {
        if self.rows == 0 {
            self.since = offset.0;
        }
        self.rows += 1;
    }
}

impl QueueStore {
    /// Lanes are kept from now on, or not any more. The first time every row is read once.
    pub fn keep_lanes(
        &self,
        is_kept: bool,
    ) -> impl Future<Output = Result<(), StoreError>> + Send + 'static + use<> {
        let shelf = std::sync::Arc::clone(&self.shelf);
        self.writer
            .submit(Kind::Vital, 1, move |txn, books| shelf.now().keep_lanes(txn, books, is_kept))
    }
}

/// The key of a lane.
pub(super) fn lane_key(endpoint: u32, priority: Priority, sender: &str, into: &mut Vec<u8>) {
    into.clear();
    into.extend(endpoint.to_be_bytes());
    into.push(priority.0);
    into.extend(sender.as_bytes());
}

pub(super) fn are_kept(tables: &Tables, txn: &RoTxn<'_>) -> heed::Result<bool> {
    Ok(tables.lanes.get(txn, kind::LANE, KEPT)?.is_some())
}

/// Key and record.
pub(super) type Lane = (Vec<u8>, Result<LaneRecord, Damage>);

/// Every lane that there is.
pub(super) fn all(
    tables: &Tables,
    txn: &RoTxn<'_>,
    endpoint: Option<u32>,
) -> Result<Vec<Lane>, Fault> {
    let begin = endpoint.map(u32::to_be_bytes);
    let end = endpoint.and_then(|it| it.checked_add(1)).map(u32::to_be_bytes);
    let begin = begin.as_ref().map_or(Bound::Unbounded, |it| Bound::Included(&it[..]));
    let end = end.as_ref().map_or(Bound::Unbounded, |it| Bound::Excluded(&it[..]));
    let mut lanes = Vec::new();
    for pair in tables.lanes.range(txn, kind::LANE, &(begin, end))? {
        let (key, payload) = pair?;
        if key != KEPT {
            lanes.push((key.to_vec(), payload.and_then(LaneRecord::read)));
        }
    }
    Ok(lanes)
}

impl Ledger {
    /// A row is owed.
    pub(super) fn lane_grows(
        &mut self,
        txn: &RoTxn<'_>,
        endpoint: u32,
        key: Key,
        sender: &str,
    ) -> Result<(), Fault> {
        if let Some(lane) = self.lane(txn, endpoint, key.priority, sender)? {
            lane.add(key.offset);
        }
        Ok(())
    }

    /// A row of it has ended.
    pub(super) fn lane_shrinks(
        &mut self,
        txn: &RoTxn<'_>,
        endpoint: u32,
        key: Key,
        sender: &str,
    ) -> Result<(), Fault> {
        if let Some(lane) = self.lane(txn, endpoint, key.priority, sender)? {
            lane.rows = lane.rows.saturating_sub(1);
        }
        Ok(())
    }

    fn lane(
        &mut self,
        txn: &RoTxn<'_>,
        endpoint: u32,
        priority: Priority,
        sender: &str,
    ) -> Result<Option<&mut LaneRecord>, Fault> {
        if !self.keeps_lanes {
            return Ok(None);
        }
        lane_key(endpoint, priority, sender, &mut self.lane_key);
        if !self.lanes.contains_key(&self.lane_key[..]) {
            let found = self.tables.lanes.get(txn, kind::LANE, &self.lane_key)?;
            // Without a sound record nobody knows what it owes: from the beginning on, then.
            let lane = found.map(|payload| payload.and_then(LaneRecord::read));
            let lane = lane.map_or(LaneRecord::default(), |lane| {
                lane.unwrap_or(LaneRecord { rows: u64::MAX / 2, since: 0 })
            });
            self.lanes.insert(self.lane_key.clone(), lane);
        }
        Ok(self.lanes.get_mut(&self.lane_key[..]))
    }

    /// Writes them back; those without rows are deleted.
    pub(super) fn write_lanes(&mut self, txn: &mut RwTxn<'_>) -> Result<(), Fault> {
        for (key, lane) in self.lanes.drain() {
            match lane.rows {
                0 => drop(self.tables.lanes.delete(txn, &key)?),
                _ => self.tables.lanes.put(txn, kind::LANE, &key, &[&lane.write()])?,
            }
        }
        Ok(())
    }
}

impl Inner {
    /// Whether a sender owes nothing up to `mark`: what it owes may be given out.
    pub(super) fn is_live(
        &self,
        txn: &RoTxn<'_>,
        key: RowKey,
        sender: &str,
        mark: Offset,
    ) -> Result<bool, Fault> {
        let mut lane = Vec::with_capacity(5 + sender.len());
        lane_key(key.endpoint, key.key.priority, sender, &mut lane);
        let lane = self.tables.lanes.get(txn, kind::LANE, &lane)?;
        let lane = lane.and_then(Result::ok).and_then(|payload| LaneRecord::read(payload).ok());
        Ok(lane.is_some_and(|lane| lane.since > mark.0))
    }

    fn keep_lanes(
        &self,
        txn: &mut RwTxn<'_>,
        books: &mut Books,
        is_kept: bool,
    ) -> Result<(), Fault> {
        match (are_kept(&self.tables, txn)?, is_kept) {
            (false, true) => {
                self.tables.lanes.put(txn, kind::LANE, KEPT, &[])?;
                let ledger = books.settled(self, txn)?; // which keeps lanes now
                self.recount_lanes(txn, ledger, None)
            }
            (true, false) => {
                let ledger = books.settled(self, txn)?;
                ledger.keeps_lanes = false;
                Ok(self.tables.lanes.raw.clear(txn)?)
            }
            _ => Ok(()),
        }
    }

    /// Counts the lanes of an endpoint, or of all, from their rows.
    pub(super) fn recount_lanes(
        &self,
        txn: &RoTxn<'_>,
        ledger: &mut Ledger,
        endpoint: Option<u32>,
    ) -> Result<(), Fault> {
        if !ledger.keeps_lanes {
            return Ok(());
        }
        let is_meant = |key: &[u8]| endpoint.is_none_or(|it| key.starts_with(&it.to_be_bytes()));
        let known = ledger.lanes.iter_mut().filter(|(key, _)| is_meant(key));
        known.for_each(|(_, lane)| *lane = LaneRecord::default());
        for (key, _) in all(&self.tables, txn, endpoint)? {
            ledger.lanes.insert(key, LaneRecord::default());
        }
        let begin = endpoint.unwrap_or_default().to_be_bytes();
        let range = (Bound::Included(&begin[..]), Bound::Unbounded);
        let mut lane = Vec::new();
        for pair in self.tables.rows.range(txn, kind::ROW, &range)? {
            let (key, value) = pair?;
            let key = RowKey::read(key)?;
            if endpoint.is_some_and(|endpoint| endpoint != key.endpoint) {
                break;
            }
            let Ok(row) = value.and_then(RowRecord::read) else { continue };
            lane_key(key.endpoint, key.key.priority, row.sender, &mut lane);
            match ledger.lanes.get_mut(&lane[..]) {
                Some(lane) => lane.add(key.key.offset),
                None => {
                    let first = LaneRecord { rows: 1, since: key.key.offset.0 };
                    ledger.lanes.insert(lane.clone(), first);
                }
            }
        }
        Ok(())
    }
}
