//! Reads what is owed to an endpoint, by priority, then offset.
//!
//! Every row is judged when it is read: by the time to live in force now, and by its checksum.
//! What has expired or is damaged is not given out but named, so that its end can be recorded.
//! A search that finds only rows to leave out stops after a while and can be continued; offsets
//! given since it began are left out then, so that it reads like one transaction.
//!
//! next: `finish.rs`

use std::collections::HashMap;
use std::ops::Bound;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use heed::RoTxn;

use super::matcher::Lifetime;
use super::records::{
    Account, EndpointRecord, PLACE, RowKey, RowRecord, kind, place, read_message,
};
use super::{Inner, Rules};
use crate::domain::bag::Bag;
use crate::domain::delivery::Position;
use crate::domain::identity::Identity;
use crate::domain::row::{Endpoint, Key, Offset, Priority, Row, Stamp};
use crate::store::fault::Fault;
use crate::store::value::Damage;

/// Rows that one call leaves out before it stops: it runs on the thread of the actors.
const PATIENCE: usize = 1_000;

/// What is wanted.
#[derive(Clone, Debug)]
pub struct Want<'w> {
    /// Where to begin.
    pub from: &'w Position,
    /// Most rows.
    pub max: usize,
    /// Most bytes of properties and bodies; one row is given in any case.
    pub max_bytes: usize,
    /// Whose rows to leave out.
    pub without: &'w [Identity],
    /// Only rows of senders that owe nothing up to here; needs lanes (`lanes.rs`).
    pub live: Option<Offset>,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Pulled {
    /// Owed, in order.
    pub rows: Vec<Row>,
    /// Their time to live is over.
    pub expired: Vec<Key>,
    /// They, or their messages, are damaged.
    pub damaged: Vec<Key>,
    /// The lowest offset of those that were left out because their route is paused.
    pub paused: Option<Offset>,
    /// Up to here nothing is owed that was not named, or left out.
    pub read_to: Offset,
    /// How many were left out.
    pub left_out: usize,
    /// Where to go on, if nothing was found so far and the end was not reached.
    pub rest: Option<Cursor>,
}

/// Where a search goes on.
#[derive(Clone, Copy, Debug)]
pub struct Cursor {
    next: [u8; PLACE],
    last: Offset,
}

impl Cursor {
    pub(super) fn new(next: [u8; PLACE], last: Offset) -> Self {
        Cursor { next, last }
    }

    pub(super) fn parts(self) -> ([u8; PLACE], Offset) {
        (self.next, self.last)
    }
}

/// Names of accounts, which never change, as they were found on disk.
pub(super) type Names = HashMap<u32, Party>;

/// Route and input.
pub(super) type Party = (Arc<str>, Option<Arc<str>>);

impl Inner {
    pub(super) fn pull(
        &self,
        endpoint: &Endpoint,
        want: &Want<'_>,
        rest: Option<Cursor>,
    ) -> Result<Pulled, Fault> {
        let txn = self.environment.read()?;
        self.search(&txn, endpoint, want, rest, false)
    }

