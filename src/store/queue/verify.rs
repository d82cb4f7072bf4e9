//! Counts everything again and compares: in = out + stored + named ends, row by row.

use std::collections::BTreeMap;

use super::records::{DEAD_LETTERED, LetterRecord, RowKey, RowRecord, kind};
use super::status::ALL;
use super::{Inner, Ledger, QueueStore, lanes, ledger};
use crate::messages::state::StoreError;
use crate::store::fault::Fault;

impl QueueStore {
    /// What does not add up; nothing: the account is right. Reads the whole queue.
    pub fn verify(&self) -> Result<Vec<String>, StoreError> {
        self.inner().verify().map_err(Fault::for_reader)
    }
}

impl Inner {
    fn verify(&self) -> Result<Vec<String>, Fault> {
        let txn = self.environment.read()?;
        let mut wrong = Vec::new();
        // By account: how many, and bytes.
        let (mut rows, mut dead) = (BTreeMap::new(), BTreeMap::new());
        let mut endpoints: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
        let mut needed: BTreeMap<u64, u32> = BTreeMap::new();
        let mut damaged = 0;
        for pair in self.tables.rows.range(&txn, kind::ROW, &ALL)? {
            let (key, value) = pair?;
            let key = RowKey::read(key)?;
            let own: &mut (u64, u64) = rows.entry(key.account).or_default();
            let endpoint = endpoints.entry(key.endpoint).or_default();
            let row = value.and_then(RowRecord::read);
            damaged += u64::from(row.is_err());
            for (count, bytes) in [own, endpoint] {
                *count += 1;
                *bytes += row.map_or(0, |row| row.bytes);
            }
            *needed.entry(key.message).or_default() += 1;
        }
        for pair in self.tables.dead.range(&txn, kind::DEAD, &ALL)? {
            let (key, value) = pair?;
            let (key, letter) = (RowKey::read(key)?, value.and_then(LetterRecord::read));
            *needed.entry(key.message).or_default() += 1;
            let own: &mut (u64, u64) = dead.entry(key.account).or_default();
            damaged += u64::from(letter.is_err());
            own.0 += 1;
            own.1 += letter.map_or(0, |letter| letter.row.bytes);
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
            let counted = (account.stored, account.bytes);
            let letters = (account.ends[DEAD_LETTERED], account.dead_bytes);
            for (what, counted, found) in [
                ("rows", counted, rows.remove(&number).unwrap_or_default()),
                ("dead letters", letters, dead.remove(&number).unwrap_or_default()),
            ] {
                if found.0 != counted.0 || (damaged == 0 && found.1 != counted.1) {
                    wrong.push(format!("{name}: {what} and bytes: {counted:?}, found {found:?}"));
                }
            }
        }
        if !rows.is_empty() || !dead.is_empty() {
            wrong.push(format!("rows of unknown accounts: {rows:?}, {dead:?}"));
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
        if damaged == 0 {
            self.verify_lanes(&txn, &mut wrong)?;
        }
        let head = ledger::head(&self.tables, &txn)?;
        if head.unrouted > head.messages_in {
            wrong.push(format!("{} unrouted of {}", head.unrouted, head.messages_in));
        }
        Ok(wrong)
    }

    /// Every lane counts its rows, and begins at the first of them or before it.
    fn verify_lanes(&self, txn: &heed::RoTxn<'_>, wrong: &mut Vec<String>) -> Result<(), Fault> {
        let mut counted = Ledger::open(self.tables, txn, self.saved_time())?;
        self.recount_lanes(txn, &mut counted, None)?;
        let mut found = std::mem::take(&mut counted.lanes);
        found.retain(|_, lane| lane.rows > 0);
        for (key, lane) in lanes::all(&self.tables, txn, None)? {
            let (lane, is) = (lane?, found.remove(&key).unwrap_or_default());
            if lane.rows != is.rows || lane.since > is.since {
                wrong.push(format!("lane {key:?}: {lane:?} counted, but {is:?} found"));
            }
        }
        if !found.is_empty() {
            wrong.push(format!("lanes are missing: {found:?}"));
        }
        Ok(())
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
