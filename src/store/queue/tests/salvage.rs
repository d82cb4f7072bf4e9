//! A damaged queue: what is whole is there again, the account says what is not.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::FileExt;

use super::*;
use crate::messages::salvage::Report;
use crate::store::raw::{self, Depth};
use crate::store::salvage::salvage;

const NOW: Duration = Duration::from_secs(1_764_000_000);

/// Numbers that are the same in each run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

fn look(directory: &Path) -> Result<(), String> {
    let file = std::fs::File::open(directory.join("data.mdb")).unwrap();
    raw::check(file, Depth::Deep).map_err(|bad| bad.to_string())
}

/// A body that tells its number, some of them long.
fn body(n: u64) -> String {
    let size = [10, 300, 1_500, 9_000][(n % 4) as usize];
    format!("{n} {}", "x".repeat(size))
}

/// A queue with a past: messages to two endpoints, most of them delivered, some dead.
async fn filled(directory: &Path, clock: &TestClock) {
    let store = open(directory, clock);
    let (up, module) = (Endpoint::upstream(), client("d/m"));
    for round in 0..30_u64 {
        let batch = (0..20).map(|n| {
            let wins = match n % 3 {
                0 => vec![win(&up, 10), win(&module, 10)],
                1 => vec![win(&up, 3)],
                _ => vec![win(&up, 10)],
            };
            (message("d", &body(round * 20 + n)), wins)
        });
        store.append(batch.collect()).await.unwrap();
        clock.advance(1);
        for endpoint in [&up, &module] {
            let rows = pull(&store, endpoint, 12).rows;
            let ends = rows.iter().enumerate().map(|(n, row)| match n {
                0 => (row.key, End::DeadLettered { why: "400".into(), tries: 1 }),
                _ => (row.key, End::Delivered),
            });
            store.finish(endpoint.clone(), ends.collect()).await.unwrap();
        }
    }
    adds_up(&store);
}

/// All bodies that are owed, by endpoint.
fn owed(store: &QueueStore) -> BTreeMap<String, BTreeSet<String>> {
    let endpoints = [Endpoint::upstream(), client("d/m")];
    let owed = endpoints.into_iter().map(|endpoint| {
        let rows = pull(store, &endpoint, 10_000).rows;
        let bodies = rows.iter().map(|row| String::from_utf8(row.body.to_vec()).unwrap());
        (endpoint.0.to_string(), bodies.collect())
    });
    owed.collect()
}

fn salvaged(directory: &Path) -> Report {
    salvage(directory, &recipe(), NOW).unwrap()
}

#[tokio::test]
async fn a_file_that_is_whole_is_found_so_and_a_salvage_of_it_changes_nothing() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), TestClock::default());
    filled(directory.path(), &clock).await;
    look(directory.path()).unwrap();
    let store = open(directory.path(), &clock);
    let (before, id, status) = (owed(&store), store.id(), store.status().unwrap());
    drop(store);
    look(directory.path()).unwrap();
    let report = salvaged(directory.path());
    assert_eq!((report.damaged, report.lost_messages(), report.is_last_certain), (0, 0, true));
    assert_eq!(report.wrong, [""; 0]);
    look(directory.path()).unwrap();
    assert!(directory.path().join(&report.kept).is_file());
    let store = open(directory.path(), &clock);
    adds_up(&store);
    assert_eq!((owed(&store), store.id()), (before, id));
    let after = store.status().unwrap();
    assert_eq!(after.accounts, status.accounts);
    assert_eq!((after.messages_in, after.unrouted), (status.messages_in, status.unrouted));
    assert_eq!(store.in_use().reports(), [report]);
}

/// Does something bad to the file; answers what.
fn damage(path: &Path, chance: &mut Chance) -> String {
    let length = std::fs::metadata(path).unwrap().len();
    let file = std::fs::File::options().read(true).write(true).open(path).unwrap();
    let kind = chance.below(7);
    let mut byte = [0];
    let page = chance.below(length / 4_096) * 4_096;
    match kind {
        0 => {
            file.set_len(chance.below(length)).unwrap();
            "cut".into()
        }
        1 => {
            let at = length / 2 + chance.below(length / 2);
            file.write_all_at(&vec![0; (length - at) as usize], at).unwrap();
            "tail zeroed".into()
        }
        2 => {
            file.write_all_at(&[0; 4_096], page).unwrap();
            format!("page {} zeroed", page / 4_096)
        }
        3 => {
            let at = chance.below(2) * 4_096 + chance.below(200);
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ (1 << chance.below(8))], at).unwrap();
            format!("header flipped at {at}")
        }
        _ => {
            for _ in 0..=chance.below(20) {
                let at = chance.below(length / 4_096) * 4_096
                    + match kind {
                        4 => chance.below(16),
                        5 => chance.below(200),
                        _ => chance.below(4_096),
                    };
                file.read_exact_at(&mut byte, at).unwrap();
                file.write_all_at(&[byte[0] ^ (1 << chance.below(8))], at).unwrap();
            }
            format!("bits flipped, {kind}")
        }
    }
}

