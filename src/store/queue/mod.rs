//! Store and forward in LMDB: what is owed to each endpoint, and an account of all that ever was.
//!
//! | table | key | value |
//! |---|---|---|
//! | `head` | `head` | last numbers given, messages in and unrouted, store time |
//! | `endpoints` | name | number, last offset; rows and bytes owed |
//! | `accounts` | number | route, endpoint, input; received, stored, each named end |
//! | `numbers` | hash of route, endpoint, input | number of the account |
//! | `messages` | number | sender, properties, body: once, however many rows it has |
//! | `shared` | number | how many rows (and dead letters) a message has, if more than one |
//! | `rows` | endpoint, priority, offset; account, message | what is owed: see `records.rs` |
//! | `dead` | as in `rows` | when, how often tried, why, the row |
//! | `paused` | route | nothing: it is paused |
//! | `quarantine` | table, key | a damaged value as it was found |
//! | `unrouted` | sender, source | messages that no route took, the last few as a sample |
//! | `seen` | edge | what came over its link: `domain/link/intervals.rs` |
//! | `resent` | sender | its last messages: `domain/resent.rs` |
//! | `lanes` | endpoint, priority, sender | rows owed, and from which offset on, if asked for: `lanes.rs` |
//!
//! Promises: a message is in all the queues it belongs to, or in none; a row and its end are
//! counted in the transaction that makes them, so for every account `received` = `stored` + ends,
//! whenever the process dies. Matching happens in that transaction too, so a table that was
//! replaced is never used after `set_matcher` answered. Offsets of an endpoint grow by one.
//!
//! next: `append.rs`, then `pull.rs`, then `finish.rs`.

mod append;
mod clear;
mod codec;
mod compact;
mod evict;
mod exchange;
mod finish;
mod lag;
mod lanes;
mod ledger;
mod letters;
mod matcher;
mod memory;
mod mend;
mod migrate;
mod operator;
mod peek;
mod pull;
mod records;
mod relocate;
mod status;
mod survey;
#[cfg(test)]
mod tests;
mod trace;
mod unrouted;
mod verify;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

pub use self::append::{Appended, Taken};
pub use self::exchange::Seal;
use self::exchange::Shelf;
use self::ledger::{Books, Ledger};
pub use self::letters::{Fate, Step};
pub use self::matcher::{Lifetime, Link, Matcher, Message, Win};
use self::memory::Memory;
pub use self::memory::TRACED;
pub use self::mend::recipe;
use self::pull::Names;
pub use self::pull::{Cursor, Pulled, Want};
pub use self::relocate::Moving;
pub use self::status::{Counts, Owed, Status};
pub use self::survey::Survey;
use super::clock::Clock;
use super::env::{Environment, OpenError, Options, StoreId, random};
use super::fault::Fault;
use super::table::Table;
use super::writer::{Fill, Kind, Whose, Window, Writer, WriterState};
use crate::domain::budget::Budget;
use crate::domain::row::Endpoint;
use crate::domain::store_time::{Saved, StoreTime};
use crate::messages::chain::Chain;
use crate::messages::state::StoreError;

const TABLES: [&str; 14] = [
    "head",
    "endpoints",
    "accounts",
    "numbers",
    "messages",
    "shared",
    "rows",
    "dead",
    "paused",
    "quarantine",
    "unrouted",
    "seen",
    "resent",
    "lanes",
];

/// See the module documentation. Made once by `bin`; actors share it and may be rebuilt.
pub struct QueueStore {
    writer: Writer<Books>,
    shelf: Arc<Shelf>,
    /// The move in progress, if there is one.
    moving: Mutex<Option<Moving>>,
}

/// What works on the writer thread too.
struct Inner {
    environment: Arc<Environment>,
    tables: Tables,
    common: Arc<Common>,
}

/// What stays when the environment is exchanged.
struct Common {
    clock: Box<dyn Clock>,
    time: StoreTime,
    /// Of the stamps given by this process.
    run: u64,
    rules: RwLock<Rules>,
    names: Mutex<Names>,
    memory: Mutex<Memory>,
}

#[derive(Clone, Copy)]
struct Tables {
    head: Table<'static>,
    endpoints: Table<'static>,
    accounts: Table<'static>,
    numbers: Table<'static>,
    messages: Table<'static>,
    shared: Table<'static>,
    rows: Table<'static>,
    dead: Table<'static>,
    paused: Table<'static>,
    quarantine: Table<'static>,
    unrouted: Table<'static>,
    seen: Table<'static>,
    resent: Table<'static>,
    lanes: Table<'static>,
}

