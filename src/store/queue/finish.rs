//! Ends rows: counts how, deletes them, and frees their messages, in one transaction.
//!
//! next: `clear.rs`, for the many that simply go

use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use heed::{RoTxn, RwTxn};

use super::clear::Met;
use super::records::{
    DEAD_LETTERED, LetterRecord, QUARANTINED, RowKey, RowRecord, end_index, kind,
};
use super::{Books, Inner, Ledger, QueueStore};
use crate::domain::row::{End, Endpoint, Key};
use crate::messages::state::StoreError;
use crate::store::fault::Fault;
use crate::store::value::Damage;
use crate::store::writer::Kind;

impl QueueStore {
    /// Records how rows ended, and deletes them. Answers with all the keys; rows that are gone
    /// already are not counted again. What was delivered may wait a moment for messages to be
    /// written with.
    pub fn finish(
        &self,
        endpoint: Endpoint,
        ends: Vec<(Key, End)>,
    ) -> impl Future<Output = Result<Vec<Key>, StoreError>> + Send + 'static + use<> {
        self.record(endpoint, ends, false)
    }

    /// The same; with `is_soon` neither they nor others that wait do so any longer.
    pub fn record(
        &self,
        endpoint: Endpoint,
        ends: Vec<(Key, End)>,
        is_soon: bool,
    ) -> impl Future<Output = Result<Vec<Key>, StoreError>> + Send + 'static + use<> {
        let shelf = Arc::clone(&self.shelf);
        let may_wait = !is_soon && ends.iter().all(|(_, end)| *end == End::Delivered);
        let kind = if may_wait { Kind::End } else { Kind::Vital };
        self.writer.submit(kind, ends.len(), move |txn, books| {
            shelf.now().finish(txn, books, &endpoint, &ends)?;
            Ok(ends.iter().map(|(key, _)| *key).collect())
        })
    }
}

impl Inner {
    /// Rows that are gone already are passed over.
    pub(super) fn finish(
        &self,
        txn: &mut RwTxn<'_>,
        books: &mut Books,
        endpoint: &Endpoint,
        ends: &[(Key, End)],
    ) -> Result<(), Fault> {
        let ledger = books.ledger(self, txn)?;
        let Some(record) = ledger.endpoint(txn, endpoint)? else { return Ok(()) };
        let (number, at) = (record.number, ledger.time.at);
        let mut ends: Vec<_> = ends.iter().map(|(key, end)| (*key, end)).collect();
        ends.sort_by_key(|(key, _)| *key);
        ends.dedup_by_key(|(key, _)| *key);
        let Met { plain, special } = self.meet(txn, number, &ends, ledger.keeps_lanes, at)?;
        self.clear(txn, ledger, endpoint, &plain)?;
        for (row_key, end) in special {
            self.end_row(txn, ledger, endpoint, row_key, end, at)?;
        }
        Ok(())
    }

    /// Ends a row that is there, and counts how.
    pub(super) fn end_row(
        &self,
        txn: &mut RwTxn<'_>,
        ledger: &mut Ledger,
        endpoint: &Endpoint,
        row_key: RowKey,
        end: &End,
        at: Duration,
    ) -> Result<(), Fault> {
        let RowKey { endpoint: number, account, .. } = row_key;
        let (bytes, end) = self.remove(txn, ledger, row_key, end, at)?;
        // A damaged row does not tell its size: what is left is counted anew.
        let (all, own) = match bytes {
            Some(_) => (None, None),
            None => {
                self.recount_lanes(txn, ledger, Some(number))?;
                let is_own = |key: RowKey| key.account == account;
                let all = self.count_bytes(txn, number, |_| true)?;
                (Some(all), Some(self.count_bytes(txn, number, is_own)?))
            }
        };
        let bytes = bytes.unwrap_or_default();
        if let Some(record) = ledger.endpoint(txn, endpoint)? {
            record.rows = record.rows.saturating_sub(1);
            record.bytes = all.unwrap_or(record.bytes.saturating_sub(bytes));
        }
        if let Some(account) = ledger.account(txn, account)? {
            account.stored = account.stored.saturating_sub(1);
            account.bytes = own.unwrap_or(account.bytes.saturating_sub(bytes));
            account.ends[end] += 1;
            if end == DEAD_LETTERED {
                account.dead_bytes += bytes;
            }
        }
        Ok(())
    }

