//! What an operator does to a queue: pauses routes, and discards what is owed.
//!
//! Which routes are paused is on disk beside their rows, so nothing of them goes out between a
//! start and the moment that routes are known.

use std::collections::BTreeSet;
use std::sync::Arc;

use heed::{RoTxn, RwTxn};

use super::letters::Step;
use super::pull::Cursor;
use super::records::{RowRecord, kind};
use super::status::ALL;
use super::{Books, Inner, QueueStore, letters};
use crate::domain::row::End;
use crate::messages::dead_letters::{Pick, Progress};
use crate::messages::state::StoreError;
use crate::store::fault::Fault;
use crate::store::writer::Kind;

impl QueueStore {
    /// Rows of the route are not given out from now on, or are again. Answers once it is on disk
    /// and in force.
    pub fn set_paused(
        &self,
        route: &str,
        is_paused: bool,
    ) -> impl Future<Output = Result<(), StoreError>> + Send + 'static + use<> {
        let (route, shelf) = (route.to_owned(), Arc::clone(&self.shelf));
        let written = self.writer.submit(Kind::Vital, 1, move |txn, _| {
            let table = shelf.now().tables.paused;
            if is_paused {
                table.put(txn, kind::PAUSED, route.as_bytes(), &[])?;
            } else {
                table.delete(txn, route.as_bytes())?;
            }
            Ok(())
        });
        let shelf = Arc::clone(&self.shelf);
        async move {
            written.await?;
            let inner = shelf.now();
            // As it is on disk, so that the last of several at a time counts.
            let txn = inner.environment.read()?;
            let paused = inner.read_paused(&txn).map_err(Fault::for_reader)?;
            inner.set_rules(|rules| rules.paused = Arc::new(paused));
            Ok(())
        }
    }

    /// Routes that are paused.
    pub fn paused(&self) -> Arc<BTreeSet<String>> {
        self.inner().rules().paused
    }

    /// Discards some of the rows that were owed when it began.
    pub fn discard(
        &self,
        pick: Pick,
        rest: Option<Cursor>,
    ) -> impl Future<Output = Result<Step, StoreError>> + Send + 'static + use<> {
        let shelf = Arc::clone(&self.shelf);
        self.writer.submit(Kind::Vital, letters::BATCH, move |txn, books| {
            shelf.now().discard(txn, books, &pick, rest)
        })
    }
}

impl Inner {
    /// A damaged mark is a mark: rather is a route paused that should not be.
    pub(super) fn read_paused(&self, txn: &RoTxn<'_>) -> Result<BTreeSet<String>, Fault> {
        let mut paused = BTreeSet::new();
        for pair in self.tables.paused.range(txn, kind::PAUSED, &ALL)? {
            paused.insert(String::from_utf8_lossy(pair?.0).into_owned());
        }
        Ok(paused)
    }

    fn discard(
        &self,
        txn: &mut RwTxn<'_>,
        books: &mut Books,
        pick: &Pick,
        rest: Option<Cursor>,
    ) -> Result<Step, Fault> {
        let ledger = books.settled(self, txn)?;
        let (found, rest) = self.pick(txn, pick, rest, self.tables.rows, kind::ROW)?;
        let (mut progress, at) = (Progress::default(), ledger.time.at);
        for key in found {
            let value = self.tables.rows.get(txn, kind::ROW, &key.write())?;
            let row = value.and_then(Result::ok).and_then(|value| RowRecord::read(value).ok());
            progress.bytes += row.map_or(0, |row| row.bytes);
            progress.messages += 1;
            self.end_row(txn, ledger, &pick.endpoint, key, &End::Discarded, at)?;
        }
        Ok((progress, rest))
    }
}
