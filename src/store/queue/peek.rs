//! What waits for a route, in order of sending.

use std::collections::HashMap;
use std::ops::Bound;

use heed::RoTxn;

use super::records::{Account, RowKey, kind, read_message};
use super::{Inner, QueueStore};
use crate::domain::bag::Bag;
use crate::domain::row::Endpoint;
use crate::messages::state::StoreError;
use crate::messages::trace::{Peeked, Waiting};
use crate::store::fault::Fault;

/// Rows that a peek passes over in one endpoint: it runs on the thread of the actors.
const PASSED: usize = 20_000;

impl QueueStore {
    /// What waits for a route.
    pub fn peek(&self, route: &str, max: usize, body: Option<usize>) -> Result<Peeked, StoreError> {
        self.inner().peek(route, max, body).map_err(Fault::for_reader)
    }
}

impl Inner {
    fn peek(&self, route: &str, max: usize, body: Option<usize>) -> Result<Peeked, Fault> {
        let txn = self.environment.read()?;
        let accounts: HashMap<u32, Account> = self.accounts(&txn)?.into_iter().collect();
        let mut own: Vec<&str> = accounts
            .values()
            .filter(|account| account.route == route && account.stored > 0)
            .map(|account| &*account.endpoint)
            .collect();
        own.sort_unstable();
        own.dedup();
        let (mut peeked, now) = (Peeked::default(), self.now());
        for name in own {
            let Some(record) = self.record_of(&txn, &Endpoint(name.into()))? else { continue };
            let first = record.number.to_be_bytes();
            let range = (Bound::Included(&first[..]), Bound::Unbounded);
            let (mut found, mut passed) = (0, 0);
            for pair in self.tables.rows.range(&txn, kind::ROW, &range)? {
                let key = RowKey::read(pair?.0)?;
                if key.endpoint != record.number || found == max {
                    break;
                }
                if accounts.get(&key.account).is_none_or(|account| account.route != route) {
                    passed += 1;
                    if passed == PASSED {
                        peeked.passed = Some(passed);
                        break;
                    }
                    continue;
                }
                found += 1;
                let (place, row) = self.describe_row(&txn, key, &accounts, now)?;
                let (sender, _, stored_at) = row.unwrap_or_default();
                let age_seconds = now.saturating_sub(stored_at).as_secs();
                let id = self.message_id(key.message);
                let mut waiting = Waiting { id, sender, age_seconds, place, ..Waiting::default() };
                if let Some(length) = body {
                    self.add_content(&txn, key.message, length, &mut waiting)?;
                }
                peeked.items.push(waiting);
            }
        }
        Ok(peeked)
    }

    fn add_content(
        &self,
        txn: &RoTxn<'_>,
        message: u64,
        length: usize,
        waiting: &mut Waiting,
    ) -> Result<(), Fault> {
        let found = self.tables.messages.get(txn, kind::MESSAGE, &message.to_be_bytes())?;
        let found = found.and_then(Result::ok).and_then(|it| read_message(it).ok());
        if let Some((bag, body)) = found {
            let bag = Bag::from_stored(bag);
            let pairs = bag.pairs();
            let owned = pairs
                .map(|(name, value)| (name.into_owned(), value.unwrap_or_default().into_owned()));
            waiting.properties = owned.collect();
            waiting.body = Some(body[..body.len().min(length)].to_vec());
        }
        Ok(())
    }
}
