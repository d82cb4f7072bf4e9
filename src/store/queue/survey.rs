//! Reads every message that is stored, owed or dead, once, and changes nothing.
//!
//! A part at a time, each in a short read transaction of its own, so that no page of the store is
//! held for long and traffic goes on between them. What it has seen is kept as one bit for each
//! message: at worst, if few are left of many, some 200 bytes for each that is stored.

use std::collections::HashMap;
use std::ops::Bound;
use std::time::Duration;

use super::records::{LetterRecord, RowKey, RowRecord, kind, read_message};
use super::{Inner, QueueStore};
use crate::domain::bag::Bag;
use crate::domain::identity::Identity;
use crate::messages::state::StoreError;
use crate::store::fault::Fault;

/// Rows that one part looks at, and bytes of messages that it reads: it runs on the thread of the
/// actors.
const LOOKS: usize = 500;
const BYTES: usize = 1 << 20;

/// Where it has come to.
#[derive(Debug)]
pub struct Survey {
    /// Stored at this time or later, in store time,
    from: Duration,
    /// … and at this time or before.
    to: Duration,
    /// First what is owed, then dead letters.
    is_dead: bool,
    /// Where the last part ended.
    last: Option<[u8; 25]>,
    seen: Seen,
    /// Rows whose messages cannot be read.
    pub damaged: u64,
}

impl QueueStore {
    /// Of messages that were stored at most `since` ago, and at least `until`.
    pub fn survey(&self, since: Duration, until: Duration) -> Survey {
        let now = self.now();
        let (from, to) = (now.saturating_sub(since), now.saturating_sub(until));
        Survey { from, to, is_dead: false, last: None, seen: Seen::default(), damaged: 0 }
    }

    /// Shows some messages, and answers whether there may be more.
    pub fn look(
        &self,
        survey: &mut Survey,
        show: &mut dyn FnMut(&Identity, &Bag, &[u8]),
    ) -> Result<bool, StoreError> {
        self.inner().survey(survey, show).map_err(Fault::for_reader)
    }
}

impl Inner {
    fn survey(
        &self,
        survey: &mut Survey,
        show: &mut dyn FnMut(&Identity, &Bag, &[u8]),
    ) -> Result<bool, Fault> {
        let txn = self.environment.read()?;
        let (table, of_kind) = match survey.is_dead {
            true => (self.tables.dead, kind::DEAD),
            false => (self.tables.rows, kind::ROW),
        };
        let last = survey.last;
        let begin = last.as_ref().map_or(Bound::Unbounded, |last| Bound::Excluded(&last[..]));
        let mut bytes = 0;
        for (looks, pair) in table.range(&txn, of_kind, &(begin, Bound::Unbounded))?.enumerate() {
            if looks >= LOOKS || bytes >= BYTES {
                return Ok(true);
            }
            let (key, value) = pair?;
            let key = RowKey::read(key)?;
            survey.last = Some(key.write());
            let row = value.and_then(|value| match survey.is_dead {
                true => LetterRecord::read(value).map(|letter| letter.row),
                false => RowRecord::read(value),
            });
            let Ok(row) = row else {
                survey.damaged += 1;
                continue;
            };
            let is_meant = survey.from <= row.stored_at && row.stored_at <= survey.to;
            if !is_meant || !survey.seen.add(key.message) {
                continue;
            }
            let id = key.message.to_be_bytes();
            let message = self.tables.messages.get(&txn, kind::MESSAGE, &id)?;
            let message = message.and_then(Result::ok).and_then(|it| read_message(it).ok());
            match (message, Identity::parse(row.sender)) {
                (Some((bag, body)), Ok(sender)) => {
                    bytes += bag.len() + body.len();
                    show(&sender, &Bag::from_stored(bag), body);
                }
                _ => survey.damaged += 1,
            }
        }
        let is_over = std::mem::replace(&mut survey.is_dead, true);
        survey.last = None;
        Ok(!is_over)
    }
}

/// A set of numbers, most of them close together: by their upper bits, a bit for each.
#[derive(Debug, Default)]
struct Seen(HashMap<u64, Box<[u64; 16]>>);

impl Seen {
    /// Whether it was not there.
    fn add(&mut self, number: u64) -> bool {
        let block = self.0.entry(number / 1024).or_insert_with(|| Box::new([0; 16]));
        let place = number % 1024;
        let (word, bit) = (&mut block[(place / 64) as usize], 1 << (place % 64));
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }
}
