//! Makes what was salvaged of a queue consistent: every row has its message, its endpoint and its
//! account, every message a row, and every account adds up. What an account has counted and is not
//! there any more is counted as *quarantined*: it is the loss, by route.
//!
//! Offsets go on above all that were met. The stamps of rows that are there are as they were, and
//! whoever opens the queue gives stamps of a new run: a parent takes what is new, and knows what
//! it has.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;

use heed::RwTxn;

use super::ledger::{Party, number_key};
use super::records::{
    Account, DEAD_LETTERED, EndpointRecord, Head, LetterRecord, QUARANTINED, RowKey, RowRecord,
    kind, read_message,
};
use super::status::ALL;
use super::unrouted::UnroutedRecord;
use super::{TABLES, Tables, migrate};
use crate::domain::row::Endpoint;
use crate::domain::store_time::{Reading, Saved};
use crate::messages::salvage::{Loss, Report};
use crate::store::env::{Environment, Options};
use crate::store::fault::Fault;
use crate::store::salvage::{InForce, Later, Recipe};
use crate::store::table::Table;
use crate::store::value::{self, Damage};

/// Rows looked at in one transaction.
const BATCH: usize = 5_000;

/// How a queue is salvaged.
pub fn recipe() -> Recipe {
    let options = Options { migrations: migrate::MIGRATIONS, ..Options::queue() };
    Recipe { name: "queue", tables: TABLES.to_vec(), options, is_better, later, mend }
}

/// Rows above the last offset of their endpoint, and messages with their numbers.
fn later(in_force: &InForce<'_>) -> Later {
    let last_message = in_force.last_key("messages").unwrap_or_default();
    let mut last_offsets: BTreeMap<u32, u64> = BTreeMap::new();
    let tables = Tables::of(in_force.environment);
    if let Ok(pairs) = tables.endpoints.range(in_force.txn, kind::ENDPOINT, &ALL) {
        for (_, value) in pairs.flatten() {
            if let Ok(record) = value.and_then(EndpointRecord::read) {
                last_offsets.insert(record.number, record.last_offset);
            }
        }
    }
    Box::new(move |table, key| match table {
        "messages" => key > &last_message[..],
        "rows" => RowKey::read(key).is_ok_and(|row| {
            let last = last_offsets.get(&row.endpoint).copied().unwrap_or_default();
            row.key.offset.0 > last
        }),
        _ => false,
    })
}

/// Records that are written anew with every transaction are on many pages that were given up since:
/// an older one tells the names, and its counts are made right. Of numbers that only grow the
/// highest are the latest.
fn is_better(table: &str, key: &[u8], have: Option<&[u8]>, found: &[u8]) -> bool {
    if table == "resent" {
        return have.is_none(); // what a sender sent last, but for a few
    }
    let progress = |value: &[u8]| match table {
        "head" => payload(kind::HEAD, "head", key, value)
            .and_then(Head::read)
            .map(|head| (head.messages_in, head.last_message)),
        "endpoints" => payload(kind::ENDPOINT, "endpoints", key, value)
            .and_then(EndpointRecord::read)
            .map(|record| (record.last_offset, 0)),
        "accounts" => payload(kind::ACCOUNT, "accounts", key, value)
            .and_then(Account::read)
            .map(|account| (account.received, account.ends.iter().sum())),
        _ => Err(Damage::Payload),
    };
    match (have.map(progress), progress(found)) {
        (_, Err(_)) => false,
        (Some(Ok(have)), Ok(found)) => found > have,
        (None | Some(Err(_)), Ok(_)) => true,
    }
}

fn payload<'v>(kind: u8, table: &str, key: &[u8], value: &'v [u8]) -> Result<&'v [u8], Damage> {
    value::open(kind, table, key, value)
}

fn mend(directory: &Path, options: &Options, report: &mut Report) -> Result<(), String> {
    let environment = Environment::open(directory, &TABLES, options.clone());
    let environment = environment.map_err(|error| error.to_string())?;
    let tables = Tables::of(&environment);
    Mend::new(&environment, tables)
        .and_then(|mut mend| mend.run(report))
        .map_err(|fault| format!("the queue cannot be made consistent: {fault:?}"))
}

