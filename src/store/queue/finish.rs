//! Ends rows: counts how, deletes them, and frees their messages, in one transaction.

use std::ops::Bound;
use std::time::Duration;

use heed::{RoTxn, RwTxn};

use super::records::{RowKey, RowRecord, dead_letter, end_index, kind, place};
use super::{Inner, Ledger};
use crate::domain::row::{End, Endpoint, Key};
use crate::store::fault::Fault;
use crate::store::value::Damage;

impl Inner {
    /// Rows that are gone already are passed over.
    pub(super) fn finish(
        &self,
        txn: &mut RwTxn<'_>,
        endpoint: &Endpoint,
        ends: &[(Key, End)],
    ) -> Result<(), Fault> {
        let mut ledger = Ledger::open(self.tables, txn)?;
        let time = self.saved_time();
        for (key, end) in ends {
            let Some(record) = ledger.endpoint(txn, endpoint)? else { continue };
            let Some(row_key) = self.find(txn, record.number, *key)? else { continue };
            let bytes = self.remove(txn, row_key, end, time.at)?;
            let recounted = match bytes {
                Some(_) => None,
                None => Some(self.count_bytes(txn, row_key.endpoint)?),
            };
            if let Some(record) = ledger.endpoint(txn, endpoint)? {
                record.rows = record.rows.saturating_sub(1);
                let left = record.bytes.saturating_sub(bytes.unwrap_or_default());
                record.bytes = recounted.unwrap_or(left);
            }
            if let Some(account) = ledger.account(txn, row_key.account)? {
                account.stored = account.stored.saturating_sub(1);
                account.ends[end_index(end)] += 1;
            }
        }
        ledger.close(txn, time)
    }

    fn find(&self, txn: &RoTxn<'_>, endpoint: u32, key: Key) -> Result<Option<RowKey>, Fault> {
        let begin = place(endpoint, key.priority, key.offset);
        let range = (Bound::Included(&begin[..]), Bound::Unbounded);
        let Some(pair) = self.tables.rows.range(txn, kind::ROW, &range)?.next() else {
            return Ok(None);
        };
        let found = pair?.0;
        if found.starts_with(&begin) { Ok(Some(RowKey::read(found)?)) } else { Ok(None) }
    }

    /// What is left of an endpoint after a damaged row, which does not tell its size, is gone.
    fn count_bytes(&self, txn: &RoTxn<'_>, endpoint: u32) -> Result<u64, Fault> {
        let (begin, end) = (endpoint.to_be_bytes(), (endpoint + 1).to_be_bytes());
        let range = (Bound::Included(&begin[..]), Bound::Excluded(&end[..]));
        let mut bytes = 0;
        for pair in self.tables.rows.range(txn, kind::ROW, &range)? {
            bytes += pair?.1.and_then(RowRecord::read).map_or(0, |row| row.bytes);
        }
        Ok(bytes)
    }

    /// Deletes a row and answers how many bytes it was counted with, if it tells.
    fn remove(
        &self,
        txn: &mut RwTxn<'_>,
        row_key: RowKey,
        end: &End,
        at: Duration,
    ) -> Result<Option<u64>, Fault> {
        let key = row_key.write();
        let raw = self.tables.rows.raw.get(txn, &key)?.map(<[u8]>::to_vec).unwrap_or_default();
        let value = self.tables.rows.get(txn, kind::ROW, &key)?.unwrap_or(Err(Damage::Short));
        let row = value.and_then(|row| Ok((row.to_vec(), RowRecord::read(row)?)));
        let (payload, bytes) = match row {
            Ok((payload, row)) => (payload, Some(row.bytes)),
            Err(_) => (Vec::new(), None),
        };
        self.tables.rows.delete(txn, &key)?;
        match end {
            End::DeadLettered(why) if !payload.is_empty() => {
                let letter = dead_letter(at, why, &payload);
                self.tables.dead.put(txn, kind::DEAD, &key, &[&letter])?;
                return Ok(bytes); // it keeps its message
            }
            End::Quarantined => self.quarantine(txn, &key, &raw, row_key.message)?,
            _ => {}
        }
        self.release(txn, row_key.message)?;
        Ok(bytes)
    }

    /// One row less needs the message.
    fn release(&self, txn: &mut RwTxn<'_>, message: u64) -> Result<(), Fault> {
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
    fn quarantine(
        &self,
        txn: &mut RwTxn<'_>,
        row_key: &[u8],
        row: &[u8],
        message: u64,
    ) -> Result<(), Fault> {
        let (table, id) = (self.tables.quarantine, message.to_be_bytes());
        table.put(txn, kind::RAW, &[b"rows ", row_key].concat(), &[row])?;
        let raw = self.tables.messages.raw.get(txn, &id)?.map(<[u8]>::to_vec);
        if let Some(raw) = raw {
            table.put(txn, kind::RAW, &[&b"messages "[..], &id].concat(), &[&raw])?;
        }
        Ok(())
    }
}
