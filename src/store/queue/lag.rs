//! The age of the oldest row of each account.
//!
//! Rows of all routes to an endpoint stand in one line, so this looks along the line from its
//! beginning, for so long as is cheap: of a route that was not met by then the oldest row is at
//! most as old as the last one that was looked at.

use std::collections::HashMap;
use std::ops::Bound;
use std::time::Duration;

use heed::RoTxn;

use super::Inner;
use super::records::{Account, RowKey, RowRecord, kind, place};
use crate::domain::row::{Offset, Priority};
use crate::store::fault::Fault;

/// Rows of one priority of an endpoint that are looked at.
const LOOKS: usize = 500;

/// By account: when its oldest row was stored; with `true`: not before.
type Lag = HashMap<u32, (Duration, bool)>;

impl Inner {
    pub(super) fn lag(&self, txn: &RoTxn<'_>, accounts: &[(u32, Account)]) -> Result<Lag, Fault> {
        let mut lag = Lag::new();
        let owing = accounts.iter().filter(|(_, account)| account.stored > 0);
        let mut endpoints: HashMap<&str, Vec<u32>> = HashMap::new();
        for (number, account) in owing {
            endpoints.entry(&account.endpoint).or_default().push(*number);
        }
        for (endpoint, record) in self.endpoints(txn)? {
            let Some(wanted) = endpoints.get(&*endpoint.0) else { continue };
            let mut found = Lag::new();
            let mut bound: Option<Duration> = None;
            for priority in 0..=Priority::DEFAULT.0 {
                let cut = self.look(txn, record.number, Priority(priority), wanted, &mut found)?;
                bound = bound.into_iter().chain(cut).min();
            }
            for number in wanted {
                let sure = found.get(number).copied();
                let sure = sure.filter(|(at, _)| bound.is_none_or(|bound| *at <= bound));
                let at_most = bound.map(|bound| (bound, true));
                lag.extend(sure.or(at_most).map(|it| (*number, it)));
            }
        }
        Ok(lag)
    }

    /// Notes the oldest row of each account among the first of a priority; answers when the last
    /// of them was stored, if there are more.
    fn look(
        &self,
        txn: &RoTxn<'_>,
        endpoint: u32,
        priority: Priority,
        wanted: &[u32],
        found: &mut Lag,
    ) -> Result<Option<Duration>, Fault> {
        let begin = place(endpoint, priority, Offset(0));
        let end = place(endpoint, priority, Offset(u64::MAX));
        let range = (Bound::Included(&begin[..]), Bound::Excluded(&end[..]));
        let (mut last, mut met) = (Duration::ZERO, 0);
        for (looks, pair) in self.tables.rows.range(txn, kind::ROW, &range)?.enumerate() {
            if met == wanted.len() {
                return Ok(None); // all, and these are the oldest
            }
            if looks == LOOKS {
                return Ok(Some(last));
            }
            let (key, value) = pair?;
            let Ok(row) = value.and_then(RowRecord::read) else { continue };
            last = row.stored_at;
            let mut is_new = false;
            let oldest = found.entry(RowKey::read(key)?.account).or_insert_with(|| {
                is_new = true;
                (row.stored_at, false)
            });
            met += usize::from(is_new);
            oldest.0 = oldest.0.min(row.stored_at);
        }
        Ok(None)
    }
}
