//! The life of a message: found by its number, without an index.
//!
//! Messages are numbered as they are stored, and offsets rise with them; so the row of a message is
//! found by halving. A dead letter that was replayed stands at a new offset, out of line: where
//! that misleads, all keys are looked at. What has ended is in memory only (`memory.rs`).
//!
//! An id is `STORE-NUMBER`; the store's part keeps ids of two stores apart.

use std::collections::HashMap;
use std::ops::Bound;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use heed::RoTxn;

use super::matcher::Message;
use super::memory::{Ended, Memory};
use super::records::{
    Account, DEAD_LETTERED, EndpointRecord, LetterRecord, RowKey, RowRecord, kind, place,
    read_message,
};
use super::{Inner, QueueStore};
use crate::domain::bag::Bag;
use crate::domain::row::{Endpoint, Key, Offset, Priority};
use crate::messages::state::StoreError;
use crate::messages::trace::{Life, Place};
use crate::store::fault::Fault;
use crate::store::table::Table;

/// Ends by their index in an account.
const ENDS: [&str; 7] =
    ["delivered", "expired", "dead-lettered", "evicted", "discarded", "quarantined", "replayed"];
/// … and of a letter that is owed again, at another place.
pub(super) const REPLAYED: usize = 6;
/// `$.mid` in a topic.
const MID: &str = ".mid=";
/// Messages that one part of a search reads.
const LOOKS: usize = 500;

impl QueueStore {
    /// So many ends are remembered from now on.
    pub fn remember(&self, ended: usize) {
        *self.inner().memory() = Memory::new(ended);
    }

    /// The number of a message: from its id, or, if it is remembered or `from` is given, from its
    /// client's id. `Err`: read on from there.
    pub fn find_message(
        &self,
        id: &str,
        from: Option<u64>,
    ) -> Result<Result<Option<u64>, u64>, StoreError> {
        self.inner().find_message(id, from).map_err(Fault::for_reader)
    }

    /// The id of a message that is a dead letter.
    pub fn dead_message(
        &self,
        endpoint: &Endpoint,
        key: Key,
    ) -> Result<Option<String>, StoreError> {
        self.inner().dead_message(endpoint, key).map_err(Fault::for_reader)
    }

    /// What is known of the message of this number.
    pub fn life(&self, number: u64) -> Result<Option<Life>, StoreError> {
        self.inner().life(number).map_err(Fault::for_reader)
    }
}

fn mid_of(bag: &str) -> Option<String> {
    if !bag.contains(MID) {
        return None;
    }
    Bag::from_stored(bag).value("$.mid").map(std::borrow::Cow::into_owned)
}

impl Inner {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.common.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `STORE-NUMBER`.
    pub(super) fn message_id(&self, number: u64) -> String {
        format!("{:08x}-{number}", self.environment.id().0 as u32)
    }

    pub(super) fn note_unrouted(&self, number: u64, message: &Message, at: Duration) {
        let bytes = (message.bag.as_str().len() + message.body.len()) as u64;
        let note = Ended { message: number, stored_at: at, at, bytes, ..Ended::default() };
        let mid = mid_of(message.bag.as_str()).unwrap_or_default();
        self.memory().on_ended(&note, message.sender.as_str(), &mid);
    }

    pub(super) fn note_handed(&self, row: RowKey, bag: &str, at: Duration) {
        let mid = mid_of(bag).unwrap_or_default();
        self.memory().on_handed(row, &mid, at);
    }

    pub(super) fn note_ended(
        &self,
        txn: &RoTxn<'_>,
        key: RowKey,
        row: Option<RowRecord<'_>>,
        end: usize,
        at: Duration,
    ) -> Result<(), Fault> {
        // Of what was delivered it is known since it was handed out.
        let mid = if end == 0 { None } else { self.bag(txn, key.message)? };
        let mid = mid.and_then(|bag| mid_of(&bag)).unwrap_or_default();
        let (stored_at, bytes) = row.map_or((at, 0), |row| (row.stored_at, row.bytes));
        let (message, own) = (key.message, Some(key));
        let note = Ended { message, row: own, stored_at, at, bytes, end, ..Ended::default() };
        self.memory().on_ended(&note, row.map_or("", |row| row.sender), &mid);
        Ok(())
    }

    fn bag(&self, txn: &RoTxn<'_>, message: u64) -> Result<Option<String>, Fault> {
        let found = self.tables.messages.get(txn, kind::MESSAGE, &message.to_be_bytes())?;
        let found = found.and_then(Result::ok).and_then(|it| read_message(it).ok());
        Ok(found.map(|(bag, _)| bag.to_owned()))
    }

