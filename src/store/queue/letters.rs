//! Dead letters: what an endpoint refused for good, kept until an operator says what becomes of it.
//!
//! A letter that is replayed is owed again, at the end of the line: it gets a new offset, and with
//! it a new stamp, so that a parent which remembers the old one takes it. One that is dropped is
//! discarded. Either is one transaction with its counting: no letter is lost, or there twice.

use std::borrow::Cow;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use heed::{RoTxn, RwTxn};

use super::pull::Cursor;
use super::records::{
    DEAD_LETTERED, DISCARDED, LetterRecord, QUARANTINED, RowKey, RowRecord, kind, place,
    read_message,
};
use super::trace::REPLAYED;
use super::{Books, Inner, Ledger, QueueStore};
use crate::domain::bag::Bag;
use crate::domain::row::{Endpoint, Key, Offset, Priority};
use crate::messages::dead_letters::{DeadLetter, Letter, Pick, Progress};
use crate::messages::state::StoreError;
use crate::store::fault::Fault;
use crate::store::table::Table;
use crate::store::writer::Kind;

/// Letters, or rows, that one transaction deals with; and those that it looks at.
pub(super) const BATCH: usize = 500;
pub(super) const LOOKS: usize = 5_000;

/// What becomes of dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// They are owed again.
    Replay,
    /// They are discarded.
    Drop,
}

/// What a transaction did, and where the next goes on.
pub type Step = (Progress, Option<Cursor>);

impl QueueStore {
    /// Dead letters in order, `max` at most, after the offset `after`; with their messages if
    /// `is_whole`.
    pub fn dead_letters(
        &self,
        pick: &Pick,
        after: Offset,
        max: usize,
        is_whole: bool,
    ) -> Result<Vec<Letter>, StoreError> {
        self.inner().dead_letters(pick, after, max, is_whole).map_err(Fault::for_reader)
    }

    /// Deals with some of the dead letters that were there when it began.
    pub fn settle(
        &self,
        pick: Pick,
        fate: Fate,
        rest: Option<Cursor>,
    ) -> impl Future<Output = Result<Step, StoreError>> + Send + 'static + use<> {
        let shelf = Arc::clone(&self.shelf);
        self.writer.submit(Kind::Vital, BATCH, move |txn, books| {
            shelf.now().settle(txn, books, &pick, fate, rest)
        })
    }
}

impl Inner {
    /// Numbers of the accounts of a route at an endpoint; `None`: all are meant.
    pub(super) fn accounts_of(
        &self,
        txn: &RoTxn<'_>,
        pick: &Pick,
    ) -> Result<Option<Vec<u32>>, Fault> {
        let Some(route) = &pick.route else { return Ok(None) };
        let accounts = self.accounts(txn)?.into_iter();
        let own = accounts
            .filter(|(_, account)| account.route == *route && account.endpoint == *pick.endpoint.0);
        Ok(Some(own.map(|(number, _)| number).collect()))
    }

    fn dead_letters(
        &self,
        pick: &Pick,
        after: Offset,
        max: usize,
        is_whole: bool,
    ) -> Result<Vec<Letter>, Fault> {
        let txn = self.environment.read()?;
        let Some(record) = self.record_of(&txn, &pick.endpoint)? else { return Ok(Vec::new()) };
        let (number, accounts) = (record.number, self.accounts_of(&txn, pick)?);
        let first = number.to_be_bytes();
        let range = (Bound::Included(&first[..]), Bound::Unbounded);
        let mut found = Vec::new();
        for pair in self.tables.dead.range(&txn, kind::DEAD, &range)? {
            let (key, value) = pair?;
            let key = RowKey::read(key)?;
            if key.endpoint != number {
                break;
            }
            let is_own = accounts.as_ref().is_none_or(|own| own.contains(&key.account));
            if is_own && pick.has(key.key.offset) && key.key.offset > after {
                found.push((key, value));
            }
        }
        found.sort_by_key(|(key, _)| key.key.offset); // across priorities
        let letters = found.into_iter().take(max).map(|(key, value)| {
            let record = value.and_then(LetterRecord::read).ok();
            let mut letter = Letter {
                known: self.describe(&txn, &pick.endpoint, key, record)?,
                ..Letter::default()
            };
            if is_whole {
                self.add_message(&txn, key, &mut letter)?;
            }
            Ok(letter)
        });
        letters.collect()
    }

