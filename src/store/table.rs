//! A named database of LMDB whose values are framed (`value.rs`).

use std::io::Write;
use std::ops::Bound;

use heed::types::Bytes;
use heed::{Database, OnCommit, PutFlags, RoTxn, RwTxn};

use super::value::{self, Damage, FRAME};

/// Larger values have pages of their own.
const SHARES_A_PAGE: usize = 2_000;

/// See the module documentation. Cheap to copy; outlives every transaction.
#[derive(Clone, Copy, Debug)]
pub struct Table<'t> {
    pub(super) name: &'static str,
    pub(super) raw: Database<'t, Bytes, Bytes>,
}

impl OnCommit for Table<'_> {
    type Committed = Table<'static>;

    fn on_commit(self, token: &heed::CommitToken) -> Table<'static> {
        Table { name: self.name, raw: self.raw.on_commit(token) }
    }
}

/// A value as it was found, with its key.
pub(super) type Found<'txn> = (&'txn [u8], Result<&'txn [u8], Damage>);

impl Table<'_> {
    /// The payload under `key`; the inner error is for the caller to quarantine.
    pub(super) fn get<'txn>(
        &self,
        txn: &'txn RoTxn<'_>,
        kind: u8,
        key: &[u8],
    ) -> heed::Result<Option<Result<&'txn [u8], Damage>>> {
        let value = self.raw.get(txn, key)?;
        Ok(value.map(|value| value::open(kind, self.name, key, value)))
    }

    /// The pairs in `range`, in order.
    pub(super) fn range<'txn>(
        &self,
        txn: &'txn RoTxn<'_>,
        kind: u8,
        range: &(Bound<&[u8]>, Bound<&[u8]>),
    ) -> heed::Result<impl Iterator<Item = heed::Result<Found<'txn>>> + use<'txn>> {
        let name = self.name;
        let pairs = self.raw.range(txn, range)?;
        Ok(pairs
            .map(move |pair| pair.map(|(key, value)| (key, value::open(kind, name, key, value)))))
    }

    /// Writes a payload that is given in parts.
    pub(super) fn put(
        &self,
        txn: &mut RwTxn<'_>,
        kind: u8,
        key: &[u8],
        parts: &[&[u8]],
    ) -> heed::Result<()> {
        let frame = value::seal(kind, self.name, key, parts);
        let size = FRAME + parts.iter().map(|part| part.len()).sum::<usize>();
        self.raw.put_reserved(txn, key, size, |space| {
            space.write_all(&frame)?;
            parts.iter().try_for_each(|part| space.write_all(part))
        })
    }

    /// The same, of a key that is likely to be the last one of the table: so pages become full.
    pub(super) fn append(
        &self,
        txn: &mut RwTxn<'_>,
        kind: u8,
        key: &[u8],
        parts: &[&[u8]],
    ) -> heed::Result<()> {
        let size = FRAME + parts.iter().map(|part| part.len()).sum::<usize>();
        if size > SHARES_A_PAGE {
            return self.put(txn, kind, key, parts);
        }
        // Not reserved and then filled: heed takes "not the last key" for "here is its value".
        let mut value = Vec::with_capacity(size);
        value.extend_from_slice(&value::seal(kind, self.name, key, parts));
        parts.iter().for_each(|part| value.extend_from_slice(part));
        match self.raw.put_with_flags(txn, PutFlags::APPEND, key, &value) {
            Err(heed::Error::Mdb(heed::MdbError::KeyExist)) => self.raw.put(txn, key, &value),
            end => end,
        }
    }

    /// Deletes the keys in `range` and answers how many there were.
    pub(super) fn delete_range(
        &self,
        txn: &mut RwTxn<'_>,
        range: &(Bound<&[u8]>, Bound<&[u8]>),
    ) -> heed::Result<usize> {
        self.raw.delete_range(txn, range)
    }

    /// Deletes `key` and answers whether it was there.
    pub(super) fn delete(&self, txn: &mut RwTxn<'_>, key: &[u8]) -> heed::Result<bool> {
        self.raw.delete(txn, key)
    }
}
