//! What the queue promises: everything or nothing, ends counted once, time that cannot jump.

mod budget;
mod compact;
mod damage;
mod full_disk;
mod lanes;
mod layout;
mod letters;
mod model;
mod operator;
mod relocate;
mod salvage;
mod survey;

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::*;
use crate::domain::bag::Bag;
use crate::domain::delivery::Position;
use crate::domain::identity::Identity;
use crate::domain::resent::Transmission;
use crate::domain::row::{End, Key, Offset, Priority, Row, Stamp};
use crate::domain::store_time::Reading;
use crate::messages::dead_letters::{DeadLetter, Pick};
use crate::store::writer::Planned;

/// Seconds since boot, set by the test.
#[derive(Clone, Default)]
struct TestClock(Arc<AtomicU64>);

impl TestClock {
    fn advance(&self, secs: u64) {
        self.0.fetch_add(secs, Ordering::Relaxed);
    }
}

impl Clock for TestClock {
    fn read(&self) -> Reading {
        let since_boot = Duration::from_secs(self.0.load(Ordering::Relaxed));
        Reading { boot_id: 7, since_boot, wall: Duration::ZERO, is_synchronised: false }
    }
}

fn open(directory: &Path, clock: &TestClock) -> Arc<QueueStore> {
    let options = Options { reserve: 0, ..Options::queue() };
    QueueStore::open(directory, options, clock.clone()).unwrap()
}

fn client(id: &str) -> Endpoint {
    Endpoint::client(&Identity::parse(id).unwrap())
}

fn message(sender: &str, body: &str) -> Message {
    let sender = Identity::parse(sender).unwrap();
    let body = Bytes::copy_from_slice(body.as_bytes());
    Message { sender, bag: Bag::from_stored("a=1"), body, link: None, transmission: None }
}

fn win(endpoint: &Endpoint, priority: u8) -> Win {
    let route = format!("to {} at {priority}", endpoint.0);
    let input = (*endpoint != Endpoint::upstream()).then(|| "in".into());
    let (priority, route) = (Priority(priority), route.into());
    Win { endpoint: endpoint.clone(), input, route, priority, time_to_live: None }
}

fn pull(store: &QueueStore, endpoint: &Endpoint, max: usize) -> Pulled {
    let from = Position::default();
    let want = Want { from: &from, max, max_bytes: usize::MAX, without: &[], live: None };
    store.pull(endpoint, &want, None).unwrap()
}

fn bodies(rows: &[Row]) -> Vec<&str> {
    rows.iter().map(|row| str::from_utf8(&row.body).unwrap()).collect()
}

#[track_caller]
fn adds_up(store: &QueueStore) {
    assert_eq!(store.verify().unwrap(), [""; 0]);
}

/// Telemetry goes to `$upstream`, unless it says `nowhere`; lives as long as `lifetime`.
struct Routes(Lifetime);

impl Matcher for Routes {
    fn winners(&self, message: &Message) -> Vec<Win> {
        let is_nowhere = &message.body[..] == b"nowhere";
        if is_nowhere { Vec::new() } else { vec![win(&Endpoint::upstream(), 10)] }
    }

    fn lifetime(&self, _: &str) -> Lifetime {
        self.0
    }
}