    fn count_bytes(
        &self,
        txn: &RoTxn<'_>,
        endpoint: u32,
        is_counted: impl Fn(RowKey) -> bool,
    ) -> Result<u64, Fault> {
        let (begin, end) = (endpoint.to_be_bytes(), (endpoint + 1).to_be_bytes());
        let range = (Bound::Included(&begin[..]), Bound::Excluded(&end[..]));
        let mut bytes = 0;
        for pair in self.tables.rows.range(txn, kind::ROW, &range)? {
            let (key, value) = pair?;
            if is_counted(RowKey::read(key)?) {
                bytes += value.and_then(RowRecord::read).map_or(0, |row| row.bytes);
            }
        }
        Ok(bytes)
    }

    /// Deletes a row and answers how many bytes it was counted with, if it tells, and how it ended
    /// indeed: of a damaged row nothing is left for a dead letter.
    fn remove(
        &self,
        txn: &mut RwTxn<'_>,
        ledger: &mut Ledger,
        row_key: RowKey,
        end: &End,
        at: Duration,
    ) -> Result<(Option<u64>, usize), Fault> {
        let key = row_key.write();
        let raw = self.tables.rows.raw.get(txn, &key)?.map(<[u8]>::to_vec).unwrap_or_default();
        let value = self.tables.rows.get(txn, kind::ROW, &key)?.unwrap_or(Err(Damage::Short));
        let payload = value.map(<[u8]>::to_vec).unwrap_or_default();
        let row = RowRecord::read(&payload).ok();
        self.tables.rows.delete(txn, &key)?;
        if let Some(row) = row {
            ledger.lane_shrinks(txn, row_key.endpoint, row_key.key, row.sender)?;
        }
        let is_lost = row.is_none() && matches!(end, End::DeadLettered { .. });
        let index = if is_lost { QUARANTINED } else { end_index(end) };
        self.note_ended(txn, row_key, row, index, at)?;
        match (end, row) {
            (End::DeadLettered { why, tries }, Some(row)) => {
                let letter = LetterRecord { at, tries: *tries, why, row }.write();
                self.tables.dead.put(txn, kind::DEAD, &key, &[&letter])?;
                return Ok((Some(row.bytes), DEAD_LETTERED)); // it keeps its message
            }
            (End::Quarantined | End::DeadLettered { .. }, _) => {
                self.quarantine(txn, "rows", &key, &raw, row_key.message)?;
            }
            _ => {}
        }
        self.release(txn, row_key.message)?;
        Ok((row.map(|row| row.bytes), index))
    }

    /// One row less needs the message.
    pub(super) fn release(&self, txn: &mut RwTxn<'_>, message: u64) -> Result<(), Fault> {
        let key = message.to_be_bytes();
        let count = match self.tables.shared.get(txn, kind::NUMBER, &key)? {
            None => 1,
            Some(Ok(payload)) => payload.try_into().map_or(u32::MAX, u32::from_be_bytes),
            Some(Err(_)) => u32::MAX, // damaged: it is kept, since others may need it
        };
        match count {
            u32::MAX => {}
            0 | 1 => {
                self.tables.messages.delete(txn, &key)?;
            }
            2 => {
                self.tables.shared.delete(txn, &key)?;
            }
            count => {
                let less = (count - 1).to_be_bytes();
                self.tables.shared.put(txn, kind::NUMBER, &key, &[&less])?;
            }
        }
        Ok(())
    }

    /// Keeps what was found, for those who may want to look at it.
    pub(super) fn quarantine(
        &self,
        txn: &mut RwTxn<'_>,
        from: &str,
        row_key: &[u8],
        row: &[u8],
        message: u64,
    ) -> Result<(), Fault> {
        let (table, id) = (self.tables.quarantine, message.to_be_bytes());
        table.put(txn, kind::RAW, &[from.as_bytes(), b" ", row_key].concat(), &[row])?;
        let raw = self.tables.messages.raw.get(txn, &id)?.map(<[u8]>::to_vec);
        if let Some(raw) = raw {
            table.put(txn, kind::RAW, &[&b"messages "[..], &id].concat(), &[&raw])?;
        }
        Ok(())
    }
}
