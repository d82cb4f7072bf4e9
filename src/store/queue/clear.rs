//! Ends many rows that stand side by side, as those do that an endpoint has taken: they are found
//! in one walk and deleted in another, and so are their messages.

use std::ops::Bound;
use std::time::Duration;

use heed::{RoTxn, RwTxn};

use super::records::{RowKey, RowRecord, end_index, kind, place};
use super::{Inner, Ledger};
use crate::domain::row::{End, Endpoint, Key};
use crate::store::fault::Fault;

/// Rows that a walk passes over before it looks for the next one from the root.
const PASSED: usize = 8;

/// A row that is to go, and of which nothing is kept.
pub(super) struct Plain {
    key: RowKey,
    bytes: u64,
    /// Index of its end.
    end: usize,
    /// It stands right behind the one before it.
    is_next: bool,
    /// Who sent it, if lanes are kept.
    sender: Option<Box<str>>,
}

/// Rows that are there.
#[derive(Default)]
pub(super) struct Met<'e> {
    pub(super) plain: Vec<Plain>,
    /// Damaged ones, and those of which something is kept.
    pub(super) special: Vec<(RowKey, &'e End)>,
}

impl Inner {
    /// The rows that `ends` names, in order; those that are gone are left out.
    pub(super) fn meet<'e>(
        &self,
        txn: &RoTxn<'_>,
        endpoint: u32,
        ends: &[(Key, &'e End)],
        keeps_lanes: bool,
        at: Duration,
    ) -> Result<Met<'e>, Fault> {
        let (mut met, mut next) = (Met::default(), 0);
        while let Some((first, _)) = ends.get(next) {
            let begin = place(endpoint, first.priority, first.offset);
            let range = (Bound::Included(&begin[..]), Bound::Unbounded);
            let (mut passed, mut is_next) = (0, false);
            let mut rows = self.tables.rows.range(txn, kind::ROW, &range)?;
            loop {
                let Some(pair) = rows.next() else { return Ok(met) };
                let (key, value) = pair?;
                let key = RowKey::read(key)?;
                if key.endpoint != endpoint {
                    return Ok(met);
                }
                while ends.get(next).is_some_and(|(wanted, _)| *wanted < key.key) {
                    next += 1; // it is gone
                }
                match ends.get(next) {
                    Some((wanted, end)) if *wanted == key.key => {
                        next += 1;
                        passed = 0;
                        let row = value.and_then(RowRecord::read);
                        match (row, end) {
                            (_, End::DeadLettered { .. } | End::Quarantined) | (Err(_), _) => {
                                met.special.push((key, end));
                                is_next = false;
                            }
                            (Ok(row), _) => {
                                let (bytes, end) = (row.bytes, end_index(end));
                                self.note_ended(txn, key, Some(row), end, at)?;
                                let sender = keeps_lanes.then(|| row.sender.into());
                                met.plain.push(Plain { key, bytes, end, is_next, sender });
                                is_next = true;
                            }
                        }
                    }
                    Some(_) => {
                        passed += 1;
                        is_next = false;
                    }
                    None => return Ok(met),
                }
                if passed > PASSED {
                    break;
                }
            }
        }
        Ok(met)
    }

    /// Deletes rows, frees their messages, and counts how they ended.
    pub(super) fn clear(
        &self,
        txn: &mut RwTxn<'_>,
        ledger: &mut Ledger,
        endpoint: &Endpoint,
        rows: &[Plain],
    ) -> Result<(), Fault> {
        for run in rows.chunk_by(|_, row| row.is_next) {
            let [first, .., last] = run else {
                self.tables.rows.delete(txn, &run[0].key.write())?;
                continue;
            };
            let (first, last) = (first.key.write(), last.key.write());
            let range = (Bound::Included(&first[..]), Bound::Included(&last[..]));
            let deleted = self.tables.rows.delete_range(txn, &range)?;
            debug_assert_eq!(deleted, run.len(), "nothing stands between them");
        }
        for Plain { key, sender, .. } in rows {
            if let Some(sender) = sender {
                ledger.lane_shrinks(txn, key.endpoint, key.key, sender)?;
            }
        }
        self.release_all(txn, rows.iter().map(|row| row.key.message).collect())?;
        if let Some(record) = ledger.endpoint(txn, endpoint)? {
            record.rows = record.rows.saturating_sub(rows.len() as u64);
            record.bytes = record.bytes.saturating_sub(rows.iter().map(|row| row.bytes).sum());
        }
        for same in rows.chunk_by(|a, b| a.key.account == b.key.account) {
            if let Some(account) = ledger.account(txn, same[0].key.account)? {
                account.stored = account.stored.saturating_sub(same.len() as u64);
                let bytes = same.iter().map(|row| row.bytes).sum();
                account.bytes = account.bytes.saturating_sub(bytes);
                same.iter().for_each(|row| account.ends[row.end] += 1);
            }
        }
        Ok(())
    }

    /// One row less needs each of these messages.
    fn release_all(&self, txn: &mut RwTxn<'_>, mut messages: Vec<u64>) -> Result<(), Fault> {
        if !self.tables.shared.raw.is_empty(txn)? {
            return messages.into_iter().try_for_each(|message| self.release(txn, message));
        }
        messages.sort_unstable();
        for run in messages.chunk_by(|one, next| *next == one + 1) {
            let [first, .., last] = run else {
                self.tables.messages.delete(txn, &run[0].to_be_bytes())?;
                continue;
            };
            let (first, last) = (first.to_be_bytes(), last.to_be_bytes());
            let range = (Bound::Included(&first[..]), Bound::Included(&last[..]));
            self.tables.messages.delete_range(txn, &range)?; // a lost one is not missed
        }
        Ok(())
    }
}
