//! Damaged records end as quarantined, everything else goes on; a killed process loses nothing.

use std::process::{Command, Stdio};

use super::*;
use crate::store::tests::flip;

#[tokio::test]
async fn damaged_rows_and_messages_are_named_and_their_ends_are_counted() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), TestClock::default());
    let store = open(directory.path(), &clock);
    let (up, module) = (Endpoint::upstream(), client("d/m"));
    let batch = vec![
        (message("good", "first"), vec![win(&up, 10)]),
        (message("d", "BODY-MARK"), vec![win(&up, 10), win(&module, 10)]),
        (message("SENDER-MARK", "second"), vec![win(&up, 10)]),
        (message("good", "third"), vec![win(&up, 10)]),
    ];
    store.append(batch).await.unwrap();
    drop(store);
    let data = directory.path().join("data.mdb");
    flip(&data, b"BODY-MARK"); // in the message
    flip(&data, b"SENDER-MARK"); // in the message and in the row
    let store = open(directory.path(), &clock);
    let pulled = pull(&store, &up, 10);
    assert_eq!(bodies(&pulled.rows), ["first", "third"]);
    assert_eq!(pulled.damaged.len(), 2);
    let ends = |keys: &[Key]| keys.iter().map(|key| (*key, End::Quarantined)).collect::<Vec<_>>();
    store.finish(up.clone(), ends(&pulled.damaged)).await.unwrap();
    adds_up(&store);
    let inputs = pull(&store, &module, 10);
    assert_eq!((inputs.rows.len(), inputs.damaged.len()), (0, 1));
    store.finish(module, ends(&inputs.damaged)).await.unwrap();
    adds_up(&store);
    let status = store.status().unwrap();
    let quarantined: Vec<_> = status.accounts.iter().map(|account| account.ends[5]).collect();
    assert_eq!(quarantined, [2, 1]);
    assert_eq!(bodies(&pull(&store, &up, 10).rows), ["first", "third"]);
    let inner = store.inner();
    let txn = inner.environment.read().unwrap();
    assert_eq!(inner.tables.quarantine.raw.len(&txn).unwrap(), 5, "3 rows, 2 messages");
}

#[test]
fn a_queue_whose_accounts_are_damaged_is_not_opened() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), TestClock::default());
    let store = open(directory.path(), &clock);
    let append = store.append(vec![(message("d", "x"), vec![win(&Endpoint::upstream(), 10)])]);
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(append).unwrap();
    drop(store);
    flip(&directory.path().join("data.mdb"), b"to $upstream at 10");
    let options = Options { reserve: 0, ..Options::queue() };
    let refused = QueueStore::open(directory.path(), options, clock);
    assert!(matches!(refused, Err(OpenError::Damaged(..))), "{refused:?}");
}

const KILLED: &str = "EDGE_TEST_KILLED_QUEUE";

/// Runs in a process of its own, started by the test below: appends and acknowledges until it is
/// killed. Without that it has nothing to do.
#[tokio::test]
async fn appends_until_it_is_killed() {
    let Ok(directory) = std::env::var(KILLED) else { return };
    let store = open(Path::new(&directory), &TestClock::default());
    let up = Endpoint::upstream();
    for n in 0.. {
        let batch = (0..7).map(|m| (message("d", &format!("{n} {m}")), vec![win(&up, 10)]));
        store.append(batch.collect()).await.unwrap();
        let rows = pull(&store, &up, 3).rows;
        let ends = rows.iter().map(|row| (row.key, End::Delivered)).collect();
        store.finish(up.clone(), ends).await.unwrap();
        let last = rows.last().unwrap().key.offset.0;
        println!("acked {} {last}", (n + 1) * 7);
    }
}

#[test]
fn what_was_acknowledged_survives_a_kill_and_everything_adds_up() {
    use std::io::{BufRead, BufReader};
    let directory = tempfile::tempdir().unwrap();
    for round in 0..3 {
        let place = directory.path().join(round.to_string());
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "--nocapture",
                "store::queue::tests::damage::appends_until_it_is_killed",
            ])
            .env(KILLED, &place)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut acked = (0, 0);
        let mut note = |line: String| {
            // The name of the test may stand before the first one.
            let Some(at) = line.find("acked ") else { return };
            let mut numbers = line[at + 6..].split(' ').map(|n| n.parse::<u64>().unwrap());
            acked = (numbers.next().unwrap(), numbers.next().unwrap());
        };
        (0..30 + round * 17).for_each(|_| note(lines.next().unwrap().unwrap()));
        child.kill().unwrap();
        child.wait().unwrap();
        lines
            .map_while(Result::ok)
            .filter(|line| line.ends_with(|c: char| c.is_ascii_digit()))
            .for_each(note);
        let store = open(&place, &TestClock::default());
        adds_up(&store);
        let account = store.status().unwrap().accounts.remove(0);
        let rows = pull(&store, &Endpoint::upstream(), usize::MAX).rows;
        assert!(account.received >= acked.0 && account.received.is_multiple_of(7), "whole batches");
        assert!(account.ends[0] >= acked.1);
        let owed: Vec<u64> = rows.iter().map(|row| row.key.offset.0).collect();
        let expected: Vec<u64> = (account.ends[0] + 1..=account.received).collect();
        assert_eq!(owed, expected, "what was delivered is gone, all else is there, in order");
    }
}