    fn find_message(&self, id: &str, from: Option<u64>) -> Result<Result<Option<u64>, u64>, Fault> {
        let store = format!("{:08x}-", self.environment.id().0 as u32);
        if let Some(number) = id.strip_prefix(&store).and_then(|number| number.parse().ok()) {
            return Ok(Ok(Some(number)));
        }
        if let Some(number) = self.memory().message(id) {
            return Ok(Ok(Some(number)));
        }
        let first = from.unwrap_or_default().to_be_bytes();
        let txn = self.environment.read()?;
        let range = (Bound::Included(&first[..]), Bound::Unbounded);
        let messages = self.tables.messages.range(&txn, kind::MESSAGE, &range)?;
        for (looks, pair) in messages.enumerate() {
            let (key, value) = pair?;
            let number = key.try_into().map(u64::from_be_bytes).unwrap_or_default();
            if looks >= LOOKS {
                return Ok(Err(number));
            }
            let bag = value.and_then(read_message).map(|(bag, _)| bag).unwrap_or_default();
            if mid_of(bag).as_deref() == Some(id) {
                return Ok(Ok(Some(number)));
            }
        }
        Ok(Ok(None))
    }

    fn dead_message(&self, endpoint: &Endpoint, key: Key) -> Result<Option<String>, Fault> {
        let txn = self.environment.read()?;
        let Some(record) = self.record_of(&txn, endpoint)? else { return Ok(None) };
        let begin = place(record.number, key.priority, key.offset);
        let range = (Bound::Included(&begin[..]), Bound::Unbounded);
        let Some(pair) = self.tables.dead.range(&txn, kind::DEAD, &range)?.next() else {
            return Ok(None);
        };
        let found = RowKey::read(pair?.0)?;
        Ok((found.key == key).then(|| self.message_id(found.message)))
    }

    fn life(&self, number: u64) -> Result<Option<Life>, Fault> {
        let txn = self.environment.read()?;
        let accounts: HashMap<u32, Account> = self.accounts(&txn)?.into_iter().collect();
        let mut life = Life { id: self.message_id(number), ..Life::default() };
        life.message_id = self.bag(&txn, number)?.and_then(|bag| mid_of(&bag));
        let mut rows = Vec::new();
        for (_, record) in self.endpoints(&txn)? {
            for (table, of_kind) in [(self.tables.rows, kind::ROW), (self.tables.dead, kind::DEAD)]
            {
                rows.extend(self.rows_of(&txn, table, of_kind, &record, number)?);
            }
        }
        if rows.len() < self.needed(&txn, number)? {
            rows = self.rows_out_of_line(&txn, number)?;
        }
        let now = self.now();
        let ends: Vec<Ended> =
            self.memory().ends().filter(|ended| ended.message == number).cloned().collect();
        for key in &rows {
            let (place, row) = self.describe_row(&txn, *key, &accounts, now)?;
            life.places.push(place);
            if let Some((sender, bytes, stored_at)) = row {
                let age = now.saturating_sub(stored_at).as_secs();
                life.age_seconds = life.age_seconds.max(age);
                (life.sender, life.bytes) = (sender, bytes);
            }
        }
        for ended in &ends {
            let age = now.saturating_sub(ended.stored_at).as_secs();
            life.age_seconds = life.age_seconds.max(age);
            (life.sender, life.bytes) = (ended.sender.clone(), ended.bytes);
            if !ended.mid.is_empty() {
                life.message_id = Some(ended.mid.clone());
            }
            let Some(key) = ended.row else {
                life.is_unrouted = true;
                continue;
            };
            // Of an attempt to commit that failed, or of a letter that is there still.
            if rows.contains(&key) {
                continue;
            }
            let place = self.place(key, &accounts);
            let ended_seconds = Some(now.saturating_sub(ended.at).as_secs());
            let state = ENDS[ended.end.min(ENDS.len() - 1)].to_owned();
            let place = Place { state, bytes: ended.bytes, ended_seconds, ..place };
            if !life
                .places
                .iter()
                .any(|it| (&it.endpoint, it.offset) == (&place.endpoint, place.offset))
            {
                life.places.push(self.add_handed(place, key, now));
            }
        }
        let is_known = life.is_unrouted || !life.places.is_empty();
        Ok(is_known.then_some(life))
    }

