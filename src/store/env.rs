//! Opens an LMDB environment: looks before it maps, locks, checks id and format, migrates.
//!
//! Default sync only: NOSYNC and NOMETASYNC lose what was acknowledged, WRITEMAP turns a full disk
//! into a SIGBUS (all measured). NORDAHEAD keeps a queue larger than memory from evicting the rest.

use std::fs::{DirBuilder, File, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use heed::types::Bytes;
use heed::{CommitOrAbort, Env, EnvFlags, EnvOpenOptions, OnCommit, RoTxn, RwTxn, WithoutTls};
use ring::rand::SecureRandom;

use super::birth;
use super::copy::DATA;
use super::fault::{self, Fault};
use super::look::look;
use super::salvage;
use super::table::Table;
use super::watch::{Starts, Watch};
use crate::messages::state::StoreError;
use crate::mutant;

/// Address space of `state/`: 256 GiB, or 256 MiB on 32 bits. Never resized.
pub const STATE_MAP_SIZE: usize = if WIDE { WIDE_MAP as usize } else { 256 << 20 };
/// Address space of `queue/`: 256 GiB, or 768 MiB on 32 bits. Never resized.
pub const QUEUE_MAP_SIZE: usize = if WIDE { WIDE_MAP as usize } else { 768 << 20 };
const WIDE_MAP: u64 = 256 << 30;
const WIDE: bool = size_of::<usize>() == 8;

/// Enough to read the head of a store.
const SMALL_MAP: usize = 16 << 20;
const MAX_READERS: u32 = 126;
pub(super) const META: &str = "_meta";
pub(super) const META_KIND: u8 = 1;
const FORMAT: &[u8] = b"format";
pub(super) const ID: &[u8] = b"id";
pub(super) const GENERATION: &[u8] = b"generation";

/// Which store it is; made with it, and it never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreId(pub u128);

/// Brings a store of one format version to the next, within one transaction.
pub type Migration = fn(&[Table<'static>], &mut RwTxn<'_>) -> Result<(), Fault>;

/// How an environment is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// Address space.
    pub map_size: usize,
    /// Bytes of disk kept for what must be written on a full one (`space.rs`); 0: none.
    pub reserve: u64,
    /// Only this store will do: nothing is created in its stead.
    pub expected: Option<StoreId>,
    /// … and only this copy of it: it was moved so often. What has its id otherwise is left over.
    pub generation: Option<u64>,
    /// The n-th brings format n + 1 to n + 2; the format written is one more than there are.
    pub migrations: &'static [Migration],
}

impl Options {
    /// For `state/`.
    pub fn state() -> Self {
        let (map_size, reserve) = (STATE_MAP_SIZE, 4 << 20);
        Options { map_size, reserve, expected: None, generation: None, migrations: &[] }
    }

    /// For `queue/`.
    pub fn queue() -> Self {
        Options { map_size: QUEUE_MAP_SIZE, reserve: 16 << 20, ..Options::state() }
    }
}

/// Why an environment cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no store, and another one will not do.
    #[error("no store at {0}: is the device that it is on plugged in?")]
    Missing(PathBuf),
    /// There is a store, but not the one that was expected.
    #[error("the store at {0} is another one than the one that belongs to this runtime")]
    Other(PathBuf),
    /// It was moved elsewhere since.
    #[error("the store at {0} is an old copy of the one that belongs to this runtime")]
    Old(PathBuf),
    /// Another process has it.
    #[error("the store at {0} is in use by process {1}: stop that first")]
    InUse(PathBuf, String),
    /// It cannot be read safely.
    #[error("the store at {0} is damaged: {1}; keep a copy of it before you do anything else")]
    Damaged(PathBuf, String),
    /// A later version of this program wrote it.
    #[error("the store at {0} has format {1}, this program knows up to {2}: use a newer one")]
    Newer(PathBuf, u32, u32),
    /// The directory or the file cannot be used.
    #[error("cannot open the store at {0}: {1}")]
    Io(PathBuf, String),
}

