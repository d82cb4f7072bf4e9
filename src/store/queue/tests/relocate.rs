//! The queue is moved under those who use it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::store::live_copy::{CopyError, clear};

fn relocate(store: &QueueStore, place: &Path) -> Result<PathBuf, CopyError> {
    let (old, _) = store.relocate(place, |_| Seal::New)?;
    Ok(old.directory().to_path_buf())
}

fn files(place: &Path) -> Vec<String> {
    let all = std::fs::read_dir(place).unwrap();
    let mut names: Vec<_> =
        all.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

async fn append(store: &QueueStore, body: &str) {
    let batch = vec![(message("d", body), vec![win(&Endpoint::upstream(), 10)])];
    store.append(batch).await.unwrap();
}

#[tokio::test]
async fn what_is_stored_before_in_and_after_a_move_is_all_there_once_and_in_order() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), TestClock::default());
    let (first, second) = (directory.path().join("first"), directory.path().join("second"));
    std::fs::create_dir(&second).unwrap();
    let store = open(&first, &clock);
    let (id, run) = (store.id(), store.run());
    for n in 0..200 {
        append(&store, &n.to_string()).await;
    }
    let up = Endpoint::upstream();
    let gone = pull(&store, &up, 10).rows.iter().map(|row| (row.key, End::Delivered)).collect();
    store.finish(up.clone(), gone).await.unwrap();
    let is_done = Arc::new(AtomicBool::new(false));
    let (moved, done) = (Arc::clone(&store), Arc::clone(&is_done));
    let to = second.clone();
    let mover = std::thread::spawn(move || {
        let old = relocate(&moved, &to);
        done.store(true, Ordering::SeqCst);
        old
    });
    let mut n = 200;
    while !is_done.load(Ordering::SeqCst) || n < 300 {
        append(&store, &n.to_string()).await;
        n += 1;
    }
    assert_eq!(mover.join().unwrap().unwrap(), first);
    append(&store, &n.to_string()).await;
    assert_eq!((store.id(), store.run()), (id, run));
    assert_eq!(store.in_use().directory(), second);
    let expected: Vec<_> = (10..=n).map(|n| n.to_string()).collect();
    assert_eq!(bodies(&pull(&store, &up, 10_000).rows), expected);
    adds_up(&store);
    drop(store);
    assert_eq!(files(&second), ["data.mdb", "holder", "id", "lock.mdb"]);
    let options = Options { reserve: 0, expected: Some(id), ..Options::queue() };
    let stale = Options { generation: Some(1), ..options.clone() };
    let refused = QueueStore::open(&first, stale, clock.clone());
    assert!(matches!(refused, Err(OpenError::Old(_))), "{refused:?}");
    let live = Options { generation: Some(1), ..options };
    let store = QueueStore::open(&second, live, clock).unwrap();
    assert_eq!(bodies(&pull(&store, &up, 10_000).rows), expected);
    assert!(clear(&first, id, 1).unwrap(), "what is left over goes");
    assert_eq!(files(&first), [""; 0]);
    assert!(clear(&second, StoreId(1), 0).is_err(), "it is in use");
    drop(store);
    assert!(!clear(&second, StoreId(1), 0).unwrap() && !clear(&second, id, 1).unwrap());
    assert_eq!(files(&second), ["data.mdb", "holder", "id", "lock.mdb"]);
}

#[tokio::test]
async fn a_move_that_fails_changes_nothing_and_leaves_nothing() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), TestClock::default());
    let (first, second) = (directory.path().join("first"), directory.path().join("second"));
    let store = open(&first, &clock);
    append(&store, "kept").await;
    let no_place = CopyError::NoPlace(second.clone());
    assert_eq!(relocate(&store, &second), Err(no_place.clone()));
    std::fs::create_dir(&second).unwrap();
    let full = || Seal::Old(CopyError::Full("nowhere".into()));
    let refused = store.relocate(&second, move |_| full()).map(drop);
    assert_eq!(refused, Err(CopyError::Full("nowhere".into())));
    append(&store, "kept too").await;
    assert_eq!(store.in_use().directory(), first);
    // The copy was complete, and does not count: the next move makes another one.
    assert_eq!(relocate(&store, &second), Ok(first.clone()));
    assert_eq!(bodies(&pull(&store, &Endpoint::upstream(), 9).rows), ["kept", "kept too"]);

    let third = directory.path().join("third");
    drop(open(&third, &clock));
    assert_eq!(relocate(&store, &third), Err(CopyError::Taken(third.clone())));
    assert_eq!(files(&third), ["data.mdb", "holder", "id", "lock.mdb"]);
    assert_eq!(relocate(&store, &second), Err(CopyError::Taken(second)), "it lies there");
    append(&store, "still there").await;
    adds_up(&store);
}

#[tokio::test]
async fn when_nobody_knows_which_one_counts_neither_is_written_to() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), TestClock::default());
    let store = open(&directory.path().join("first"), &clock);
    let second = directory.path().join("second");
    std::fs::create_dir(&second).unwrap();
    let sealed: fn(&Environment) -> Seal<CopyError> = |_| panic!("on purpose");
    let lost = store.relocate(&second, sealed).map(drop);
    assert_eq!(lost, Err(StoreError::Unavailable.into()));
    let batch = vec![(message("d", "x"), vec![win(&Endpoint::upstream(), 10)])];
    let answer = store.append(batch).await;
    assert!(matches!(answer, Err(StoreError::Broken(_))), "{answer:?}");
}

#[tokio::test]
async fn a_queue_on_a_full_disk_can_be_moved_away_from_it_and_what_waits_is_written_there() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), TestClock::default());
    let store = open(&directory.path().join("first"), &clock);
    let second = directory.path().join("second");
    std::fs::create_dir(&second).unwrap();
    store.writer().plan([Planned::Commit(28); 50]);
    let mut state = store.state();
    let batch = vec![(message("d", "waits"), vec![win(&Endpoint::upstream(), 10)])];
    let waits = store.append(batch);
    state.wait_for(|state| matches!(state, WriterState::Retrying(_))).await.unwrap();
    relocate(&store, &second).unwrap();
    store.writer().forget_plan();
    waits.await.unwrap();
    assert_eq!(*store.state().borrow(), WriterState::Ready);
    assert_eq!(bodies(&pull(&store, &Endpoint::upstream(), 9).rows), ["waits"]);
}