impl Tables {
    fn of(environment: &Environment) -> Self {
        let table = |name| environment.table(name).expect("it was opened with these tables");
        Tables {
            head: table("head"),
            endpoints: table("endpoints"),
            accounts: table("accounts"),
            numbers: table("numbers"),
            messages: table("messages"),
            shared: table("shared"),
            rows: table("rows"),
            dead: table("dead"),
            paused: table("paused"),
            quarantine: table("quarantine"),
            unrouted: table("unrouted"),
            seen: table("seen"),
            resent: table("resent"),
            lanes: table("lanes"),
        }
    }
}

/// What is in force now.
#[derive(Clone, Default)]
struct Rules {
    matcher: Option<Arc<dyn Matcher>>,
    time_to_live: Option<Duration>,
    paused: Arc<BTreeSet<String>>,
    budget: Budget,
}

impl std::fmt::Debug for QueueStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "queue store, {:?}", self.writer)
    }
}

impl QueueStore {
    /// Opens the queue in `directory`, or makes one, and starts its writer. Blocks. Counts of a
    /// queue that was not stopped cleanly are right: they are written with what they count.
    pub fn open(
        directory: &Path,
        options: Options,
        clock: impl Clock + 'static,
    ) -> Result<Arc<Self>, OpenError> {
        let unclear = |error: std::io::Error| OpenError::Io(directory.into(), error.to_string());
        compact::clear(directory).map_err(unclear)?;
        let environment = Arc::new(Self::environment(directory, options)?);
        let at = || directory.to_path_buf();
        let damaged = |error: StoreError| OpenError::Damaged(at(), error.to_string());
        let tables = Tables::of(&environment);
        let saved = {
            let txn = environment.read().map_err(damaged)?;
            let head = ledger::head(&tables, &txn).map_err(|fault| damaged(fault.for_reader()))?;
            head.time
        };
        let common = Common {
            time: StoreTime::resume(saved, clock.read()),
            clock: Box::new(clock),
            run: random() as u64,
            rules: RwLock::default(),
            names: Mutex::default(),
            memory: Mutex::default(),
        };
        let inner = Inner::of(Arc::clone(&environment), Arc::new(common));
        let paused = inner.check().map_err(damaged)?;
        inner.set_rules(|rules| rules.paused = Arc::new(paused));
        let shelf = Arc::new(Shelf::new(inner));
        let keeper = Box::new(evict::Keeper::new(Arc::clone(&shelf)));
        let writer = Writer::start_with(environment, Window::default(), Some(keeper));
        let writer = writer.map_err(|error| OpenError::Io(at(), error.to_string()))?;
        Ok(Arc::new(QueueStore { writer, shelf, moving: Mutex::default() }))
    }

    /// Messages are matched with this from now on. Answers once it is in force: what was handed
    /// in before is either on disk by then, or will be matched with this.
    pub fn set_matcher(
        &self,
        matcher: Arc<dyn Matcher>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send + 'static + use<> {
        self.inner().set_rules(|rules| rules.matcher = Some(matcher));
        self.writer.submit(Kind::Vital, 1, |_, _| Ok(())) // a transaction that began before is over
    }

    /// Whether there is a matcher yet.
    pub fn has_matcher(&self) -> bool {
        self.inner().rules().matcher.is_some()
    }

    /// The time to live of messages whose route names none. `None`: they live for ever.
    pub fn set_time_to_live(&self, time_to_live: Option<Duration>) {
        self.inner().set_rules(|rules| rules.time_to_live = time_to_live);
    }

    /// How much of the disk may be used, and what happens then; at once.
    pub fn set_budget(&self, budget: Budget) {
        self.inner().set_rules(|rules| rules.budget = budget);
    }

    /// The budget in force.
    pub fn budget(&self) -> Budget {
        self.inner().rules().budget
    }