#[tokio::test]
async fn whatever_happens_to_the_file_what_is_left_adds_up() {
    let (origin, clock) = (tempfile::tempdir().unwrap(), TestClock::default());
    filled(origin.path(), &clock).await;
    let whole = std::fs::read(origin.path().join("data.mdb")).unwrap();
    let store = open(origin.path(), &clock);
    let (before, status) = (owed(&store), store.status().unwrap());
    let owed_before: usize = before.values().map(BTreeSet::len).sum();
    drop(store);
    let rounds = std::env::var("ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(60);
    let (mut kept, mut all) = (0, 0);
    for seed in 0..rounds {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("data.mdb"), &whole).unwrap();
        std::fs::copy(origin.path().join("id"), directory.path().join("id")).unwrap();
        let mut chance = Chance(seed);
        (0..5).for_each(|_| _ = chance.below(2));
        let what = damage(&directory.path().join("data.mdb"), &mut chance);
        let report = salvaged(directory.path());
        let what = format!("seed {seed}, {what}: {report:?}");
        look(directory.path()).unwrap_or_else(|wrong| panic!("{wrong}: {what}"));
        let store = open(directory.path(), &clock);
        let wrong = store.verify().unwrap();
        assert!(wrong.is_empty(), "{wrong:?}: {what}");
        assert_eq!(store.in_use().reports(), std::slice::from_ref(&report));
        let after = owed(&store);
        let owed_after: usize = after.values().map(BTreeSet::len).sum();
        (kept, all) = (kept + owed_after, all + owed_before);
        for (endpoint, bodies) in &after {
            let is_known = |body: &&String| before[endpoint].contains(*body);
            let more: Vec<_> = bodies.iter().filter(|body| !is_known(body)).collect();
            assert!(more.is_empty() || !report.is_last_certain, "{more:?}: {what}");
        }
        // Whatever an account had received is there, or counted.
        let accounts = store.status().unwrap().accounts;
        if report.is_last_certain && !report.tables.values().any(|table| table.older > 0) {
            for account in &status.accounts {
                let found = accounts.iter().find(|it| it.route == account.route);
                let received = found.map(|found| found.received);
                let is_told = report.is_empty || report.tables["accounts"].copied == 0;
                assert!(received == Some(account.received) || is_told, "{account:?}: {what}");
            }
        }
        // New messages are taken, and come after those that are there.
        let new = vec![(message("d", "new"), vec![win(&Endpoint::upstream(), 10)])];
        store.append(new).await.unwrap();
        let rows = pull(&store, &Endpoint::upstream(), 10_000).rows;
        let last = rows.iter().map(|row| row.key.offset).max();
        let new = rows.iter().find(|row| &row.body[..] == b"new").unwrap();
        assert_eq!(Some(new.key.offset), last, "{what}");
        adds_up(&store);
    }
    println!("{kept} of {all} messages kept in {rounds} rounds");
    assert!(kept * 10 > all * 4, "only {kept} of {all} kept");
}

#[tokio::test]
async fn a_salvage_that_was_cut_off_in_its_last_steps_is_brought_to_its_end() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), TestClock::default());
    filled(directory.path(), &clock).await;
    let path = directory.path().join("data.mdb");
    let old = std::fs::read(&path).unwrap();
    salvaged(directory.path());
    let new = std::fs::read(&path).unwrap();
    let before = owed(&open(directory.path(), &clock));
    for (has_old, has_link) in [(true, false), (true, true), (false, true)] {
        let fresh = directory.path().join("salvage");
        std::fs::create_dir(&fresh).unwrap();
        std::fs::write(fresh.join("data.mdb"), &new).unwrap();
        std::fs::write(fresh.join("whole"), "damaged-x.mdb").unwrap();
        std::fs::write(&path, &old).unwrap();
        if has_link {
            std::fs::write(directory.path().join("damaged-x.mdb"), &old).unwrap();
        }
        if !has_old {
            std::fs::remove_file(&path).unwrap();
        }
        assert_eq!(owed(&open(directory.path(), &clock)), before);
        assert!(!fresh.exists());
        assert_eq!(std::fs::read(directory.path().join("damaged-x.mdb")).unwrap(), old);
    }
}

#[test]
fn nothing_begins_empty_without_a_word() {
    let clock = TestClock::default();
    let make = || {
        let directory = tempfile::tempdir().unwrap();
        let id = open(directory.path(), &clock).id();
        (directory, id)
    };
    let options = || Options { reserve: 0, ..Options::queue() };
    let reopen = |directory: &Path| QueueStore::open(directory, options(), clock.clone());
    for kind in ["empty", "zeros", "directory"] {
        let (directory, id) = make();
        let path = directory.path().join("data.mdb");
        match kind {
            "empty" => std::fs::write(&path, "").unwrap(),
            "zeros" => std::fs::write(&path, vec![0; 100_000]).unwrap(),
            _ => {
                std::fs::remove_file(&path).unwrap();
                std::fs::create_dir(&path).unwrap();
            }
        }
        let refused = reopen(directory.path());
        assert!(matches!(refused, Err(OpenError::Damaged(..))), "{kind}: {refused:?}");
        let report = salvaged(directory.path());
        assert!(report.is_empty && directory.path().join(&report.kept).exists(), "{kind}");
        let store = reopen(directory.path()).unwrap();
        assert_eq!((store.id(), store.in_use().reports().len()), (id, 1));
    }
    let (directory, _) = make();
    std::fs::remove_file(directory.path().join("data.mdb")).unwrap();
    let refused = reopen(directory.path());
    assert!(matches!(refused, Err(OpenError::Missing(..))), "{refused:?}");
}
