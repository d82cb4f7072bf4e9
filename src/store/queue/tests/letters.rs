//! Dead letters: none is lost or there twice, whatever becomes of them.

use std::process::{Command, Stdio};

use super::*;
use crate::messages::dead_letters::Progress;
use crate::store::env::Environment;
use crate::store::queue::codec::Writer as Payload;
use crate::store::queue::records::RowKey;

fn dead(why: &str) -> End {
    End::DeadLettered { why: why.into(), tries: 2 }
}

fn offsets(store: &QueueStore, pick: &Pick) -> Vec<u64> {
    let letters = store.dead_letters(pick, Offset(0), 100, false).unwrap();
    letters.iter().map(|letter| letter.known.offset).collect()
}

async fn settle(store: &QueueStore, pick: Pick, fate: Fate) -> Progress {
    let (done, rest) = store.settle(pick, fate, None).await.unwrap();
    assert!(rest.is_none());
    adds_up(store);
    done
}

/// Four messages: of two routes, all refused.
async fn refused(store: &QueueStore) -> Endpoint {
    let up = Endpoint::upstream();
    let batch = [3, 10, 3, 10].into_iter().enumerate();
    let batch = batch.map(|(n, at)| (message("d", &n.to_string()), vec![win(&up, at)]));
    store.append(batch.collect()).await.unwrap();
    let ends = pull(store, &up, 9).rows.iter().map(|row| (row.key, dead("400 no"))).collect();
    store.finish(up.clone(), ends).await.unwrap();
    adds_up(store);
    up
}

#[tokio::test]
async fn a_letter_is_picked_by_route_by_offset_or_with_all_and_is_replayed_or_dropped() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), TestClock::default());
    let store = open(directory.path(), &clock);
    let up = refused(&store).await;
    let all = Pick::all(up.clone());
    assert_eq!(offsets(&store, &all), [1, 2, 3, 4], "by offset, across priorities");
    let of_route = Pick { route: Some("to $upstream at 3".into()), ..all.clone() };
    assert_eq!(offsets(&store, &of_route), [1, 3]);
    let after = store.dead_letters(&all, Offset(2), 1, false).unwrap();
    assert_eq!((after.len(), after[0].known.offset), (1, 3));
    assert_eq!(store.status().unwrap().accounts[0].dead_bytes, 8);

    let done = settle(&store, of_route, Fate::Replay).await;
    assert_eq!((done.messages, done.bytes), (2, 8));
    let rows = pull(&store, &up, 9).rows;
    assert_eq!(bodies(&rows), ["0", "2"]);
    let places: Vec<_> = rows.iter().map(|row| (row.key.priority.0, row.key.offset.0)).collect();
    assert_eq!(places, [(3, 5), (3, 6)], "new offsets, and new stamps with them");
    assert!(rows.iter().all(|row| row.stamp.is_some_and(|it| it.seq == row.key.offset.0)));

    let one = Pick { offsets: Some(vec![Offset(4), Offset(77)]), ..all.clone() };
    assert_eq!(settle(&store, one.clone(), Fate::Drop).await.messages, 1);
    assert_eq!(settle(&store, one, Fate::Drop).await.messages, 0, "it is gone");
    let ends = rows.iter().map(|row| (row.key, dead("413"))).collect();
    store.finish(up.clone(), ends).await.unwrap();
    assert_eq!(settle(&store, all.clone(), Fate::Replay).await.messages, 3);
    assert_eq!(bodies(&pull(&store, &up, 9).rows), ["0", "2", "1"]);
    assert!(offsets(&store, &all).is_empty());
    let status = store.status().unwrap();
    let figures = |a: &Counts| (a.received, a.stored, a.ends, a.replayed, a.dropped);
    let figures: Vec<_> = status.accounts.iter().map(figures).collect();
    assert_eq!(figures, [(2, 2, [0; 6], 4, 0), (2, 1, [0, 0, 0, 0, 1, 0], 1, 1)]);
}

