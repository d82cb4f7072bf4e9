//! Tables of keys and values: what `state/` and the local hub remember.
//!
//! Made once by `bin`; the `State` actors (`actors/hub/state.rs`) share it and may be rebuilt.

use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::env::{Environment, OpenError, Options, StoreId};
use super::fault::Fault;
use super::table::Table;
use super::value::Damage;
use super::wait::wait;
use super::writer::{Kind, Window, Writer, WriterState};
use crate::messages::state::{Change, Pairs, StoreError};

const PAIR: u8 = 2;
/// LMDB takes 511 bytes at most; some are kept for us.
const LONGEST_KEY: usize = 480;

/// See the module documentation.
#[derive(Debug)]
pub struct Kv {
    writer: Writer,
    environment: Arc<Environment>,
    damaged: AtomicU64,
}

impl Kv {
    /// Opens the store in `directory`, or makes one, and starts its writer. Blocks.
    pub fn open(
        directory: &Path,
        tables: &[&'static str],
        options: Options,
    ) -> Result<Arc<Self>, OpenError> {
        let environment = Arc::new(Environment::open(directory, tables, options)?);
        let writer = Writer::start(Arc::clone(&environment), Window::default());
        let writer = writer.map_err(|error| OpenError::Io(directory.into(), error.to_string()))?;
        Ok(Arc::new(Kv { writer, environment, damaged: AtomicU64::new(0) }))
    }

    /// Makes all changes in one transaction. They are in line when this returns; the answer comes
    /// after the commit.
    pub fn save(
        &self,
        changes: Vec<Change>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send + 'static + use<> {
        let checked: Result<Vec<_>, _> =
            changes.into_iter().map(|change| self.check(change)).collect();
        let submitted = checked.map(|changes| {
            self.writer.submit(Kind::Vital, changes.len(), move |txn, ()| {
                for (table, Change { key, value, .. }) in &changes {
                    match value {
                        Some(value) => table.put(txn, PAIR, key, &[value])?,
                        None => table.delete(txn, key).map(drop)?,
                    }
                }
                Ok(())
            })
        });
        async move { submitted?.await }
    }

    /// As `save`, for threads that may wait; no actor's.
    pub fn save_and_wait(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        wait(self.save(changes))
    }

    fn check(&self, change: Change) -> Result<(Table<'static>, Change), StoreError> {
        if change.key.is_empty() || change.key.len() > LONGEST_KEY {
            let Change { table, key, .. } = change;
            let why = format!("a key of `{table}` has {} bytes, 1 to 480 are possible", key.len());
            return Err(StoreError::Broken(why));
        }
        Ok((self.environment.table(change.table)?, change))
    }

    /// Reads one value. A damaged one is as good as none.
    pub fn fetch(&self, table: &str, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let table = self.environment.table(table)?;
        let txn = self.environment.read()?;
        let found = table.get(&txn, PAIR, key).map_err(|error| self.failed(error))?;
        Ok(found.and_then(|value| self.sound(&table, key, value)).map(Vec::from))
    }

    /// Reads the pairs whose keys begin with `prefix` and are not below `from`, `max` at most.
    pub fn scan(
        &self,
        table: &str,
        prefix: &[u8],
        from: &[u8],
        max: usize,
    ) -> Result<Pairs, StoreError> {
        let table = self.environment.table(table)?;
        let txn = self.environment.read()?;
        let first = from.max(prefix);
        let first = if first.is_empty() { Bound::Unbounded } else { Bound::Included(first) };
        let range = (first, Bound::Unbounded); // LMDB knows no empty key
        let pairs = table.range(&txn, PAIR, &range).map_err(|error| self.failed(error))?;
        let mut found = Vec::new();
        for pair in pairs {
            let (key, value) = pair.map_err(|error| self.failed(error))?;
            if found.len() == max || !key.starts_with(prefix) {
                break;
            }
            if let Some(value) = self.sound(&table, key, value) {
                found.push((key.to_vec(), value.to_vec()));
            }
        }
        Ok(Arc::new(found))
    }

    /// As in the queue (`QueueStore::read`).
    fn failed(&self, error: heed::Error) -> StoreError {
        let fault = Fault::Lmdb(error);
        if let Some(why) = fault.damage() {
            let corrupt =
                move |_: &mut heed::RwTxn<'_>, _: &mut _| Err::<(), _>(Fault::Corrupt(why.clone()));
            drop(self.writer.submit(Kind::Vital, 1, corrupt)); // in line; nobody waits for it
        }
        fault.for_reader()
    }

    fn sound<'v>(
        &self,
        table: &Table<'_>,
        key: &[u8],
        value: Result<&'v [u8], Damage>,
    ) -> Option<&'v [u8]> {
        let damage = match value {
            Ok(value) => return Some(value),
            Err(damage) => damage,
        };
        self.damaged.fetch_add(1, Ordering::Relaxed);
        let (table, key) = (table.name, key.escape_ascii().to_string());
        tracing::error!(table, key, %damage, "damaged record left out");
        None
    }

    /// Damaged values met since the start.
    pub fn damaged(&self) -> u64 {
        self.damaged.load(Ordering::Relaxed)
    }

    /// The environment, for whoever copies it.
    pub fn environment(&self) -> &Arc<Environment> {
        &self.environment
    }

    /// Which store it is.
    pub fn id(&self) -> StoreId {
        self.environment.id()
    }

    /// How the writer does. `Broken`: the process has to exit.
    pub fn state(&self) -> tokio::sync::watch::Receiver<WriterState> {
        self.writer.state()
    }

    /// The writer, for planned failures and figures.
    pub fn writer(&self) -> &Writer {
        &self.writer
    }
}
