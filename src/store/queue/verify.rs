//! Counts everything again and compares: in = out + stored + named ends, row by row.

use std::collections::BTreeMap;

use super::records::{RowKey, RowRecord, kind};
use super::status::ALL;
use super::{Inner, QueueStore, ledger};
use crate::messages::state::StoreError;
use crate::store::fault::Fault;

impl QueueStore {
    /// What does not add up; nothing: the account is right. Reads the whole queue.
    pub fn verify(&self) -> Result<Vec<String>, StoreError> {
        self.inner.verify().map_err(Fault::for_reader)
    }
}

impl Inner {
    fn verify(&self) -> Result<Vec<String>, Fault> {
        let txn = self.environment.read()?;
        let mut wrong = Vec::new();
        let mut rows: BTreeMap<u32, u64> = BTreeMap::new();
        let mut endpoints: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
        let mut needed: BTreeMap<u64, u32> = BTreeMap::new();
        let mut damaged = 0;
        for pair in self.tables.rows.range(&txn, kind::ROW, &ALL)? {
            let (key, value) = pair?;
            let key = RowKey::read(key)?;
            *rows.entry(key.account).or_default() += 1;
            let endpoint = endpoints.entry(key.endpoint).or_default();
            endpoint.0 += 1;
            match value.and_then(RowRecord::read) {
                Ok(row) => endpoint.1 += row.bytes,
                Err(_) => damaged += 1,
            }
            *needed.entry(key.message).or_default() += 1;
        }
        for pair in self.tables.dead.range(&txn, kind::DEAD, &ALL)? {
            *needed.entry(RowKey::read(pair?.0)?.message).or_default() += 1;
        }
        for (number, account) in self.accounts(&txn)? {
            let name = format!("route `{}` to `{}`", account.route, account.endpoint);
            let ended: u64 = account.ends.iter().sum();
            if account.received != account.stored + ended {
                wrong.push(format!(
                    "{name}: {} received, but {} stored and {ended} ended",
                    account.received, account.stored
                ));
            }
            let found = rows.remove(&number).unwrap_or_default();
            if found != account.stored {
                wrong.push(format!("{name}: {} stored, but {found} rows", account.stored));
            }
        }
        if !rows.is_empty() {
            wrong.push(format!("rows of unknown accounts: {rows:?}"));
        }
        for (endpoint, record) in self.endpoints(&txn)? {
            let found = endpoints.remove(&record.number).unwrap_or_default();
            if damaged == 0 && found != (record.rows, record.bytes) {
                wrong.push(format!(
                    "`{}`: {} rows and {} bytes counted, but {found:?} found",
                    endpoint.0, record.rows, record.bytes
                ));
            }
        }
        self.verify_messages(&txn, &needed, &mut wrong)?;
        let head = ledger::head(&self.tables, &txn)?;
        if head.unrouted > head.messages_in {
            wrong.push(format!("{} unrouted of {}", head.unrouted, head.messages_in));
        }
        Ok(wrong)
    }

    /// Every message is there as long as, and only as long as, something needs it.
    fn verify_messages(
        &self,
        txn: &heed::RoTxn<'_>,
        needed: &BTreeMap<u64, u32>,
        wrong: &mut Vec<String>,
    ) -> Result<(), Fault> {
        let mut missing = needed.clone();
        for pair in self.tables.messages.range(txn, kind::MESSAGE, &ALL)? {
            let id = pair?.0.try_into().map(u64::from_be_bytes).unwrap_or_default();
            if missing.remove(&id).is_none() {
                wrong.push(format!("message {id} is kept for nobody"));
            }
            let shared = self.tables.shared.get(txn, kind::NUMBER, &id.to_be_bytes())?;
            let shared = shared.transpose()?.and_then(|payload| payload.try_into().ok());
            let count = shared.map_or(1, u32::from_be_bytes);
            let found = needed.get(&id).copied().unwrap_or_default();
            if count != found {
                wrong.push(format!("message {id} is needed {found} times, counted {count}"));
            }
        }
        if !missing.is_empty() {
            wrong.push(format!("messages are missing: {:?}", missing.keys()));
        }
        Ok(())
    }
}