/// An open environment. Opened once per process: LMDB cannot do more.
#[derive(Debug)]
pub struct Environment {
    pub(super) env: Env<WithoutTls>,
    pub(super) tables: Vec<Table<'static>>,
    pub(super) options: Options,
    pub(super) meta: Table<'static>,
    id: StoreId,
    generation: u64,
    directory: PathBuf,
    _lock: File,
}

/// So that all tables can be opened in one transaction.
struct Tables<'t>(Vec<Table<'t>>);

impl OnCommit for Tables<'_> {
    type Committed = Vec<Table<'static>>;

    fn on_commit(self, token: &heed::CommitToken) -> Self::Committed {
        self.0.into_iter().map(|table| table.on_commit(token)).collect()
    }
}

impl Environment {
    /// Opens the store in `directory`, or makes one, with `tables` in it. Blocks.
    pub fn open(
        directory: &Path,
        tables: &[&'static str],
        options: Options,
    ) -> Result<Self, OpenError> {
        let at = || directory.to_path_buf();
        let io = |error: std::io::Error| OpenError::Io(directory.into(), error.to_string());
        let is_known = options.expected.is_some();
        let is_there = directory.join(DATA).exists() && !birth::is_unfinished(directory);
        if is_known && !is_there && !salvage::is_whole(directory) {
            return Err(OpenError::Missing(at()));
        }
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(io)?;
        let lock = lock(directory)?;
        salvage::finish(directory).map_err(io)?;
        let is_new = birth::is_unfinished(directory) || look(directory, is_known)?;
        let watch = Watch::new(directory);
        watch.count_start();
        if is_new {
            birth::begin(directory, &directory.join(DATA)).map_err(io)?;
        }
        birth::allocate_readers(directory).map_err(io)?;
        let env = map(directory, tables.len(), &options).map_err(refused(directory))?;
        env.clear_stale_readers().map_err(refused(directory))?;
        let mut all = create(&env, tables).map_err(refused(directory))?;
        let meta = all.remove(0);
        let (id, generation) = settle(&env, &meta, &all, &options, directory)?;
        if is_new {
            birth::finish(directory).map_err(io)?;
        }
        watch.set_id(id, generation);
        let directory = at();
        Ok(Environment { env, tables: all, options, meta, id, generation, directory, _lock: lock })
    }

    /// Which store lies in `directory`, and how often it was moved. Blocks; the store is nobody's
    /// afterwards.
    pub fn identify(directory: &Path) -> Result<(StoreId, u64), OpenError> {
        if !directory.join(DATA).exists() {
            return Err(OpenError::Missing(directory.into()));
        }
        let _lock = lock(directory)?;
        look(directory, true)?;
        let damaged = |why: String| OpenError::Damaged(directory.into(), why);
        let env = map(directory, 0, &Options { map_size: SMALL_MAP, ..Options::queue() });
        let env = env.map_err(|error| damaged(error.to_string()))?;
        let txn = env.read_txn().map_err(|error| damaged(error.to_string()))?;
        let read = env.open_databases_and_commit(txn, |opener, txn| {
            let raw = opener.open_database::<Bytes, Bytes>(txn, Some(META))?;
            let meta = raw.map(|raw| Table { name: META, raw });
            let number = |key| meta.map_or(Ok(None), |meta| number(&meta, txn, key, directory));
            Ok::<_, heed::Error>(CommitOrAbort::<Tables<'_>, _>::Abort((
                number(ID),
                number(GENERATION),
            )))
        });
        let (id, generation) = match read.map_err(|error| damaged(error.to_string()))? {
            CommitOrAbort::Abort(found) => found,
            CommitOrAbort::Commit(_) => unreachable!("it is always aborted"),
        };
        let id = id?.ok_or_else(|| damaged("it has no id".into()))?;
        Ok((StoreId(id), generation_of(generation?)))
    }

    /// Whether its path leads to nothing, or to something else by now: the device was unplugged. A
    /// path that cannot be looked at says nothing.
    pub(super) fn is_gone(&self) -> bool {
        let file = |meta: std::fs::Metadata| (meta.dev(), meta.ino());
        let ours = self.env.try_clone_inner_file().and_then(|file| Ok(file.metadata()?));
        match (std::fs::metadata(self.directory.join("data.mdb")), ours) {
            (Ok(found), Ok(ours)) => file(found) != file(ours),
            (Err(error), _) => error.kind() == std::io::ErrorKind::NotFound,
            (_, Err(_)) => false,
        }
    }

    /// How often it was moved.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Says in a copy that it is one, durably.
    pub(super) fn renumber(&self, generation: u64) -> heed::Result<()> {
        let mut txn = self.env.write_txn()?;
        let value = u128::from(generation).to_be_bytes();
        self.meta.put(&mut txn, META_KIND, GENERATION, &[&value])?;
        txn.commit()
    }

    /// The copy of `old` that lies elsewhere, once it takes its place: then the place is its own.
    pub(super) fn in_place_of(mut self, old: &Environment) -> std::io::Result<Self> {
        self._lock = old._lock.try_clone()?;
        self.directory.clone_from(&old.directory);
        Ok(self)
    }

    /// Which store it is.
    pub fn id(&self) -> StoreId {
        self.id
    }

    /// Where it is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn table(&self, name: &str) -> Result<Table<'static>, StoreError> {
        let table = self.tables.iter().find(|table| table.name == name);
        table.copied().ok_or_else(|| StoreError::Broken(format!("the store has no table `{name}`")))
    }

    /// A transaction that must live within one function: a stalled one lets the file grow.
    pub(super) fn read(&self) -> Result<RoTxn<'_, WithoutTls>, StoreError> {
        self.env.read_txn().map_err(|error| fault::of_read(&error))
    }
}