    fn describe(
        &self,
        txn: &RoTxn<'_>,
        endpoint: &Endpoint,
        key: RowKey,
        letter: Option<LetterRecord<'_>>,
    ) -> Result<DeadLetter, Fault> {
        let (route, input) = match self.party(txn, key.account)? {
            Some((route, input)) => (route.to_string(), input.map(|input| input.to_string())),
            None => Default::default(),
        };
        let known = DeadLetter {
            endpoint: endpoint.0.to_string(),
            id: self.message_id(key.message),
            offset: key.key.offset.0,
            priority: key.key.priority.0,
            route,
            input,
            ..DeadLetter::default()
        };
        let Some(LetterRecord { at, tries, why, row }) = letter else {
            return Ok(DeadLetter { why: "its record is damaged".into(), ..known });
        };
        Ok(DeadLetter {
            sender: row.sender.into(),
            bytes: row.bytes,
            why: why.into(),
            tries,
            age_seconds: self.now().saturating_sub(at).as_secs(),
            waited_seconds: at.saturating_sub(row.stored_at).as_secs(),
            ..known
        })
    }

    fn add_message(&self, txn: &RoTxn<'_>, key: RowKey, letter: &mut Letter) -> Result<(), Fault> {
        let message = self.tables.messages.get(txn, kind::MESSAGE, &key.message.to_be_bytes())?;
        let message = message.and_then(Result::ok).and_then(|it| read_message(it).ok());
        if let Some((bag, body)) = message {
            let bag = Bag::from_stored(bag);
            let pairs = bag.pairs();
            let text = |(name, value): (Cow<'_, str>, Option<Cow<'_, str>>)| {
                (name.into_owned(), value.unwrap_or_default().into_owned())
            };
            letter.properties = pairs.map(text).collect();
            letter.body = Some(body.to_vec());
        }
        Ok(())
    }

    fn settle(
        &self,
        txn: &mut RwTxn<'_>,
        books: &mut Books,
        pick: &Pick,
        fate: Fate,
        rest: Option<Cursor>,
    ) -> Result<Step, Fault> {
        let ledger = books.settled(self, txn)?;
        let (found, rest) = self.pick(txn, pick, rest, self.tables.dead, kind::DEAD)?;
        let (mut progress, at) = (Progress::default(), ledger.time.at);
        for key in found {
            let bytes = self.settle_one(txn, ledger, &pick.endpoint, key, fate, at)?;
            progress.messages += u64::from(bytes.is_some());
            progress.bytes += bytes.unwrap_or_default();
        }
        Ok((progress, rest))
    }

    /// Keys of an endpoint in `table` that are meant: some, and where to go on. What came after the
    /// first call is left out.
    pub(super) fn pick(
        &self,
        txn: &RoTxn<'_>,
        pick: &Pick,
        rest: Option<Cursor>,
        table: Table<'static>,
        kind: u8,
    ) -> Result<(Vec<RowKey>, Option<Cursor>), Fault> {
        let mut found = Vec::new();
        let Some(record) = self.record_of(txn, &pick.endpoint)? else { return Ok((found, None)) };
        let (number, accounts) = (record.number, self.accounts_of(txn, pick)?);
        let first = place(number, Priority(0), Offset(0));
        let (next, last) = rest.map_or((first, Offset(record.last_offset)), Cursor::parts);
        let range = (Bound::Included(&next[..]), Bound::Unbounded);
        for (looks, pair) in table.range(txn, kind, &range)?.enumerate() {
            let key = RowKey::read(pair?.0)?;
            if key.endpoint != number {
                break;
            }
            if found.len() >= BATCH || looks >= LOOKS {
                let next = place(number, key.key.priority, key.key.offset);
                return Ok((found, Some(Cursor::new(next, last))));
            }
            let is_own = accounts.as_ref().is_none_or(|own| own.contains(&key.account));
            if is_own && key.key.offset <= last && pick.has(key.key.offset) {
                found.push(key);
            }
        }
        Ok((found, None))
    }