    /// With `is_sweep` nothing is given out, only what has to end is named.
    pub(super) fn search(
        &self,
        txn: &RoTxn<'_>,
        endpoint: &Endpoint,
        want: &Want<'_>,
        rest: Option<Cursor>,
        is_sweep: bool,
    ) -> Result<Pulled, Fault> {
        let mut pulled = Pulled::default();
        let Some(record) = self.record_of(txn, endpoint)?.filter(|_| want.max > 0) else {
            return Ok(pulled);
        };
        let number = record.number;
        let begin = place(number, Priority(0), Offset(0));
        if is_sweep && record.rows > 0 && self.next_priority(txn, number, &begin)?.is_none() {
            let (rows, name) = (record.rows, &endpoint.0);
            let why = format!("{rows} messages are owed to `{name}`, and none of them is there");
            return Err(Fault::Corrupt(why));
        }
        let first = place(number, Priority(0), want.from.first(Priority(0)));
        let mut at = rest.map_or(first, |cursor| cursor.next);
        let last = rest.map_or(Offset(record.last_offset), |cursor| cursor.last);
        let (rules, now) = (self.rules(), self.now());
        pulled.read_to = last;
        let (sender, account) = (None, None);
        let mut search = Search { inner: self, txn, want, rules, now, is_sweep, sender, account };
        let mut bytes = 0;
        // One range of keys for each priority that there is.
        while let Some(priority) = self.next_priority(txn, number, &at)? {
            let begin = at.max(place(number, priority, want.from.first(priority)));
            let end = [&place(number, priority, last)[..], &[0xFF; 12]].concat();
            let range = (Bound::Included(&begin[..]), Bound::Included(&end[..]));
            let pairs = if begin[..] <= end[..] {
                Some(self.tables.rows.range(txn, kind::ROW, &range)?)
            } else {
                None
            };
            for pair in pairs.into_iter().flatten() {
                let (raw_key, value) = pair?;
                let key = RowKey::read(raw_key)?;
                if pulled.left_out >= PATIENCE {
                    if pulled.rows.is_empty() {
                        let next = place(number, priority, key.key.offset);
                        pulled.rest = Some(Cursor { next, last });
                    }
                    return Ok(pulled);
                }
                match search.judge(key, value)? {
                    Judged::Owed(row) => {
                        let size = row.body.len() + row.bag.as_str().len();
                        if !pulled.rows.is_empty() && bytes + size > want.max_bytes {
                            return Ok(pulled);
                        }
                        bytes += size;
                        pulled.rows.push(row);
                        if pulled.rows.len() == want.max {
                            return Ok(pulled);
                        }
                        continue;
                    }
                    Judged::LeftOut => {}
                    Judged::Paused => {
                        let before = pulled.paused.into_iter();
                        pulled.paused = before.chain([key.key.offset]).min();
                    }
                    Judged::Expired => pulled.expired.push(key.key),
                    Judged::Damaged => pulled.damaged.push(key.key),
                }
                pulled.left_out += 1;
            }
            let Some(next) = priority.0.checked_add(1).map(Priority) else { break };
            at = place(number, next, want.from.first(next));
        }
        Ok(pulled)
    }

    /// The priority of the first row at `at` or after it.
    fn next_priority(
        &self,
        txn: &RoTxn<'_>,
        endpoint: u32,
        at: &[u8; PLACE],
    ) -> heed::Result<Option<Priority>> {
        let range = (Bound::Included(&at[..]), Bound::Unbounded);
        let mut pairs = self.tables.rows.range(txn, kind::ROW, &range)?;
        let Some(pair) = pairs.next() else { return Ok(None) };
        let key = RowKey::read(pair?.0).ok().filter(|key| key.endpoint == endpoint);
        Ok(key.map(|key| key.key.priority))
    }

    /// The record of an endpoint, if it ever had rows.
    pub(super) fn record_of(
        &self,
        txn: &RoTxn<'_>,
        endpoint: &Endpoint,
    ) -> Result<Option<EndpointRecord>, Fault> {
        let key = endpoint.0.as_bytes();
        let Some(payload) = self.tables.endpoints.get(txn, kind::ENDPOINT, key)? else {
            return Ok(None);
        };
        Ok(Some(EndpointRecord::read(payload?)?))
    }

    pub(super) fn party(&self, txn: &RoTxn<'_>, account: u32) -> Result<Option<Party>, Fault> {
        let mut names = self.common.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(party) = names.get(&account) {
            return Ok(Some(party.clone()));
        }
        let found = self.tables.accounts.get(txn, kind::ACCOUNT, &account.to_be_bytes())?;
        let Some(payload) = found else { return Ok(None) };
        let Account { route, input, .. } = Account::read(payload?)?;
        let party: Party = (route.into(), input.map(Into::into));
        names.insert(account, party.clone());
        Ok(Some(party))
    }

    /// The lowest offset owed to `endpoint`: the lowest number in its stamps.
    pub(super) fn lowest_owed(&self, endpoint: &Endpoint) -> Result<Option<Offset>, Fault> {
        let txn = self.environment.read()?;
        let Some(record) = self.record_of(&txn, endpoint)? else { return Ok(None) };
        let number = record.number;
        let mut lowest: Option<Offset> = None;
        let mut at = place(number, Priority(0), Offset(0));
        while let Some(priority) = self.next_priority(&txn, number, &at)? {
            let from = place(number, priority, Offset(0)).max(at);
            let range = (Bound::Included(&from[..]), Bound::Unbounded);
            if let Some(pair) = self.tables.rows.range(&txn, kind::ROW, &range)?.next() {
                let offset = RowKey::read(pair?.0)?.key.offset;
                lowest = Some(lowest.map_or(offset, |lowest| lowest.min(offset)));
            }
            let Some(next) = priority.0.checked_add(1) else { break };
            at = place(number, Priority(next), Offset(0));
        }
        Ok(lowest)
    }
}