/// A device that does not do as it is told is no damage.
fn refused(directory: &Path) -> impl Fn(heed::Error) -> OpenError {
    move |error| match error {
        heed::Error::Io(error) => OpenError::Io(directory.into(), error.to_string()),
        error => OpenError::Damaged(directory.into(), error.to_string()),
    }
}

impl Drop for Environment {
    /// Whoever comes here was not killed.
    fn drop(&mut self) {
        Watch::new(&self.directory).set_starts(Starts::default());
    }
}

/// One process at a time. The file names who it is.
pub(super) fn lock(directory: &Path) -> Result<File, OpenError> {
    let io = |error: std::io::Error| OpenError::Io(directory.into(), error.to_string());
    let path = directory.join("holder");
    let options = File::options().read(true).write(true).create(true).truncate(false).open(path);
    let mut file = options.map_err(io)?;
    match file.try_lock() {
        Ok(()) => {
            // It only says more in the error of another: a full disk is no reason not to start.
            let written = file.set_len(0).and_then(|()| file.rewind());
            let _ = written.and_then(|()| write!(file, "{}", std::process::id()));
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = file.read_to_string(&mut holder); // only says more in the error
            Err(OpenError::InUse(directory.into(), holder))
        }
        Err(TryLockError::Error(error)) => Err(io(error)),
    }
}

/// A number of the head.
fn number(
    meta: &Table<'_>,
    txn: &RoTxn<'_>,
    key: &[u8],
    directory: &Path,
) -> Result<Option<u128>, OpenError> {
    let damaged = |why: String| OpenError::Damaged(directory.into(), why);
    match meta.get(txn, META_KIND, key).map_err(|error| damaged(error.to_string()))? {
        None => Ok(None),
        Some(Ok(payload)) => match payload.try_into() {
            Ok(bytes) => Ok(Some(u128::from_be_bytes(bytes))),
            Err(_) => Err(damaged("its head does not decode".into())),
        },
        Some(Err(damage)) => Err(damaged(format!("its head: {damage}"))),
    }
}