#[tokio::test]
async fn a_replayed_letter_lives_anew_and_is_stamped_by_the_run_that_sends_it() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), TestClock::default());
    let store = open(directory.path(), &clock);
    let up = refused(&store).await;
    let first = store.run();
    drop(store);
    let store = open(directory.path(), &clock);
    store.set_time_to_live(Some(Duration::from_secs(60)));
    clock.advance(100);
    let letters = store.dead_letters(&Pick::all(up.clone()), Offset(0), 1, true).unwrap();
    let DeadLetter { age_seconds, tries, .. } = letters[0].known;
    assert_eq!((age_seconds, tries), (100, 2), "dead letters do not expire");
    assert_eq!(letters[0].properties["a"], "1");
    settle(&store, Pick::all(up.clone()), Fate::Replay).await;
    let rows = pull(&store, &up, 9).rows;
    assert_eq!(rows.len(), 4);
    assert!(rows.iter().all(|row| row.stamp.is_some_and(|it| it.run == store.run())));
    assert_ne!(store.run(), first);
}

#[tokio::test]
async fn many_letters_go_in_parts_and_those_that_die_meanwhile_are_left() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), TestClock::default());
    let store = open(directory.path(), &clock);
    let up = Endpoint::upstream();
    let batch = (0..1_200).map(|n| (message("d", &n.to_string()), vec![win(&up, 10)]));
    store.append(batch.collect()).await.unwrap();
    let kill = async |max| {
        let rows = pull(&store, &up, max).rows;
        let ends = rows.iter().map(|row| (row.key, dead("no"))).collect();
        store.finish(up.clone(), ends).await.unwrap();
    };
    kill(2_000).await;
    let (mut rest, mut parts) = (None, Vec::new());
    loop {
        let (done, left) = store.settle(Pick::all(up.clone()), Fate::Replay, rest).await.unwrap();
        parts.push(done.messages);
        kill(10).await; // refused again at once
        adds_up(&store);
        rest = left;
        if rest.is_none() {
            break;
        }
    }
    assert_eq!(parts, [500, 500, 200]);
    assert_eq!(offsets(&store, &Pick::all(up.clone())).len(), 30);
}

#[tokio::test]
async fn a_damaged_letter_is_quarantined_and_holds_up_no_other() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), TestClock::default());
    let store = open(directory.path(), &clock);
    let up = Endpoint::upstream();
    let batch = ["d", "SENDER-MARK"].map(|sender| (message(sender, "x"), vec![win(&up, 10)]));
    store.append(batch.into()).await.unwrap();
    let ends = pull(&store, &up, 9).rows.iter().map(|row| (row.key, dead("no"))).collect();
    store.finish(up.clone(), ends).await.unwrap();
    drop(store);
    crate::store::tests::flip(&directory.path().join("data.mdb"), b"SENDER-MARK");
    let store = open(directory.path(), &clock);
    assert_eq!(settle(&store, Pick::all(up.clone()), Fate::Replay).await.messages, 1);
    let account = store.status().unwrap().accounts.remove(0);
    assert_eq!((account.stored, account.ends, account.dead_bytes), (1, [0, 0, 0, 0, 0, 1], 0));
}

const KILLED: &str = "EDGE_TEST_KILLED_LETTERS";

/// Runs in a process of its own, started by the test below, until it is killed.
#[tokio::test]
async fn letters_are_made_replayed_and_dropped_until_it_is_killed() {
    let Ok(directory) = std::env::var(KILLED) else { return };
    let store = open(Path::new(&directory), &TestClock::default());
    let up = Endpoint::upstream();
    let batch = (0..50).map(|n| (message("d", &n.to_string()), vec![win(&up, 10)]));
    store.append(batch.collect()).await.unwrap();
    println!("begun 0");
    for n in 0.. {
        let rows = pull(&store, &up, 10).rows;
        let ends = rows.iter().map(|row| (row.key, dead("no"))).collect();
        store.finish(up.clone(), ends).await.unwrap();
        let letters = offsets(&store, &Pick::all(up.clone()));
        let dropped = Pick { offsets: Some(vec![Offset(letters[0])]), ..Pick::all(up.clone()) };
        if n % 20 == 0 {
            store.settle(dropped, Fate::Drop, None).await.unwrap();
        }
        store.settle(Pick::all(up.clone()), Fate::Replay, None).await.unwrap();
        println!("round {n}");
    }
}