#[tokio::test]
async fn a_pull_is_by_priority_then_in_order_of_arrival() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), TestClock::default());
    let store = open(directory.path(), &clock);
    let (up, module) = (Endpoint::upstream(), client("d/m"));
    let batch = vec![
        (message("d", "one"), vec![win(&up, 10), win(&module, 0)]),
        (message("d/m", "two"), vec![win(&up, 3)]),
        (message("d", "none"), vec![]),
        (message("e", "three"), vec![win(&up, 10)]),
        (message("d", "four"), vec![win(&up, 3), win(&module, 10)]),
    ];
    let done = store.append(batch).await.unwrap();
    assert_eq!(done.taken[2], Taken::Unrouted);
    assert_eq!(done.endpoints, [up.clone(), module.clone()]);
    let rows = pull(&store, &up, 10).rows;
    assert_eq!(bodies(&rows), ["two", "four", "one", "three"]);
    let stamps: Vec<_> = rows.iter().map(|row| row.stamp.unwrap()).collect();
    assert!(stamps.iter().all(|stamp| stamp.run == store.run()));
    assert!(rows.iter().all(|row| row.stamp.unwrap().seq == row.key.offset.0));
    let inputs = pull(&store, &module, 10).rows;
    assert_eq!(bodies(&inputs), ["one", "four"]);
    assert_eq!((inputs[0].input.as_deref(), inputs[0].stamp), (Some("in"), None));
    assert_eq!(&*inputs[0].route, "to d/m at 0");
    assert_eq!(store.lowest_owed(&up).unwrap(), Some(rows[2].key.offset));

    let from = {
        let mut from = Position::default();
        from.pass(rows[0].key);
        from.pass(rows[2].key);
        from
    };
    let without = [Identity::parse("e").unwrap()];
    let want = Want { from: &from, max: 10, max_bytes: usize::MAX, without: &without, live: None };
    assert_eq!(bodies(&store.pull(&up, &want, None).unwrap().rows), ["four"]);
    let little = Want { max_bytes: 8, without: &[], ..want };
    assert_eq!(bodies(&store.pull(&up, &little, None).unwrap().rows), ["four"]);
    assert!(pull(&store, &client("x"), 10).rows.is_empty());
    let status = store.status().unwrap();
    assert_eq!((status.messages_in, status.unrouted), (5, 1));
    adds_up(&store);
}

#[tokio::test]
async fn ends_are_counted_once_and_the_last_one_frees_the_body() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), TestClock::default());
    let store = open(directory.path(), &clock);
    let (up, module) = (Endpoint::upstream(), client("d/m"));
    let both = vec![win(&up, 10), win(&module, 10), win(&module, 10)];
    store.append(vec![(message("d", "x"), both)]).await.unwrap();
    let rows = pull(&store, &module, 10).rows;
    assert_eq!(bodies(&rows), ["x", "x"]);
    assert_ne!(rows[0].key, rows[1].key, "two inputs of one module are two rows");
    for _ in 0..2 {
        let ends = rows.iter().map(|row| (row.key, End::Delivered)).collect::<Vec<_>>();
        let keys: Vec<_> = rows.iter().map(|row| row.key).collect();
        assert_eq!(store.finish(module.clone(), ends).await.unwrap(), keys);
        adds_up(&store);
    }
    let key = pull(&store, &up, 1).rows[0].key;
    let dead = End::DeadLettered { why: "400".into(), tries: 3 };
    store.finish(up.clone(), vec![(key, dead)]).await.unwrap();
    adds_up(&store);
    let letters = store.dead_letters(&Pick::all(up), Offset(0), 10, true).unwrap();
    let DeadLetter { why, tries, sender, route, .. } = &letters[0].known;
    assert_eq!((letters.len(), &**why, *tries, &**sender), (1, "400", 3, "d"));
    assert_eq!((&**route, letters[0].body.as_deref()), ("to $upstream at 10", Some(&b"x"[..])));
    let status = store.status().unwrap();
    let ends: Vec<_> = status.accounts.iter().map(|a| (a.received, a.stored, a.ends)).collect();
    assert_eq!(ends, [(1, 0, [0, 0, 1, 0, 0, 0]), (2, 0, [2, 0, 0, 0, 0, 0])]);
    assert!(status.endpoints.iter().all(|owed| (owed.rows, owed.bytes) == (0, 0)));
}

