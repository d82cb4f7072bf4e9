//! How the queue stands: what is owed to whom, and the account of every route.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::time::Duration;

use heed::RoTxn;

use super::pull::{Cursor, Pulled, Want};
use super::records::{Account, EndpointRecord, QUARANTINED, RowKey, RowRecord, kind, place};
use super::{Inner, QueueStore, ledger};
use crate::domain::delivery::Position;
use crate::domain::row::{Endpoint, Offset, Priority};
use crate::messages::queue::UnroutedSource;
use crate::messages::state::StoreError;
use crate::store::fault::Fault;
use crate::store::space::used_pages;

pub(super) const ALL: (Bound<&[u8]>, Bound<&[u8]>) = (Bound::Unbounded, Bound::Unbounded);

/// See the module documentation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Endpoints that have, or had, rows.
    pub endpoints: Vec<Owed>,
    /// Every account.
    pub accounts: Vec<Counts>,
    /// Messages taken in, each counted once.
    pub messages_in: u64,
    /// Of those, how many no route took.
    pub unrouted: u64,
    /// … by who sent them, and from where.
    pub unrouted_sources: Vec<UnroutedSource>,
    /// Second copies that clients sent, as their connection ended before the PUBACK.
    pub resent: u64,
    /// Those of `QoS` 0 that came at a full budget.
    pub refused: u64,
    /// Bytes of used pages.
    pub used_bytes: u64,
}

/// What is owed to an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owed {
    /// To whom.
    pub endpoint: Endpoint,
    /// Rows.
    pub rows: u64,
    /// Bytes of properties and bodies.
    pub bytes: u64,
    /// Age of the oldest row, in store time.
    pub oldest: Option<Duration>,
}

/// The account of one route at one endpoint and input.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Name.
    pub route: String,
    /// `$upstream`, or the client.
    pub endpoint: String,
    /// Of the module.
    pub input: Option<String>,
    /// Rows appended.
    pub received: u64,
    /// Rows still owed.
    pub stored: u64,
    /// … their bytes,
    pub bytes: u64,
    /// … and the age of the oldest in store time; with `true`: it is at most so old.
    pub oldest: Option<(Duration, bool)>,
    /// Ends: delivered, expired, dead-lettered, evicted, discarded, quarantined.
    pub ends: [u64; 6],
    /// Of the dead letters that are there,
    pub dead_bytes: u64,
    /// … how many were owed again since,
    pub replayed: u64,
    /// … and how many were dropped: they are among the discarded.
    pub dropped: u64,
}

impl QueueStore {
    /// The account of the queue.
    pub fn status(&self) -> Result<Status, StoreError> {
        self.read(self.inner().status())
    }

    /// Messages that ended because they were damaged.
    pub fn quarantined(&self) -> Result<u64, StoreError> {
        let inner = self.inner();
        let txn = inner.environment.read()?;
        let accounts = self.read(inner.accounts(&txn))?.into_iter();
        Ok(accounts.map(|(_, account)| account.ends[QUARANTINED]).sum())
    }

    /// The lowest offset owed to `endpoint`.
    pub fn lowest_owed(&self, endpoint: &Endpoint) -> Result<Option<Offset>, StoreError> {
        self.read(self.inner().lowest_owed(endpoint))
    }

    /// Names rows whose time is over, or that are damaged, at an endpoint that nobody may be
    /// pulling from: a part of its rows, and where to go on.
    pub fn sweep(&self, endpoint: &Endpoint, from: Option<Cursor>) -> Result<Pulled, StoreError> {
        let position = Position::default();
        let want = Want {
            from: &position,
            max: usize::MAX,
            max_bytes: usize::MAX,
            without: &[],
            live: None,
        };
        let inner = self.inner();
        let txn = inner.environment.read()?;
        self.read(inner.search(&txn, endpoint, &want, from, true))
    }

    /// Endpoints that have rows.
    pub fn endpoints(&self) -> Result<Vec<Endpoint>, StoreError> {
        let inner = self.inner();
        let txn = inner.environment.read()?;
        let endpoints = self.read(inner.endpoints(&txn))?.into_iter();
        Ok(endpoints.filter(|(_, record)| record.rows > 0).map(|(name, _)| name).collect())
    }
}