/// A store that was never moved says nothing.
fn generation_of(found: Option<u128>) -> u64 {
    found.map_or(0, |found| u64::try_from(found).unwrap_or(u64::MAX))
}

#[expect(unsafe_code, reason = "the one place: memory is mapped from a file")]
fn map(directory: &Path, tables: usize, options: &Options) -> heed::Result<Env<WithoutTls>> {
    let mut open = EnvOpenOptions::new().read_txn_without_tls();
    let dbs = u32::try_from(tables + 1).expect("tables are few");
    open.map_size(options.map_size).max_readers(MAX_READERS).max_dbs(dbs);
    let mut flags = EnvFlags::NO_READ_AHEAD;
    flags.set(EnvFlags::NO_SYNC, mutant::is("nosync"));
    // SAFETY: the file is ours alone, by the lock that the caller holds; it is local, and nobody
    // shortens it: `space.rs` only makes it longer. Its length was checked against its last page,
    // so no page that LMDB refers to lies behind its end. NO_READ_AHEAD weakens no guarantee;
    // none of NO_SYNC (but in a build that is broken on purpose), NO_META_SYNC, WRITE_MAP and
    // NO_LOCK is set.
    unsafe { open.flags(flags).open(directory) }
}

/// Opens `_meta` and all tables, in this order.
fn create(env: &Env<WithoutTls>, names: &[&'static str]) -> heed::Result<Vec<Table<'static>>> {
    let txn = env.write_txn()?;
    let all = env.create_databases_and_commit(txn, |opener, txn| {
        let mut all = Vec::new();
        for name in [META].iter().chain(names) {
            let raw = opener.create_database::<Bytes, Bytes>(txn, Some(name))?;
            all.push(Table { name, raw });
        }
        Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit(Tables(all)))
    })?;
    Ok(all.unwrap_commit())
}

/// Checks id and format, or writes them into a new store; migrates.
fn settle(
    env: &Env<WithoutTls>,
    meta: &Table<'static>,
    tables: &[Table<'static>],
    options: &Options,
    directory: &Path,
) -> Result<(StoreId, u64), OpenError> {
    let damaged = |why: String| OpenError::Damaged(directory.into(), why);
    let lmdb = refused(directory);
    let newest = options.migrations.len() as u32 + 1;
    let mut txn = env.write_txn().map_err(&lmdb)?;
    let number = |key: &[u8]| number(meta, &txn, key, directory);
    let (found, format, generation) = (number(ID)?, number(FORMAT)?, number(GENERATION)?);
    let generation = generation_of(generation);
    let id = found.unwrap_or_else(random);
    let format = format.map_or(newest, |format| u32::try_from(format).unwrap_or(u32::MAX));
    if options.expected.is_some_and(|expected| expected != StoreId(id)) {
        return Err(OpenError::Other(directory.into()));
    }
    if options.generation.is_some_and(|expected| expected != generation) {
        return Err(OpenError::Old(directory.into()));
    }
    if format > newest {
        return Err(OpenError::Newer(directory.into(), format, newest));
    }
    for migrate in options.migrations.iter().skip((format as usize).saturating_sub(1)) {
        migrate(tables, &mut txn).map_err(|fault| damaged(format!("migration: {fault:?}")))?;
    }
    if found.is_none() || format != newest {
        for (key, value) in [(ID, id), (FORMAT, u128::from(newest))] {
            meta.put(&mut txn, META_KIND, key, &[&value.to_be_bytes()]).map_err(&lmdb)?;
        }
    }
    txn.commit().map_err(&lmdb)?;
    Ok((StoreId(id), generation))
}

/// A number that nobody else has.
pub(super) fn random() -> u128 {
    let mut bytes = [0; 16];
    ring::rand::SystemRandom::new().fill(&mut bytes).expect("the kernel has random numbers");
    u128::from_be_bytes(bytes)
}
