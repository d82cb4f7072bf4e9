//! Gets what is whole out of a damaged store into a new one, which takes its place.
//!
//! Runs in a process of its own (`edge-runtime store salvage`), so that nothing in the file can
//! harm the runtime for good; the file is never mapped. Promises: what is copied has a checksum
//! that holds; the damaged file is kept, under a name with the date; a crash at any step leaves
//! the old file or the new one; what could not be copied is counted in a [`Report`], which is in
//! the new store, so that nothing is lost without a word.
//!
//! next: `extract.rs`, then `queue/mend.rs`, which makes a queue's account whole again

mod extract;
mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;
use std::time::Duration;

use heed::RwTxn;

use self::extract::{Origin, extract};
pub use self::report::forget;
use super::copy::{self, DATA};
use super::env::{self, Environment, META, OpenError, Options, StoreId};
use super::fault::Fault;
use super::raw::RawFile;
use super::watch::Watch;
use crate::messages::salvage::Report;

/// The new store is made here.
const FRESH: &str = "salvage";
/// Bytes of one transaction, about.
const BATCH: usize = 16 << 20;

/// Of a table and key: whether the second value is better than what is at hand.
pub type IsBetter = fn(&str, &[u8], Option<&[u8]>, &[u8]) -> bool;

/// What is to be known of a store to salvage it.
#[derive(Clone)]
pub struct Recipe {
    /// What people call it.
    pub name: &'static str,
    /// All its tables.
    pub tables: Vec<&'static str>,
    /// How it is opened.
    pub options: Options,
    /// Whether an older copy of a record is better than none, and which of two is better: those of
    /// a table, its key, the value at hand and the one that was found.
    pub is_better: IsBetter,
    /// Tells from what is in force which keys can only be of a later time. Asked if it is not
    /// certain which transaction was the last one.
    pub later: fn(&InForce<'_>) -> Later,
    /// Makes what was copied consistent.
    pub mend: fn(&Path, &Options, &mut Report) -> Result<(), String>,
}

/// Whether a key of a table can only be of a later time.
pub type Later = Box<dyn Fn(&str, &[u8]) -> bool>;

/// What was found in its trees.
pub struct InForce<'t> {
    pub(super) environment: &'t Environment,
    pub(super) txn: &'t heed::RoTxn<'t>,
}

impl InForce<'_> {
    /// The last key of a table.
    pub fn last_key(&self, table: &str) -> Option<Vec<u8>> {
        let table = self.environment.table(table).ok()?;
        table.raw.last(self.txn).ok()?.map(|(key, _)| key.to_vec())
    }
}

impl std::fmt::Debug for Recipe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "recipe of `{}`", self.name)
    }
}

/// What a store that consists of independent records needs.
pub fn nothing_to_mend(_: &Path, _: &Options, _: &mut Report) -> Result<(), String> {
    Ok(())
}

/// Only what is in force.
pub fn never_older(_: &str, _: &[u8], _: Option<&[u8]>, _: &[u8]) -> bool {
    false
}

/// Nothing is.
pub fn never_later(_: &InForce<'_>) -> Later {
    Box::new(|_, _| false)
}

