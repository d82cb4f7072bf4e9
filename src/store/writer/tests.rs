//! Planned failures: what is answered is on disk, what is on disk is whole.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;

use super::*;
use crate::store::Options;

const ENOSPC: i32 = 28;
const EIO: i32 = 5;

fn open(directory: &Path) -> (Arc<Environment>, Writer<Marks>) {
    open_with(directory, Duration::from_millis(2))
}

fn open_with(directory: &Path, pause: Duration) -> (Arc<Environment>, Writer<Marks>) {
    let options = Options { reserve: 0, ..Options::queue() };
    let environment = Arc::new(Environment::open(directory, &["t"], options).unwrap());
    let window = Window { pause, ..Window::default() };
    let writer = Writer::start(Arc::clone(&environment), window).unwrap();
    (environment, writer)
}

/// Writes, at the end of a transaction, how much of its work has noted something.
#[derive(Default)]
struct Marks(Option<(crate::store::table::Table<'static>, u8)>);

impl Shared for Marks {
    fn write(&mut self, txn: &mut RwTxn<'_>) -> Result<(), Fault> {
        let Some((table, count)) = self.0.take() else { return Ok(()) };
        Ok(table.put(txn, 9, b"marks", &[&[count]])?)
    }
}

type Answer = std::pin::Pin<Box<dyn Future<Output = Result<u8, StoreError>> + Send>>;

/// Writes `n` under itself and answers with it.
fn put(environment: &Environment, writer: &Writer<Marks>, kind: Kind, n: u8) -> Answer {
    let table = environment.table("t").unwrap();
    Box::pin(writer.submit(kind, 1, move |txn, _| {
        table.put(txn, 9, &[n], &[&[n]])?;
        Ok(n)
    }))
}

fn keys(environment: &Environment) -> Vec<u8> {
    let txn = environment.read().unwrap();
    let table = environment.table("t").unwrap();
    let all = (std::ops::Bound::Unbounded, std::ops::Bound::Unbounded);
    table.range(&txn, 9, &all).unwrap().map(|pair| pair.unwrap().1.unwrap()[0]).collect()
}

#[tokio::test]
async fn what_waits_is_committed_in_one_transaction() {
    let directory = tempfile::tempdir().unwrap();
    let (environment, writer) = open(directory.path());
    put(&environment, &writer, Kind::Append, 0).await.unwrap();
    let before = writer.commits();
    let all = (1..=200).map(|n| put(&environment, &writer, Kind::Append, n));
    let answers = join_all(all.collect::<Vec<_>>()).await;
    assert_eq!(answers, (1..=200).map(Ok).collect::<Vec<_>>());
    let commits = writer.commits() - before;
    assert!((1..=4).contains(&commits), "{commits} commits for 200 writes");
}

#[tokio::test]
async fn ends_are_written_with_the_appends_that_come_next_or_with_vital_work() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { reserve: 0, ..Options::queue() };
    let environment = Arc::new(Environment::open(directory.path(), &["t"], options).unwrap());
    let minute = Duration::from_secs(60);
    let window = Window { hold: minute, lately: minute, ..Window::default() };
    let writer = Writer::start(Arc::clone(&environment), window).unwrap();
    for company in [Kind::Append, Kind::Vital] {
        put(&environment, &writer, Kind::Append, 0).await.unwrap();
        let before = writer.commits();
        let ends = [1, 2].map(|n| put(&environment, &writer, Kind::End, n));
        let last = put(&environment, &writer, company, 3);
        assert_eq!(join_all(ends.into_iter().chain([last])).await, [Ok(1), Ok(2), Ok(3)]);
        assert_eq!(writer.commits() - before, 1, "{company:?}");
    }
    let alone = put(&environment, &writer, Kind::End, 4);
    drop(writer);
    assert_eq!(alone.await, Ok(4), "who stops waits for nothing");
}

#[tokio::test]
async fn what_work_shares_is_written_once_and_not_for_work_that_failed() {
    let directory = tempfile::tempdir().unwrap();
    let (environment, writer) = open_with(directory.path(), Duration::from_millis(500));
    let table = environment.table("t").unwrap();
    let mark = |is_refused: bool| {
        writer.submit(Kind::Append, 1, move |_, marks: &mut Marks| {
            marks.0 = Some((table, 1 + marks.0.map_or(0, |(_, count)| count)));
            if is_refused { Err(StoreError::Stale.into()) } else { Ok(()) }
        })
    };
    put(&environment, &writer, Kind::Append, 0).await.unwrap(); // so that those wait for a moment
    let three = join_all([mark(false), mark(false), mark(false)]).await;
    assert!(three.iter().all(Result::is_ok));
    assert_eq!(keys(&environment), [0, 3]);
    let alone = join_all([mark(false), mark(true), mark(false)]).await;
    assert_eq!(alone, [Ok(()), Err(StoreError::Stale), Ok(())]);
    assert_eq!(keys(&environment), [0, 1], "each by itself, as one of them failed");
}

#[tokio::test]
async fn work_that_fails_or_panics_fails_alone_and_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (environment, writer) = open(directory.path());
    let table = environment.table("t").unwrap();
    let good = put(&environment, &writer, Kind::Append, 1);
    let refused = writer.submit(Kind::Append, 1, move |txn, _| {
        table.put(txn, 9, &[2], &[&[2]])?;
        Err::<(), _>(StoreError::Stale.into())
    });
    let panicked = writer.submit(Kind::Append, 1, move |txn, _| -> Result<(), Fault> {
        table.put(txn, 9, &[3], &[&[3]])?;
        panic!("on purpose")
    });
    let last = put(&environment, &writer, Kind::Append, 4);
    assert_eq!(last.await, Ok(4));
    assert_eq!(good.await, Ok(1));
    assert_eq!(refused.await, Err(StoreError::Stale));
    let why = StoreError::Broken("a write panicked: on purpose".into());
    assert_eq!(panicked.await, Err(why));
    assert_eq!(keys(&environment), [1, 4]);
    assert_eq!(*writer.state().borrow(), WriterState::Ready);
}