/// What to do with a row.
enum Judged {
    Owed(Row),
    LeftOut,
    Paused,
    Expired,
    Damaged,
}

struct Search<'s> {
    inner: &'s Inner,
    txn: &'s RoTxn<'s>,
    want: &'s Want<'s>,
    rules: Rules,
    now: Duration,
    is_sweep: bool,
    /// As the last row had it: the next one often has the same.
    sender: Option<Identity>,
    account: Option<(u32, Known)>,
}

/// What all rows of an account have in common.
#[derive(Clone)]
struct Known {
    party: Party,
    lifetime: Lifetime,
    is_paused: bool,
}

impl Search<'_> {
    fn known(&mut self, account: u32) -> Result<Option<Known>, Fault> {
        if let Some((number, known)) = &self.account
            && *number == account
        {
            return Ok(Some(known.clone()));
        }
        let Some(party) = self.inner.party(self.txn, account)? else { return Ok(None) };
        let (lifetime, is_paused) =
            (self.rules.lifetime(&party.0), self.rules.paused.contains(&*party.0));
        let known = Known { party, lifetime, is_paused };
        self.account = Some((account, known.clone()));
        Ok(Some(known))
    }

    fn judge(&mut self, key: RowKey, value: Result<&[u8], Damage>) -> Result<Judged, Fault> {
        if value == Err(Damage::Key) {
            return Err(Damage::Key.into()); // its key is damaged: whose it is cannot be told
        }
        let Ok(row) = value.and_then(RowRecord::read) else { return Ok(Judged::Damaged) };
        if self.want.without.iter().any(|sender| sender.as_str() == row.sender) {
            return Ok(Judged::LeftOut);
        }
        if let Some(mark) = self.want.live
            && !self.inner.is_live(self.txn, key, row.sender, mark)?
        {
            return Ok(Judged::LeftOut);
        }
        let Some(known) = self.known(key.account)? else { return Ok(Judged::Damaged) };
        if self.rules.is_over(known.lifetime, &row, self.now) {
            return Ok(Judged::Expired);
        }
        if self.is_sweep {
            return Ok(Judged::LeftOut);
        }
        if known.is_paused {
            return Ok(Judged::Paused);
        }
        let id = key.message.to_be_bytes();
        let message = self.inner.tables.messages.get(self.txn, kind::MESSAGE, &id)?;
        let Some(Ok((bag, body))) = message.map(|message| message.and_then(read_message)) else {
            return Ok(Judged::Damaged);
        };
        let sender = match self.sender.take() {
            Some(sender) if sender.as_str() == row.sender => sender,
            _ => match Identity::parse(row.sender) {
                Ok(sender) => sender,
                Err(_) => return Ok(Judged::Damaged),
            },
        };
        self.sender = Some(sender.clone());
        let (route, input) = known.party;
        self.inner.note_handed(key, bag, self.now);
        let seq = key.key.offset.0;
        let stamp = row.run.map(|run| Stamp { run, seq });
        let (bag, body) = (Bag::from_stored(bag), Bytes::copy_from_slice(body));
        Ok(Judged::Owed(Row { key: key.key, sender, route, input, stamp, bag, body }))
    }
}

impl Rules {
    /// By the settings in force now.
    pub(super) fn has_expired(&self, route: &str, row: &RowRecord<'_>, now: Duration) -> bool {
        self.is_over(self.lifetime(route), row, now)
    }

    fn lifetime(&self, route: &str) -> Lifetime {
        let lifetime = self.matcher.as_ref().map(|matcher| matcher.lifetime(route));
        lifetime.unwrap_or(Lifetime::Unknown)
    }

    fn is_over(&self, lifetime: Lifetime, row: &RowRecord<'_>, now: Duration) -> bool {
        let time_to_live = match lifetime {
            Lifetime::Own(time_to_live) => Some(time_to_live),
            Lifetime::Global => self.time_to_live,
            Lifetime::Unknown => row.time_to_live.or(self.time_to_live),
        };
        time_to_live.is_some_and(|time_to_live| row.stored_at + time_to_live <= now)
    }
}