/// Salvages the store in `directory`. `now`: since 1970. Blocks.
pub fn salvage(directory: &Path, recipe: &Recipe, now: Duration) -> Result<Report, OpenError> {
    let io = |error: std::io::Error| OpenError::Io(directory.into(), error.to_string());
    let failed = |why: String| OpenError::Io(directory.into(), format!("salvage: {why}"));
    let _lock = env::lock(directory)?;
    let watch = Watch::new(directory);
    finish(directory).map_err(io)?;
    let data = directory.join(DATA);
    let file = match data.symlink_metadata() {
        Ok(found) if found.is_file() => Some(File::open(&data).map_err(io)?),
        Ok(_) => None, // a directory, or the like, in its place
        Err(_) if watch.id().is_some() => None,
        Err(_) => return Err(OpenError::Missing(directory.into())),
    };
    let raw = file.and_then(|file| RawFile::open(file).ok()).filter(|raw| raw.pages > 0);
    let mut report = Report {
        store: recipe.name.into(),
        at: now.as_secs(),
        why: watch.damage().unwrap_or_default(),
        ..Report::default()
    };
    let fresh = directory.join(FRESH);
    if fresh.symlink_metadata().is_ok() {
        std::fs::remove_dir_all(&fresh).map_err(io)?; // of a salvage that did not come to its end
    }
    let options = Options { reserve: 0, expected: None, ..recipe.options.clone() };
    let id = watch.id();
    {
        let environment = Environment::open(&fresh, &recipe.tables, options.clone())?;
        let mut sink = Sink::new(&environment, recipe);
        if let Some(raw) = &raw {
            sink.fill(raw, &mut report).map_err(&failed)?;
        }
        sink.put_id(id).map_err(&failed)?;
    }
    // Opened anew: of an older format it is brought to that of today first.
    drop(Environment::open(&fresh, &recipe.tables, options.clone())?);
    (recipe.mend)(&fresh, &options, &mut report).map_err(&failed)?;
    let kept = name(directory, now);
    let is_there = data.symlink_metadata().is_ok();
    report.kept = if is_there { kept.clone() } else { String::new() };
    {
        let environment = Environment::open(&fresh, &recipe.tables, options)?;
        report.is_empty = report.records == 0;
        environment.add_report(&report).map_err(&failed)?;
    }
    install(directory, &fresh, &kept).map_err(io)?;
    watch.is_whole();
    Ok(report)
}

/// The last steps: the new file is whole, and on disk.
fn install(directory: &Path, fresh: &Path, kept: &str) -> std::io::Result<()> {
    std::fs::write(fresh.join(WHOLE), kept)?;
    File::open(fresh.join(WHOLE))?.sync_all()?;
    copy::sync_directory(fresh)?;
    finish(directory)
}

/// In `FRESH`: the new file is whole; the name under which the old one is to be kept.
const WHOLE: &str = "whole";

/// Whether the new file of a salvage is whole, and only its place is to be changed.
pub(super) fn is_whole(directory: &Path) -> bool {
    directory.join(FRESH).join(WHOLE).exists()
}

/// Brings a salvage to its end that was cut off in its last steps. Without one it does nothing.
pub(super) fn finish(directory: &Path) -> std::io::Result<()> {
    let fresh = directory.join(FRESH);
    let Ok(kept) = std::fs::read_to_string(fresh.join(WHOLE)) else { return Ok(()) };
    let new = fresh.join(DATA);
    if new.try_exists()? && !kept.is_empty() {
        copy::install(&new, directory, Some(kept.trim()))?;
        let locks = directory.join("lock.mdb");
        if locks.try_exists()? {
            std::fs::remove_file(locks)?; // of those who had the old file open: nobody
        }
    }
    Watch::new(directory).is_whole();
    std::fs::remove_dir_all(&fresh)
}

/// `damaged-2026-11-25T23-10-00Z.mdb`.
fn name(directory: &Path, now: Duration) -> String {
    let text = crate::domain::iso8601::text(now);
    let day: String = text.chars().take(19).map(|c| if c == ':' { '-' } else { c }).collect();
    let names = (1_u32..).map(|n| match n {
        1 => format!("damaged-{day}Z.mdb"),
        n => format!("damaged-{day}Z-{n}.mdb"),
    });
    let is_free = |name: &String| directory.join(name).symlink_metadata().is_err();
    names.into_iter().find(is_free).unwrap_or_default()
}

/// Where what is found goes.
struct Sink<'e> {
    environment: &'e Environment,
    recipe: &'e Recipe,
    found: BTreeMap<&'static str, Found>,
    /// Keys of what the store told of itself: the new one has some of its own.
    told: BTreeSet<Vec<u8>>,
    later: Option<Later>,
}