/// What is there of an account, or of an endpoint.
#[derive(Clone, Copy, Default)]
struct There {
    rows: u64,
    bytes: u64,
    dead: u64,
    dead_bytes: u64,
    last_offset: u64,
}

struct Mend<'e> {
    environment: &'e Environment,
    tables: Tables,
    head: Option<Head>,
    accounts: BTreeMap<u32, Account>,
    endpoints: BTreeMap<u32, (Endpoint, EndpointRecord)>,
    by_account: BTreeMap<u32, There>,
    by_endpoint: BTreeMap<u32, There>,
    /// Rows and letters of an account that cannot be kept.
    unusable: BTreeMap<u32, u64>,
    last_message: u64,
    last_stored: std::time::Duration,
}

impl<'e> Mend<'e> {
    fn new(environment: &'e Environment, tables: Tables) -> Result<Self, Fault> {
        let txn = environment.env.read_txn()?;
        let head = tables.head.get(&txn, kind::HEAD, b"head")?.and_then(Result::ok);
        let head = head.and_then(|payload| Head::read(payload).ok());
        let (mut accounts, mut endpoints) = (BTreeMap::new(), BTreeMap::new());
        for pair in tables.accounts.range(&txn, kind::ACCOUNT, &ALL)? {
            let (key, value) = pair?;
            if let (Ok(key), Ok(account)) = (key.try_into(), value.and_then(Account::read)) {
                accounts.insert(u32::from_be_bytes(key), account);
            }
        }
        for pair in tables.endpoints.range(&txn, kind::ENDPOINT, &ALL)? {
            let (name, value) = pair?;
            if let Ok(record) = value.and_then(EndpointRecord::read) {
                let endpoint = Endpoint(String::from_utf8_lossy(name).into());
                endpoints.insert(record.number, (endpoint, record));
            }
        }
        let (by_account, by_endpoint, unusable) = Default::default();
        Ok(Mend {
            environment,
            tables,
            head,
            accounts,
            endpoints,
            by_account,
            by_endpoint,
            unusable,
            last_message: 0,
            last_stored: std::time::Duration::ZERO,
        })
    }

    fn run(&mut self, report: &mut Report) -> Result<(), Fault> {
        let mut txn = self.environment.env.write_txn()?;
        self.tables.shared.raw.clear(&mut txn)?;
        self.tables.lanes.raw.clear(&mut txn)?; // made anew by whoever asks for them
        txn.commit()?;
        for (table, is_dead) in [(self.tables.rows, false), (self.tables.dead, true)] {
            self.rows(table, is_dead, report)?;
        }
        self.messages(report)?;
        self.settle(report)
    }

    /// Looks at every row, or dead letter, and deletes those that cannot be delivered any more.
    fn rows(
        &mut self,
        table: Table<'static>,
        is_dead: bool,
        report: &mut Report,
    ) -> Result<(), Fault> {
        let mut from: Option<Vec<u8>> = None;
        loop {
            let mut txn = self.environment.env.write_txn()?;
            let keys = keys(table, &txn, from.as_deref())?;
            for key in &keys {
                if !self.row(&mut txn, table, key, is_dead)? {
                    table.delete(&mut txn, key)?;
                    match RowKey::read(key) {
                        Ok(RowKey { account, .. }) if self.accounts.contains_key(&account) => {
                            *self.unusable.entry(account).or_default() += 1;
                        }
                        _ => report.lost_without_account += 1,
                    }
                }
            }
            txn.commit()?;
            let Some(last) = keys.last().filter(|_| keys.len() == BATCH) else { return Ok(()) };
            from = Some(last.clone());
        }
    }