impl Inner {
    /// Whether the records that everything else hangs on are sound; which routes are paused.
    pub(super) fn check(&self) -> Result<BTreeSet<String>, StoreError> {
        let txn = self.environment.read()?;
        self.endpoints(&txn).map_err(Fault::for_reader)?;
        self.accounts(&txn).map_err(Fault::for_reader)?;
        self.read_paused(&txn).map_err(Fault::for_reader)
    }

    pub(super) fn endpoints(
        &self,
        txn: &RoTxn<'_>,
    ) -> Result<Vec<(Endpoint, EndpointRecord)>, Fault> {
        let mut endpoints = Vec::new();
        for pair in self.tables.endpoints.range(txn, kind::ENDPOINT, &ALL)? {
            let (name, payload) = pair?;
            let endpoint = Endpoint(String::from_utf8_lossy(name).into());
            endpoints.push((endpoint, EndpointRecord::read(payload?)?));
        }
        Ok(endpoints)
    }

    pub(super) fn accounts(&self, txn: &RoTxn<'_>) -> Result<Vec<(u32, Account)>, Fault> {
        let mut accounts = Vec::new();
        for pair in self.tables.accounts.range(txn, kind::ACCOUNT, &ALL)? {
            let (number, payload) = pair?;
            let number = number.try_into().map(u32::from_be_bytes).unwrap_or_default();
            accounts.push((number, Account::read(payload?)?));
        }
        Ok(accounts)
    }

    fn status(&self) -> Result<Status, Fault> {
        let txn = self.environment.read()?;
        let head = ledger::head(&self.tables, &txn)?;
        let now = self.now();
        let mut endpoints = Vec::new();
        for (endpoint, EndpointRecord { number, rows, bytes, .. }) in self.endpoints(&txn)? {
            let oldest = if rows == 0 { None } else { self.oldest(&txn, number)? };
            let oldest = oldest.map(|stored_at| now.saturating_sub(stored_at));
            endpoints.push(Owed { endpoint, rows, bytes, oldest });
        }
        let accounts = self.accounts(&txn)?;
        let lag = self.lag(&txn, &accounts)?;
        let accounts = accounts.into_iter().map(|(number, account)| {
            let Account { route, endpoint, input, received, stored, ends, .. } = account;
            let Account { bytes, dead_bytes, replayed, dropped, .. } = account;
            let oldest = lag.get(&number).map(|oldest| (now.saturating_sub(oldest.0), oldest.1));
            let parties = Counts { route, endpoint, input, ..Counts::default() };
            Counts {
                received,
                stored,
                bytes,
                oldest,
                ends,
                dead_bytes,
                replayed,
                dropped,
                ..parties
            }
        });
        let env = &self.environment.env;
        let page_size = u64::from(env.unnamed_database_stat().page_size);
        Ok(Status {
            endpoints,
            accounts: accounts.collect(),
            messages_in: head.messages_in,
            unrouted: head.unrouted,
            unrouted_sources: self.unrouted(&txn)?,
            resent: head.resent,
            refused: head.refused,
            used_bytes: used_pages(env, &txn, &self.environment.tables) * page_size,
        })
    }

    /// When the oldest row of an endpoint was stored: the first of one of its priorities.
    fn oldest(&self, txn: &RoTxn<'_>, endpoint: u32) -> Result<Option<Duration>, Fault> {
        let mut oldest: Option<Duration> = None;
        let mut at = place(endpoint, Priority(0), Offset(0));
        loop {
            let range = (Bound::Included(&at[..]), Bound::Unbounded);
            let Some(pair) = self.tables.rows.range(txn, kind::ROW, &range)?.next() else { break };
            let (key, value) = pair?;
            let key = RowKey::read(key)?;
            if key.endpoint != endpoint {
                break;
            }
            if let Ok(row) = value.and_then(RowRecord::read) {
                oldest = Some(oldest.map_or(row.stored_at, |oldest| oldest.min(row.stored_at)));
            }
            let Some(next) = key.key.priority.0.checked_add(1) else { break };
            at = place(endpoint, Priority(next), Offset(0));
        }
        Ok(oldest)
    }
}