    /// Messages that nobody will send again, and for which there was no room.
    pub fn count_refused(
        &self,
        messages: u64,
    ) -> impl Future<Output = Result<(), StoreError>> + Send + 'static + use<> {
        let shelf = Arc::clone(&self.shelf);
        self.writer.submit(Kind::Vital, 1, move |txn, books| {
            books.ledger(&shelf.now(), txn)?.head.refused += messages;
            Ok(())
        })
    }

    /// Matches messages and stores them, in one transaction; order of calling is order of offsets.
    pub fn ingest(
        &self,
        messages: Vec<Message>,
    ) -> impl Future<Output = Result<Appended, StoreError>> + Send + 'static + use<> {
        self.ingest_next(messages, None)
    }

    /// The same, as the next batch of a chain.
    pub fn ingest_next(
        &self,
        messages: Vec<Message>,
        chain: Option<Chain>,
    ) -> impl Future<Output = Result<Appended, StoreError>> + Send + 'static + use<> {
        let (shelf, size) = (Arc::clone(&self.shelf), append::size(messages.iter()));
        let party = messages.first().map(|message| message.sender.as_str().into());
        let whose = Whose { party, chain };
        self.writer.append(size, whose, move |txn, books| shelf.now().ingest(txn, books, &messages))
    }

    /// Stores messages of which it is known already where they go.
    pub fn append(
        &self,
        batch: Vec<(Message, Vec<Win>)>,
    ) -> impl Future<Output = Result<Appended, StoreError>> + Send + 'static + use<> {
        let size = append::size(batch.iter().map(|(message, _)| message));
        let party = batch.first().map(|(message, _)| message.sender.as_str().into());
        let shelf = Arc::clone(&self.shelf);
        let whose = Whose { party, chain: None };
        self.writer.append(size, whose, move |txn, books| {
            let batch = batch.iter().map(|(message, wins)| (message, wins.clone()));
            shelf.now().append(txn, books, batch)
        })
    }

    /// Reads rows that are owed; never waits. If `rest` is there, nothing was found yet and the
    /// search is to be continued with it: as if all of it were one read.
    pub fn pull(
        &self,
        endpoint: &Endpoint,
        want: &Want<'_>,
        rest: Option<Cursor>,
    ) -> Result<Pulled, StoreError> {
        self.read(self.inner().pull(endpoint, want, rest))
    }

    /// Persists store time, so that what is owed ages while nothing else is written.
    pub fn tick(&self) -> impl Future<Output = Result<(), StoreError>> + Send + 'static + use<> {
        let shelf = Arc::clone(&self.shelf);
        self.writer.submit(Kind::Vital, 1, move |txn, books| {
            let inner = shelf.now();
            books.ledger(&inner, txn)?.time = inner.saved_time();
            Ok(())
        })
    }

    /// The answer of a read. One that met what no sound store has is the last: the writer is told,
    /// and with it whoever watches how it does, and the next start salvages.
    fn read<T>(&self, answer: Result<T, Fault>) -> Result<T, StoreError> {
        if let Some(why) = answer.as_ref().err().and_then(Fault::damage) {
            let corrupt =
                move |_: &mut heed::RwTxn<'_>, _: &mut _| Err::<(), _>(Fault::Corrupt(why.clone()));
            drop(self.writer.submit(Kind::Vital, 1, corrupt)); // in line; nobody waits for it
        }
        answer.map_err(Fault::for_reader)
    }

    /// Store time now.
    pub fn now(&self) -> Duration {
        self.inner().now()
    }

    /// Number of the run that stamps carry.
    pub fn run(&self) -> u64 {
        self.inner().common.run
    }

    /// Which store it is.
    pub fn id(&self) -> StoreId {
        self.inner().environment.id()
    }

    /// How full the store is; can be waited on.
    pub fn fill(&self) -> tokio::sync::watch::Receiver<Fill> {
        self.writer.fill()
    }

    /// How the writer does. `Broken`: the process has to exit.
    pub fn state(&self) -> tokio::sync::watch::Receiver<WriterState> {
        self.writer.state()
    }

    /// The writer, for planned failures.
    #[cfg(test)]
    fn writer(&self) -> &Writer<Books> {
        &self.writer
    }

    /// The next failures of the writer, for tests.
    #[cfg(any(test, feature = "faults"))]
    pub fn plan(&self, failures: impl IntoIterator<Item = super::writer::Planned>) {
        self.writer.plan(failures);
    }
}

impl Inner {
    fn of(environment: Arc<Environment>, common: Arc<Common>) -> Self {
        Inner { tables: Tables::of(&environment), environment, common }
    }

    fn now(&self) -> Duration {
        self.common.time.at(self.common.clock.read())
    }

    fn saved_time(&self) -> Saved {
        let reading = self.common.clock.read();
        Saved { at: self.common.time.at(reading), reading }
    }

    fn rules(&self) -> Rules {
        self.common.rules.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_rules(&self, change: impl FnOnce(&mut Rules)) {
        change(&mut self.common.rules.write().unwrap_or_else(PoisonError::into_inner));
    }
}