    /// Counts a row; `false`: it cannot be kept.
    fn row(
        &mut self,
        txn: &mut RwTxn<'_>,
        table: Table<'static>,
        raw_key: &[u8],
        is_dead: bool,
    ) -> Result<bool, Fault> {
        let Ok(key) = RowKey::read(raw_key) else { return Ok(false) };
        let kind = if is_dead { kind::DEAD } else { kind::ROW };
        let value = table.get(txn, kind, raw_key)?.unwrap_or(Err(Damage::Short));
        let row = value.and_then(|payload| match is_dead {
            true => LetterRecord::read(payload).map(|letter| letter.row),
            false => RowRecord::read(payload),
        });
        let Ok(RowRecord { bytes, stored_at, .. }) = row else { return Ok(false) };
        self.last_stored = self.last_stored.max(stored_at);
        let id = key.message.to_be_bytes();
        let message = self.tables.messages.get(txn, kind::MESSAGE, &id)?;
        let has_message = matches!(message.map(|it| it.and_then(read_message)), Some(Ok(_)));
        if !has_message || !self.know(&key) {
            return Ok(false);
        }
        let shared = self.tables.shared;
        let needed = number(shared.get(txn, kind::NUMBER, &id)?).unwrap_or(0) + 1;
        shared.put(txn, kind::NUMBER, &id, &[&needed.to_be_bytes()])?;
        self.last_message = self.last_message.max(key.message);
        for there in [
            self.by_account.entry(key.account).or_default(),
            self.by_endpoint.entry(key.endpoint).or_default(),
        ] {
            there.last_offset = there.last_offset.max(key.key.offset.0);
            let (count, size) = match is_dead {
                true => (&mut there.dead, &mut there.dead_bytes),
                false => (&mut there.rows, &mut there.bytes),
            };
            *count += 1;
            *size += bytes;
        }
        Ok(true)
    }

    /// Whether account and endpoint of a row are known, or can be made out.
    fn know(&mut self, key: &RowKey) -> bool {
        let account = self.accounts.get(&key.account).map(|account| account.endpoint.clone());
        let endpoint = self.endpoints.get(&key.endpoint).map(|(name, _)| name.clone());
        match (account, endpoint) {
            (Some(account), Some(endpoint)) => *account == *endpoint.0,
            (Some(name), None) => {
                let record = EndpointRecord { number: key.endpoint, ..EndpointRecord::default() };
                let known = self.endpoints.values().any(|(endpoint, _)| *endpoint.0 == *name);
                self.endpoints.insert(key.endpoint, (Endpoint(name.into()), record));
                !known
            }
            // Of an input the name would be wanted too.
            (None, Some(endpoint)) if endpoint == Endpoint::upstream() => {
                let account = Account {
                    route: format!("salvaged-{}", key.account),
                    endpoint: endpoint.0.to_string(),
                    ..Account::default()
                };
                self.accounts.insert(key.account, account);
                true
            }
            _ => false,
        }
    }

    /// Messages that nobody needs are deleted; how many need each is put right.
    fn messages(&mut self, report: &mut Report) -> Result<(), Fault> {
        let Tables { messages, shared, .. } = self.tables;
        let mut from: Option<Vec<u8>> = None;
        loop {
            let mut txn = self.environment.env.write_txn()?;
            let keys = keys(messages, &txn, from.as_deref())?;
            for key in &keys {
                let id = key.as_slice().try_into().map_or(0, u64::from_be_bytes);
                self.last_message = self.last_message.max(id);
                match number(shared.get(&txn, kind::NUMBER, key)?) {
                    None => {
                        messages.delete(&mut txn, key)?;
                        report.messages_without_row += 1;
                    }
                    Some(1) => {
                        shared.delete(&mut txn, key)?;
                    }
                    Some(_) => {}
                }
            }
            txn.commit()?;
            let Some(last) = keys.last().filter(|_| keys.len() == BATCH) else { return Ok(()) };
            from = Some(last.clone());
        }
    }