    /// Rows, or letters, of a message in an endpoint: at most one of each priority.
    fn rows_of(
        &self,
        txn: &RoTxn<'_>,
        table: Table<'static>,
        of_kind: u8,
        record: &EndpointRecord,
        message: u64,
    ) -> Result<Vec<RowKey>, Fault> {
        let mut found = Vec::new();
        for priority in 0..=Priority::DEFAULT.0 {
            let priority = Priority(priority);
            let (mut low, mut high) = (0, record.last_offset + 1);
            while low < high {
                let middle = low + (high - low) / 2;
                let begin = place(record.number, priority, Offset(middle));
                let end = place(record.number, priority, Offset(high));
                let range = (Bound::Included(&begin[..]), Bound::Excluded(&end[..]));
                let Some(pair) = table.range(txn, of_kind, &range)?.next() else {
                    high = middle;
                    continue;
                };
                let key = RowKey::read(pair?.0)?;
                match key.message.cmp(&message) {
                    std::cmp::Ordering::Less => low = key.key.offset.0 + 1,
                    std::cmp::Ordering::Greater => high = middle,
                    std::cmp::Ordering::Equal => {
                        found.push(key);
                        break;
                    }
                }
            }
        }
        Ok(found)
    }

    /// How many rows and letters need a message.
    fn needed(&self, txn: &RoTxn<'_>, message: u64) -> Result<usize, Fault> {
        let key = message.to_be_bytes();
        if self.tables.messages.raw.get(txn, &key)?.is_none() {
            return Ok(0);
        }
        let shared = self.tables.shared.get(txn, kind::NUMBER, &key)?.and_then(Result::ok);
        let shared = shared.and_then(|payload| payload.try_into().ok());
        Ok(shared.map_or(1, u32::from_be_bytes) as usize)
    }

    /// The same, looked for everywhere.
    fn rows_out_of_line(&self, txn: &RoTxn<'_>, message: u64) -> Result<Vec<RowKey>, Fault> {
        let mut found = Vec::new();
        for table in [self.tables.rows, self.tables.dead] {
            for pair in table.raw.iter(txn)? {
                let key = RowKey::read(pair?.0)?;
                if key.message == message {
                    found.push(key);
                }
            }
        }
        Ok(found)
    }

    fn place(&self, key: RowKey, accounts: &HashMap<u32, Account>) -> Place {
        let account = accounts.get(&key.account).cloned().unwrap_or_default();
        Place {
            endpoint: account.endpoint,
            input: account.input,
            route: account.route,
            priority: key.key.priority.0,
            offset: key.key.offset.0,
            ..Place::default()
        }
    }

    fn add_handed(&self, place: Place, key: RowKey, now: Duration) -> Place {
        let (handed_out, last) = self.memory().handed(key);
        let handed_out_seconds = last.map(|at| now.saturating_sub(at).as_secs());
        Place { handed_out, handed_out_seconds, ..place }
    }

    /// A row or a letter that is there: and who sent it, its bytes, and when it was stored.
    #[expect(clippy::type_complexity, reason = "of a damaged one nothing is known")]
    pub(super) fn describe_row(
        &self,
        txn: &RoTxn<'_>,
        key: RowKey,
        accounts: &HashMap<u32, Account>,
        now: Duration,
    ) -> Result<(Place, Option<(String, u64, Duration)>), Fault> {
        let mut place = self.add_handed(self.place(key, accounts), key, now);
        let of = |row: RowRecord<'_>| (row.sender.to_owned(), row.bytes, row.stored_at);
        let raw = key.write();
        if let Some(value) = self.tables.rows.get(txn, kind::ROW, &raw)? {
            let is_paused = self.rules().paused.contains(&place.route);
            let state = match place.handed_out_seconds {
                _ if is_paused => "paused",
                Some(_) => "handed-out",
                None => "waiting",
            };
            place.state = state.into();
            let row = value.and_then(RowRecord::read).ok().map(of);
            place.bytes = row.as_ref().map_or(0, |row| row.1);
            return Ok((place, row));
        }
        place.state = ENDS[DEAD_LETTERED].into();
        let value = self.tables.dead.get(txn, kind::DEAD, &raw)?;
        let letter = value.and_then(Result::ok).and_then(|it| LetterRecord::read(it).ok());
        if let Some(letter) = letter {
            (place.why, place.tries) = (Some(letter.why.to_owned()), Some(letter.tries));
            place.ended_seconds = Some(now.saturating_sub(letter.at).as_secs());
            place.bytes = letter.row.bytes;
        }
        Ok((place, letter.map(|letter| of(letter.row))))
    }
}