#[tokio::test]
async fn nothing_is_written_behind_what_failed_in_its_chain() {
    let directory = tempfile::tempdir().unwrap();
    let (environment, writer) = open(directory.path());
    let table = environment.table("t").unwrap();
    let append = |chain: &Chain, n: u8, is_refused: bool| {
        let whose = Whose { party: None, chain: Some(chain.clone()) };
        writer.append(Size { weight: 1, bytes: 1 }, whose, move |txn, _| {
            table.put(txn, 9, &[n], &[&[n]])?;
            if is_refused { Err(StoreError::Stale.into()) } else { Ok(n) }
        })
    };
    let (one, other) = (Chain::default(), Chain::default());
    let all = [(&one, 1, false), (&one, 2, true), (&one, 3, false), (&other, 4, false)];
    let answers = join_all(all.map(|(chain, n, is_refused)| append(chain, n, is_refused))).await;
    let unavailable = || Err(StoreError::Unavailable);
    assert_eq!(answers, [Ok(1), Err(StoreError::Stale), unavailable(), Ok(4)]);
    assert_eq!((one.in_line(), other.in_line()), (3, 1));
    writer.plan([Planned::PanicBeforeCommit]);
    assert_eq!(append(&other, 5, false).await, unavailable(), "it was lost");
    assert_eq!(append(&other, 6, false).await, unavailable());
    assert_eq!(append(&Chain::default(), 7, false).await, Ok(7), "another connection");
    assert_eq!(keys(&environment), [1, 4, 7]);
}

#[tokio::test]
async fn a_full_disk_delays_answers_of_appends_but_not_vital_work() {
    let directory = tempfile::tempdir().unwrap();
    let (environment, writer) = open(directory.path());
    writer.plan([Planned::CommitOfAppends(ENOSPC), Planned::CommitOfAppends(ENOSPC)]);
    let order = Arc::new(AtomicUsize::new(0));
    let note = |answer: Answer, order: Arc<AtomicUsize>| async move {
        (answer.await, order.fetch_add(1, Ordering::SeqCst))
    };
    let mut state = writer.state();
    let append = put(&environment, &writer, Kind::Append, 1);
    state.wait_for(|state| matches!(state, WriterState::Retrying(_))).await.unwrap();
    let vital = put(&environment, &writer, Kind::Vital, 2);
    let both = tokio::join!(note(append, Arc::clone(&order)), note(vital, Arc::clone(&order)));
    assert_eq!(both, ((Ok(1), 1), (Ok(2), 0)));
    assert_eq!(keys(&environment), [1, 2]);
    state.wait_for(|state| *state == WriterState::Ready).await.unwrap();
}