#[test]
fn a_kill_at_any_point_loses_no_letter_and_doubles_none() {
    use std::io::{BufRead, BufReader};
    for round in 0..5 {
        let directory = tempfile::tempdir().unwrap();
        let name = "store::queue::tests::letters::letters_are_made_replayed_and_dropped_until_it_is_killed";
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", name])
            .env(KILLED, directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let rounds = 3 + round * 13;
        let is_there = |line: &String| line.ends_with(&format!("round {rounds}"));
        lines.by_ref().map_while(Result::ok).find(is_there).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let store = open(directory.path(), &TestClock::default());
        adds_up(&store);
        let up = Endpoint::upstream();
        let rows = pull(&store, &up, usize::MAX).rows;
        let letters = store.dead_letters(&Pick::all(up), Offset(0), 1_000, true).unwrap();
        let letters = letters.into_iter().map(|letter| letter.body.unwrap());
        let mut there: Vec<_> = rows.iter().map(|row| row.body.to_vec()).chain(letters).collect();
        let account = store.status().unwrap().accounts.remove(0);
        assert!(account.dropped > 0 && account.replayed > 0);
        assert_eq!(there.len() as u64 + account.dropped, 50, "lost, or there twice");
        there.sort();
        there.dedup();
        assert_eq!(there.len() as u64 + account.dropped, 50, "there twice");
    }
}

/// As format 1 wrote it.
#[tokio::test]
async fn a_queue_of_the_first_format_is_brought_to_the_last() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), TestClock::default());
    let options = || Options { reserve: 0, ..Options::queue() };
    {
        let environment = Environment::open(directory.path(), &TABLES, options()).unwrap();
        let tables = Tables::of(&environment);
        let mut txn = environment.env.write_txn().unwrap();
        let row = Payload::default().u64(0).u64(u64::MAX).u64(4).u8(1).u64(3).text("d").0;
        let key = |offset, message| RowKey {
            endpoint: 1,
            key: Key { priority: Priority(10), offset: Offset(offset) },
            account: 1,
            message,
        };
        let messages = Payload::default().text("d").text("a=1").0;
        for (id, body) in [(1_u64, b"x"), (2, b"y")] {
            tables.messages.put(&mut txn, 14, &id.to_be_bytes(), &[&messages, body]).unwrap();
        }
        tables.rows.put(&mut txn, 15, &key(1, 1).write(), &[&row]).unwrap();
        let letter = [Payload::default().u64(0).text("400").0, row].concat();
        tables.dead.put(&mut txn, 16, &key(2, 2).write(), &[&letter]).unwrap();
        let account = Payload::default().text("r").text("$upstream").u8(0).u64(3).u64(1);
        let account = [1, 0, 1, 0, 0, 0].into_iter().fold(account, Payload::u64).0;
        tables.accounts.put(&mut txn, 12, &1_u32.to_be_bytes(), &[&account]).unwrap();
        let endpoint = Payload::default().u32(1).u64(2).u64(1).u64(4).0;
        tables.endpoints.put(&mut txn, 11, b"$upstream", &[&endpoint]).unwrap();
        let head = Payload::default().u64(2).u32(1).u32(1).u64(10).u64(7).u64(0).u8(0).0;
        tables.head.put(&mut txn, 10, b"head", &[&head]).unwrap();
        tables.unrouted.put(&mut txn, 13, b"leaf", &[&7_u64.to_be_bytes()]).unwrap();
        txn.commit().unwrap();
    }
    let store = open(directory.path(), &clock);
    adds_up(&store);
    let status = store.status().unwrap();
    let account = &status.accounts[0];
    assert_eq!((account.bytes, account.dead_bytes, account.ends[2]), (4, 4, 1));
    let sources: Vec<_> =
        status.unrouted_sources.iter().map(|it| (&*it.sender, &*it.source, it.count)).collect();
    assert_eq!((status.unrouted, sources), (7, vec![("leaf", "", 7)]));
    let up = Endpoint::upstream();
    settle(&store, Pick::all(up.clone()), Fate::Replay).await;
    assert_eq!(bodies(&pull(&store, &up, 9).rows), ["x", "y"]);
    drop(store);
    adds_up(&open(directory.path(), &clock)); // it is not migrated twice
}