#[tokio::test]
async fn the_time_to_live_is_looked_up_when_a_row_is_read() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), TestClock::default());
    let store = open(directory.path(), &clock);
    let up = Endpoint::upstream();
    assert_eq!(store.ingest(vec![message("d", "x")]).await, Err(StoreError::Unavailable));
    store.set_matcher(Arc::new(Routes(Lifetime::Global))).await.unwrap();
    store.ingest(vec![message("d", "x")]).await.unwrap();
    let is_live = || !pull(&store, &up, 1).rows.is_empty();
    clock.advance(100);
    assert!(is_live(), "without any time to live it lives for ever");
    store.set_time_to_live(Some(Duration::from_secs(50)));
    assert!(!is_live(), "the global one counts for what is stored already");
    store.set_matcher(Arc::new(Routes(Lifetime::Own(Duration::from_secs(101))))).await.unwrap();
    assert!(is_live(), "the route's own one comes first");
    clock.advance(1);
    assert!(!is_live());
    store.set_matcher(Arc::new(Routes(Lifetime::Unknown))).await.unwrap();
    assert!(!is_live(), "of a route that is gone: what was noted, or else the global one");
    store.set_time_to_live(None);
    assert!(is_live());
    store.set_time_to_live(Some(Duration::from_secs(1)));
    let (pulled, swept) = (pull(&store, &up, 9), store.sweep(&up, None).unwrap());
    assert_eq!((pulled.expired.len(), &pulled.expired), (1, &swept.expired));
    let ends = pulled.expired.into_iter().map(|key| (key, End::Expired)).collect();
    store.finish(up.clone(), ends).await.unwrap();
    adds_up(&store);
    assert_eq!(store.status().unwrap().accounts[0].ends, [0, 1, 0, 0, 0, 0]);
}

#[tokio::test]
async fn messages_age_across_a_restart_by_the_clock_since_boot() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), TestClock::default());
    clock.advance(1_000);
    let store = open(directory.path(), &clock);
    store.set_time_to_live(Some(Duration::from_secs(30)));
    let up = Endpoint::upstream();
    store.append(vec![(message("d", "x"), vec![win(&up, 10)])]).await.unwrap();
    drop(store);
    clock.advance(20);
    let store = open(directory.path(), &clock);
    store.set_time_to_live(Some(Duration::from_secs(30)));
    assert_eq!(pull(&store, &up, 1).rows.len(), 1);
    assert_eq!(store.status().unwrap().endpoints[0].oldest, Some(Duration::from_secs(20)));
    store.tick().await.unwrap();
    clock.advance(10);
    assert_eq!(pull(&store, &up, 1).expired.len(), 1);
}

#[tokio::test]
async fn what_waits_is_matched_with_the_table_that_is_in_force_when_it_is_written() {
    struct Named(&'static str);
    impl Matcher for Named {
        fn winners(&self, _: &Message) -> Vec<Win> {
            vec![Win { route: self.0.into(), ..win(&Endpoint::upstream(), 10) }]
        }
        fn lifetime(&self, _: &str) -> Lifetime {
            Lifetime::Global
        }
    }
    let (directory, clock) = (tempfile::tempdir().unwrap(), TestClock::default());
    let store = open(directory.path(), &clock);
    store.set_matcher(Arc::new(Named("old"))).await.unwrap();
    let held = store.writer.state();
    // The first attempt to write fails; by the second one the table is another.
    store.writer.plan([Planned::CommitOfAppends(28)]);
    let append = store.ingest(vec![message("d", "x")]);
    held.clone().wait_for(|state| *state != WriterState::Ready).await.unwrap();
    store.set_matcher(Arc::new(Named("new"))).await.unwrap();
    append.await.unwrap();
    assert_eq!(&*pull(&store, &Endpoint::upstream(), 1).rows[0].route, "new");
    adds_up(&store);
}

#[tokio::test]
async fn a_long_search_goes_on_as_if_it_were_one_read() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), TestClock::default());
    let store = open(directory.path(), &clock);
    let up = Endpoint::upstream();
    let mut batch: Vec<_> =
        (0..2_500).map(|n| (message("slow", &n.to_string()), vec![win(&up, 5)])).collect();
    batch.push((message("quick", "wanted"), vec![win(&up, 9)]));
    store.append(batch).await.unwrap();
    let (from, without) = (Position::default(), [Identity::parse("slow").unwrap()]);
    let want = Want { from: &from, max: 5, max_bytes: usize::MAX, without: &without, live: None };
    let first = store.pull(&up, &want, None).unwrap();
    assert!(first.rows.is_empty() && first.rest.is_some());
    store.append(vec![(message("quick", "later"), vec![win(&up, 0)])]).await.unwrap();
    let (mut rest, mut calls) = (first.rest, 1);
    let rows = loop {
        let pulled = store.pull(&up, &want, rest).unwrap();
        (rest, calls) = (pulled.rest, calls + 1);
        if rest.is_none() {
            break pulled.rows;
        }
    };
    assert_eq!((bodies(&rows), calls), (vec!["wanted"], 3));
    assert_eq!(bodies(&store.pull(&up, &want, None).unwrap().rows), ["later"]);
}