#[tokio::test]
async fn a_panic_before_the_commit_writes_nothing_and_one_after_it_all() {
    let directory = tempfile::tempdir().unwrap();
    let (environment, writer) = open(directory.path());
    writer.plan([Planned::PanicBeforeCommit]);
    let lost = put(&environment, &writer, Kind::Append, 1).await;
    writer.plan([Planned::PanicAfterCommit]);
    let unanswered = put(&environment, &writer, Kind::Append, 2).await;
    assert_eq!([lost, unanswered], [Err(StoreError::Unavailable), Err(StoreError::Unavailable)]);
    assert_eq!(put(&environment, &writer, Kind::Append, 3).await, Ok(3), "the thread goes on");
    drop((environment, writer));
    let (environment, _writer) = open(directory.path());
    assert_eq!(keys(&environment), [2, 3]);
}

#[tokio::test]
async fn a_broken_environment_is_answered_and_reported_for_good() {
    let directory = tempfile::tempdir().unwrap();
    let (environment, writer) = open(directory.path());
    writer.plan([Planned::Broken]);
    let first = put(&environment, &writer, Kind::Vital, 1).await;
    assert!(matches!(first, Err(StoreError::Broken(_))), "{first:?}");
    let second = put(&environment, &writer, Kind::Append, 2).await;
    assert!(matches!(second, Err(StoreError::Broken(_))), "{second:?}");
    assert!(matches!(*writer.state().borrow(), WriterState::Broken(_)));
    drop((environment, writer));
    let (environment, _writer) = open(directory.path());
    assert_eq!(keys(&environment), [0u8; 0]);
}

#[tokio::test]
async fn a_stop_writes_what_waits_and_takes_nothing_more() {
    let directory = tempfile::tempdir().unwrap();
    let (environment, writer) = open(directory.path());
    let waiting: Vec<_> = (0..50).map(|n| put(&environment, &writer, Kind::Append, n)).collect();
    writer.stop();
    let late = put(&environment, &writer, Kind::Append, 60).await;
    assert_eq!(late, Err(StoreError::Unavailable));
    let mut state = writer.state();
    drop(writer);
    assert_eq!(*state.borrow_and_update(), WriterState::Stopped);
    assert_eq!(keys(&environment), (0..50).collect::<Vec<_>>());
    assert!(join_all(waiting).await.iter().all(Result::is_ok));
}

#[tokio::test]
async fn a_stop_on_a_full_disk_ends_without_answering_ok() {
    let directory = tempfile::tempdir().unwrap();
    let (environment, writer) = open(directory.path());
    writer.plan([Planned::Commit(ENOSPC); 5]);
    let mut state = writer.state();
    let waiting = put(&environment, &writer, Kind::Append, 1);
    state.wait_for(|state| matches!(state, WriterState::Retrying(_))).await.unwrap();
    drop(writer);
    assert_eq!(waiting.await, Err(StoreError::Unavailable));
    assert_eq!(keys(&environment), [0u8; 0]);
}

#[tokio::test]
async fn more_work_than_may_wait_is_taken_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let (environment, writer) = open(directory.path());
    let table = environment.table("t").unwrap();
    let many = (0..CAPACITY as u64 + 500).map(|n| {
        writer.submit(Kind::Append, 1, move |txn, _| {
            Ok(table.put(txn, 9, &n.to_be_bytes(), &[&[1]])?)
        })
    });
    let answers = join_all(many.collect::<Vec<_>>()).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(keys(&environment).len(), CAPACITY + 500);
}

#[tokio::test]
async fn a_device_that_is_unplugged_breaks_the_store_as_what_is_open_stays_dead() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("usb");
    let (environment, writer) = open(&place);
    writer.plan([Planned::Commit(EIO)]);
    let hiccup = put(&environment, &writer, Kind::Append, 1).await;
    assert_eq!(hiccup, Ok(1), "it is there: tried again");
    std::fs::rename(&place, directory.path().join("away")).unwrap();
    assert_eq!(put(&environment, &writer, Kind::Append, 2).await, Ok(2), "no error, no trouble");
    writer.plan([Planned::Commit(EIO)]);
    let lost = put(&environment, &writer, Kind::Append, 3).await;
    assert!(matches!(&lost, Err(StoreError::Broken(why)) if why.contains("gone")), "{lost:?}");
}
