//! A file that is mostly empty is made small while the queue is in use; a crash at any step leaves
//! all that was acknowledged.

use std::process::{Command, Stdio};

use super::*;

const KILLED: &str = "EDGE_TEST_COMPACTED_QUEUE";

fn file(directory: &Path) -> u64 {
    std::fs::metadata(directory.join("data.mdb")).unwrap().len()
}

/// Fills it with so many messages and ends all but the last ten.
async fn fill_and_drain(store: &QueueStore, messages: usize) {
    let up = Endpoint::upstream();
    let body = "x".repeat(1_000);
    for n in 0..messages / 100 {
        let batch = (0..100)
            .map(|i| (message("d", &format!("{} {body}", n * 100 + i)), vec![win(&up, 10)]));
        store.append(batch.collect()).await.unwrap();
    }
    let rows = pull(store, &up, messages - 10).rows;
    let ends = rows.iter().map(|row| (row.key, End::Delivered)).collect();
    store.finish(up, ends).await.unwrap();
}

#[tokio::test]
async fn a_mostly_empty_file_is_made_small_while_messages_come_and_go() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), TestClock::default());
    let store = open(directory.path(), &clock);
    let up = Endpoint::upstream();
    for round in 0..2 {
        fill_and_drain(&store, 5_000).await;
        let before = file(directory.path());
        assert!(before > 4 << 20, "{before}");
        let compacting = Arc::clone(&store);
        let compacted = tokio::task::spawn_blocking(move || compacting.compact());
        for n in 0..50 {
            store
                .append(vec![(message("d", &format!("late {n}")), vec![win(&up, 10)])])
                .await
                .unwrap();
        }
        let (old, new) = compacted.await.unwrap().unwrap();
        assert!(new * 4 < old && file(directory.path()) < 1 << 20, "{old} to {new}");
        let rows = pull(&store, &up, 1_000).rows;
        assert_eq!(rows.len(), 60, "round {round}");
        assert_eq!(&rows[59].body[..], b"late 49");
        adds_up(&store);
        let ends = rows.iter().map(|row| (row.key, End::Delivered)).collect();
        store.finish(up.clone(), ends).await.unwrap();
    }
    store.append(vec![(message("d", "last"), vec![win(&up, 10)])]).await.unwrap();
    drop(store);
    let store = open(directory.path(), &clock);
    assert_eq!(bodies(&pull(&store, &up, 9).rows), ["last"]);
    adds_up(&store);
    let left: Vec<_> =
        std::fs::read_dir(directory.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with("compact-")), "{left:?}");
}

/// Runs in a process of its own, started by the test below, until it kills itself. Without that it
/// has nothing to do.
#[tokio::test]
async fn compacts_until_it_dies() {
    let Ok(directory) = std::env::var(KILLED) else { return };
    let store = open(Path::new(&directory), &TestClock::default());
    fill_and_drain(&store, 1_000).await;
    println!("compacts");
    store.compact().unwrap();
}

#[test]
fn a_death_at_any_step_leaves_the_old_file_or_the_new_one() {
    for point in ["compact-copied", "compact-renamed"] {
        let directory = tempfile::tempdir().unwrap();
        let test = "store::queue::tests::compact::compacts_until_it_dies";
        let died = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", test])
            .env(KILLED, directory.path())
            .env("EDGE_DIE_AT", point)
            .stderr(Stdio::null())
            .output()
            .unwrap();
        assert!(String::from_utf8_lossy(&died.stdout).contains("compacts"));
        assert!(!died.status.success(), "it did not die at {point}");
        let is_new = file(directory.path()) < 1 << 20;
        assert_eq!(is_new, point == "compact-renamed");
        let store = open(directory.path(), &TestClock::default());
        let rows = pull(&store, &Endpoint::upstream(), 100).rows;
        assert_eq!(rows.len(), 10, "{point}");
        adds_up(&store);
        assert!(!directory.path().join("compact-0").exists());
    }
}