    /// Writes head, accounts and endpoints as they are now.
    fn settle(&mut self, report: &mut Report) -> Result<(), Fault> {
        let Tables { head: heads, endpoints, accounts, numbers, unrouted, .. } = self.tables;
        let mut txn = self.environment.env.write_txn()?;
        numbers.raw.clear(&mut txn)?;
        for (number, account) in &mut self.accounts {
            let there = self.by_account.get(number).copied().unwrap_or_default();
            let unusable = self.unusable.get(number).copied().unwrap_or_default();
            let lost = settle_account(account, there, unusable);
            if lost > 0 {
                let (route, endpoint) = (account.route.clone(), account.endpoint.clone());
                report.lost.push(Loss { route, endpoint, messages: lost });
            }
            let input = account.input.as_deref().map(Into::into);
            let route = account.route.as_str().into();
            let party: Party = (route, Endpoint(account.endpoint.as_str().into()), input);
            let bytes = number.to_be_bytes();
            accounts.put(&mut txn, kind::ACCOUNT, &bytes, &[&account.write()])?;
            numbers.put(&mut txn, kind::NUMBER, &number_key(&party), &[&bytes])?;
        }
        for (number, (name, record)) in &mut self.endpoints {
            let there = self.by_endpoint.get(number).copied().unwrap_or_default();
            (record.rows, record.bytes) = (there.rows, there.bytes);
            record.last_offset = record.last_offset.max(there.last_offset);
            endpoints.put(&mut txn, kind::ENDPOINT, name.0.as_bytes(), &[&record.write()])?;
        }
        let mut missed = 0;
        for pair in unrouted.range(&txn, kind::UNROUTED, &ALL)? {
            missed += pair?.1.and_then(UnroutedRecord::read).map_or(0, |record| record.count);
        }
        let mut head = self.head.take().unwrap_or_else(|| {
            report.is_head_lost = true;
            Head { unrouted: missed, messages_in: missed + self.last_message, ..Head::default() }
        });
        head.last_message = head.last_message.max(self.last_message);
        let last = |numbers: Option<&u32>| numbers.copied().unwrap_or_default();
        head.last_account = head.last_account.max(last(self.accounts.keys().next_back()));
        head.last_endpoint = head.last_endpoint.max(last(self.endpoints.keys().next_back()));
        // Never before what was stored last: nothing expires sooner, or lives longer, for it.
        let is_behind = head.time.is_none_or(|time| time.at < self.last_stored);
        if is_behind {
            let unknown = Reading {
                boot_id: 0,
                since_boot: std::time::Duration::ZERO,
                wall: std::time::Duration::ZERO,
                is_synchronised: false,
            };
            let reading = head.time.map_or(unknown, |time| time.reading);
            head.time = Some(Saved { at: self.last_stored, reading });
        }
        heads.put(&mut txn, kind::HEAD, b"head", &[&head.write()])?;
        Ok(txn.commit()?)
    }
}

/// Brings an account to what is there; answers how many messages it has lost. `unusable`: at least
/// so many, whatever it counted.
fn settle_account(account: &mut Account, there: There, unusable: u64) -> u64 {
    let missing = account.stored.saturating_sub(there.rows)
        + account.ends[DEAD_LETTERED].saturating_sub(there.dead);
    let lost = missing.max(unusable);
    (account.stored, account.bytes) = (there.rows, there.bytes);
    (account.ends[DEAD_LETTERED], account.dead_bytes) = (there.dead, there.dead_bytes);
    account.ends[QUARANTINED] += lost;
    // The same as before, unless it was an older copy that did not know of all.
    account.received = account.stored + account.ends.iter().sum::<u64>();
    lost
}

/// Some of the keys of a table, after `from`.
fn keys(table: Table<'_>, txn: &RwTxn<'_>, from: Option<&[u8]>) -> heed::Result<Vec<Vec<u8>>> {
    let first = from.map_or(Bound::Unbounded, Bound::Excluded);
    let range = (first, Bound::Unbounded);
    let pairs = table.raw.range(txn, &range)?.take(BATCH);
    pairs.map(|pair| pair.map(|(key, _)| key.to_vec())).collect()
}

fn number(found: Option<Result<&[u8], Damage>>) -> Option<u32> {
    found?.ok()?.try_into().ok().map(u32::from_be_bytes)
}