    /// Its bytes; `None`: it was damaged, and is quarantined.
    fn settle_one(
        &self,
        txn: &mut RwTxn<'_>,
        ledger: &mut Ledger,
        endpoint: &Endpoint,
        key: RowKey,
        fate: Fate,
        at: Duration,
    ) -> Result<Option<u64>, Fault> {
        let old = key.write();
        let raw = self.tables.dead.raw.get(txn, &old)?.map(<[u8]>::to_vec).unwrap_or_default();
        let value = self.tables.dead.get(txn, kind::DEAD, &old)?.and_then(Result::ok);
        let payload = value.map(<[u8]>::to_vec).unwrap_or_default();
        self.tables.dead.delete(txn, &old)?;
        let Ok(letter) = LetterRecord::read(&payload) else {
            self.quarantine(txn, "dead", &old, &raw, key.message)?;
            self.release(txn, key.message)?;
            let dead_bytes = self.count_dead_bytes(txn, key)?;
            if let Some(account) = ledger.account(txn, key.account)? {
                account.ends[DEAD_LETTERED] = account.ends[DEAD_LETTERED].saturating_sub(1);
                account.ends[QUARANTINED] += 1;
                account.dead_bytes = dead_bytes;
            }
            return Ok(None);
        };
        let bytes = letter.row.bytes;
        let end = if fate == Fate::Replay { REPLAYED } else { DISCARDED };
        self.note_ended(txn, key, Some(letter.row), end, at)?;
        match fate {
            Fate::Replay => {
                let run = letter.row.run.map(|_| self.common.run);
                let row = RowRecord { stored_at: at, run, ..letter.row };
                let record = ledger.endpoint_or_new(txn, endpoint)?;
                record.last_offset += 1;
                record.rows += 1;
                record.bytes += bytes;
                let place = Key { offset: Offset(record.last_offset), ..key.key };
                ledger.lane_grows(txn, key.endpoint, place, row.sender)?;
                let new = RowKey { key: place, ..key }.write();
                self.tables.rows.put(txn, kind::ROW, &new, &[&row.write()])?;
            }
            Fate::Drop => self.release(txn, key.message)?,
        }
        if let Some(account) = ledger.account(txn, key.account)? {
            account.ends[DEAD_LETTERED] = account.ends[DEAD_LETTERED].saturating_sub(1);
            account.dead_bytes = account.dead_bytes.saturating_sub(bytes);
            match fate {
                Fate::Replay => {
                    account.stored += 1;
                    account.bytes += bytes;
                    account.replayed += 1;
                }
                Fate::Drop => {
                    account.ends[DISCARDED] += 1;
                    account.dropped += 1;
                }
            }
        }
        Ok(Some(bytes))
    }

    /// Of the account of `key`, after a letter that does not tell its size is gone.
    fn count_dead_bytes(&self, txn: &RoTxn<'_>, key: RowKey) -> Result<u64, Fault> {
        let begin = key.endpoint.to_be_bytes();
        let range = (Bound::Included(&begin[..]), Bound::Unbounded);
        let mut bytes = 0;
        for pair in self.tables.dead.range(txn, kind::DEAD, &range)? {
            let (found, value) = pair?;
            let found = RowKey::read(found)?;
            if found.endpoint != key.endpoint {
                break;
            }
            if found.account == key.account {
                bytes += value.and_then(LetterRecord::read).map_or(0, |letter| letter.row.bytes);
            }
        }
        Ok(bytes)
    }
}