#[tokio::test]
async fn appends_of_many_connections_join_one_commit() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), TestClock::default());
    let store = open(directory.path(), &clock);
    store.set_matcher(Arc::new(Routes(Lifetime::Global))).await.unwrap();
    let before = store.writer.commits();
    let appends = (0..100).map(|n| store.ingest(vec![message(&format!("d{n}"), "x")]));
    let done = futures_util::future::join_all(appends.collect::<Vec<_>>()).await;
    assert!(done.into_iter().all(|done| done.is_ok()));
    let commits = store.writer.commits() - before;
    assert!((1..=5).contains(&commits), "{commits} commits");
    let rows = pull(&store, &Endpoint::upstream(), 200).rows;
    let offsets: Vec<_> = rows.iter().map(|row| row.key.offset).collect();
    assert_eq!(offsets, (1..=100).map(Offset).collect::<Vec<_>>());
    assert!(rows.iter().enumerate().all(|(n, row)| *row.sender.as_str() == format!("d{n}")));
}

#[tokio::test]
async fn what_a_client_sends_again_is_stored_once_also_after_a_restart() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), TestClock::default());
    let up = Endpoint::upstream();
    let sent = |sender: &str, connection, packet_id, is_again| {
        let transmission = Some(Transmission { packet_id, is_again, connection });
        let text = packet_id.to_string();
        (Message { transmission, ..message(sender, &text) }, vec![win(&up, 10)])
    };
    let store = open(directory.path(), &clock);
    store.append(vec![sent("d", 1, 1, false), sent("d", 1, 2, false)]).await.unwrap();
    drop(store); // before the PUBACK
    let store = open(directory.path(), &clock);
    let batch = vec![
        sent("d", 1, 1, true),
        sent("d", 1, 2, true),
        sent("d", 1, 3, true), // its first copy was lost
        sent("other", 2, 1, true),
    ];
    let again = store.append(batch).await.unwrap();
    let (new, twice) = (Taken::Stored, Taken::Duplicate);
    assert_eq!(again.taken, [twice, twice, new, new]);
    assert_eq!(bodies(&pull(&store, &up, 9).rows), ["1", "2", "3", "1"]);
    let status = store.status().unwrap();
    assert_eq!((status.messages_in, status.resent), (4, 2));
    adds_up(&store);
}

#[tokio::test]
async fn what_comes_twice_over_a_link_is_stored_once_also_after_a_restart() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), TestClock::default());
    let up = Endpoint::upstream();
    let stamped = |edge: &str, run, seq| {
        let link = Some(Link { edge: edge.into(), stamp: Stamp { run, seq }, low: 1 });
        (Message { link, ..message("d", &seq.to_string()) }, vec![win(&up, 10)])
    };
    let store = open(directory.path(), &clock);
    store.append(vec![stamped("e", 1, 1), stamped("e", 1, 3)]).await.unwrap();
    drop(store);
    let store = open(directory.path(), &clock);
    let batch =
        vec![stamped("e", 1, 1), stamped("e", 1, 2), stamped("e", 2, 3), stamped("f", 1, 3)];
    let again = store.append(batch).await.unwrap();
    let (new, twice) = (Taken::Stored, Taken::Duplicate);
    assert_eq!(again.taken, [twice, new, new, new]);
    assert_eq!(bodies(&pull(&store, &up, 9).rows), ["1", "3", "2", "3", "3"]);
    adds_up(&store);
}