#[derive(Default)]
struct Found {
    copied: u64,
    older: u64,
}

/// A record that waits to be written.
type Waiting = (Origin, &'static str, Vec<u8>, Vec<u8>);

impl<'e> Sink<'e> {
    fn new(environment: &'e Environment, recipe: &'e Recipe) -> Self {
        let (found, told) = Default::default();
        Sink { environment, recipe, found, told, later: None }
    }

    fn fill(&mut self, raw: &RawFile, report: &mut Report) -> Result<(), String> {
        let tables: Vec<&'static str> =
            [META].into_iter().chain(self.recipe.tables.iter().copied()).collect();
        let (mut waiting, mut bytes) = (Vec::new(), 0);
        let unusable = extract(raw, &tables, &mut |origin, table, key, value| {
            bytes += key.len() + value.len() + 64;
            waiting.push((origin, table, key.to_vec(), value.to_vec()));
            if bytes < BATCH {
                return Ok(());
            }
            bytes = 0;
            self.write(std::mem::take(&mut waiting))
        })?;
        self.write(waiting)?;
        report.wrong = unusable.wrong;
        report.loose_pages = unusable.loose_pages;
        report.is_last_certain = unusable.is_last_certain;
        for (table, damaged) in unusable.values.into_iter().filter(|(_, damaged)| *damaged > 0) {
            report.damaged += damaged;
            report.tables.entry(table.into()).or_default().damaged = damaged;
        }
        for (table, found) in &self.found {
            let of_table = report.tables.entry((*table).into()).or_default();
            (of_table.copied, of_table.older) = (found.copied, found.older);
            if *table != META {
                report.records += found.copied;
            }
        }
        Ok(())
    }

    fn write(&mut self, waiting: Vec<Waiting>) -> Result<(), String> {
        let text = |error: heed::Error| error.to_string();
        let mut txn = self.environment.env.write_txn().map_err(text)?;
        for (origin, table, key, value) in waiting {
            self.put(&mut txn, origin, table, &key, &value)
                .map_err(|fault| format!("{fault:?}"))?;
        }
        txn.commit().map_err(text)
    }

    fn put(
        &mut self,
        txn: &mut RwTxn<'_>,
        origin: Origin,
        table: &'static str,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), Fault> {
        let into = match table {
            META => self.environment.meta,
            table => self.environment.table(table)?,
        };
        let have = into.raw.get(txn, key)?;
        let is_new = if table == META { self.told.insert(key.into()) } else { have.is_none() };
        let is_better = match origin {
            Origin::Live => true,
            Origin::Lost if is_new => true,
            _ if table == META => is_new,
            Origin::Uncertain if is_new && self.is_later(txn, table, key) => true,
            Origin::Lost | Origin::Older | Origin::Uncertain => {
                (self.recipe.is_better)(table, key, have, value)
            }
        };
        if is_better {
            let found = self.found.entry(table).or_default();
            found.copied += u64::from(is_new);
            found.older += u64::from(is_new && matches!(origin, Origin::Older));
            into.raw.put(txn, key, value)?;
        }
        Ok(())
    }

    /// What is in force was written before: pages without a tree are looked through last.
    fn is_later(&mut self, txn: &RwTxn<'_>, table: &str, key: &[u8]) -> bool {
        let environment = self.environment;
        let later = self.recipe.later;
        let later = self.later.get_or_insert_with(|| later(&InForce { environment, txn }));
        later(table, key)
    }

    /// What the file beside the store tells, as far as the store itself did not tell its own.
    fn put_id(&self, known: Option<(StoreId, u64)>) -> Result<(), String> {
        let Some((id, generation)) = known else { return Ok(()) };
        if !self.told.contains(env::ID) {
            self.environment.put_id(id)?;
        }
        if generation > 0 && !self.told.contains(env::GENERATION) {
            self.environment.put_generation(generation)?;
        }
        Ok(())
    }
}
