//! A budget is kept to, nothing waits longer than it must, and every end is counted once.

use futures_util::future::join_all;
use tokio::time::timeout;

use super::*;
use crate::domain::budget::{Budget, FullPolicy, Level};

const MAX: u64 = 4 << 20;
const BODY: usize = 1_000;
const PATIENCE: Duration = Duration::from_secs(60);

fn budget(policy: FullPolicy) -> Budget {
    Budget { max: Some(MAX), policy }
}

/// Of `sender`, with its number at the beginning of its body.
fn numbered(sender: &str, number: usize, win: Win) -> (Message, Vec<Win>) {
    let body = format!("{number:06} {}", "x".repeat(BODY - 7));
    (message(sender, &body), vec![win])
}

fn numbers(rows: &[Row]) -> Vec<usize> {
    rows.iter().map(|row| str::from_utf8(&row.body[..6]).unwrap().parse().unwrap()).collect()
}

fn used(store: &QueueStore) -> u64 {
    store.status().unwrap().used_bytes
}

fn ends(store: &QueueStore) -> [u64; 6] {
    let mut all = [0; 6];
    for account in store.status().unwrap().accounts {
        all.iter_mut().zip(account.ends).for_each(|(sum, end)| *sum += end);
    }
    all
}

async fn finish(store: &QueueStore, endpoint: &Endpoint, rows: &[Row], end: End) {
    let ends = rows.iter().map(|row| (row.key, end.clone())).collect();
    store.finish(endpoint.clone(), ends).await.unwrap();
}

/// Appends ten at a time until it is full; answers how many are stored, and the append that waits.
async fn fill(
    store: &QueueStore,
    win: &Win,
) -> (usize, impl Future<Output = Result<Appended, StoreError>> + use<>) {
    let mut state = store.state();
    let mut stored = 0;
    loop {
        let batch = (stored..stored + 10).map(|n| numbered("d", n, win.clone())).collect();
        let mut append = Box::pin(store.append(batch));
        tokio::select! {
            done = &mut append => stored += done.unwrap().taken.len(),
            _ = state.wait_for(|state| matches!(state, WriterState::Full(_))) => return (stored, append),
        }
    }
}

#[tokio::test]
async fn at_a_full_budget_new_messages_wait_and_go_on_by_themselves_in_order() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), TestClock::default());
    let store = open(directory.path(), &clock);
    store.set_budget(budget(FullPolicy::RejectNew));
    let up = Endpoint::upstream();
    let (stored, first) = fill(&store, &win(&up, 10)).await;
    let line = budget(FullPolicy::RejectNew).line().unwrap();
    assert!(used(&store) <= line && used(&store) > line * 9 / 10, "{} of {line}", used(&store));
    assert_eq!(store.fill().borrow().level, Level::Full);
    let later = store.append(vec![numbered("d", stored + 10, win(&up, 10))]);
    let mut waits = Box::pin(join_all([
        Box::pin(first) as std::pin::Pin<Box<dyn Future<Output = _>>>,
        Box::pin(later),
    ]));
    assert!(timeout(Duration::from_millis(1_500), &mut waits).await.is_err(), "there is no room");
    let rows = pull(&store, &up, 200).rows;
    finish(&store, &up, &rows, End::Delivered).await;
    let done = timeout(PATIENCE, waits).await.unwrap();
    assert!(done.into_iter().all(|done| done.is_ok()));
    let mut state = store.state();
    timeout(PATIENCE, state.wait_for(|state| *state == WriterState::Ready)).await.unwrap().unwrap();
    let left = numbers(&pull(&store, &up, usize::MAX).rows);
    assert_eq!(left, (rows.len()..stored + 11).collect::<Vec<_>>());
    adds_up(&store);
}

#[tokio::test]
async fn who_is_owed_messages_passes_those_that_wait() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), TestClock::default());
    let store = open(directory.path(), &clock);
    store.set_budget(budget(FullPolicy::RejectNew));
    let (up, filter) = (Endpoint::upstream(), client("d/filter"));
    let (stored, first) = fill(&store, &win(&filter, 10)).await;
    // The filter acknowledges an input only when what it made of it is acknowledged.
    for number in 0..stored {
        let made = store.append(vec![numbered("d/filter", number, win(&up, 10))]);
        timeout(PATIENCE, made).await.expect("a relay is not kept waiting").unwrap();
        assert!(used(&store) <= MAX, "{}", used(&store));
        let inputs = pull(&store, &filter, 1).rows;
        finish(&store, &filter, &inputs, End::Delivered).await;
        let sent = pull(&store, &up, 1).rows;
        finish(&store, &up, &sent, End::Delivered).await;
        if number == stored / 2 {
            break;
        }
    }
    timeout(PATIENCE, first).await.unwrap().unwrap();
    adds_up(&store);
}

#[tokio::test]
async fn the_oldest_make_room_and_what_was_in_flight_is_counted_once() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), TestClock::default());
    let store = open(directory.path(), &clock);
    store.set_budget(budget(FullPolicy::DropOldest));
    let (up, module) = (Endpoint::upstream(), client("d/m"));
    let batch = |n: usize| {
        let win = if n.is_multiple_of(2) { win(&up, 3) } else { win(&module, 10) };
        store.append((n * 10..n * 10 + 10).map(|n| numbered("d", n, win.clone())).collect())
    };
    batch(0).await.unwrap();
    let in_flight = pull(&store, &up, 10).rows;
    for n in 1..400 {
        timeout(PATIENCE, batch(n)).await.expect("nobody waits").unwrap();
        assert!(used(&store) <= MAX, "{}", used(&store));
    }
    assert_eq!(store.fill().borrow().level, Level::Full);
    finish(&store, &up, &in_flight, End::Delivered).await; // they are gone
    let ends = ends(&store);
    assert_eq!((ends[0], ends.iter().sum::<u64>()), (0, ends[3]), "{ends:?}");
    assert!(ends[3] > 1_000, "{ends:?}");
    let mut left = numbers(&pull(&store, &up, usize::MAX).rows);
    left.extend(numbers(&pull(&store, &module, usize::MAX).rows));
    left.sort_unstable();
    assert_eq!(left, (ends[3] as usize..4_000).collect::<Vec<_>>(), "the newest are there");
    assert!(left.len() as u64 * BODY as u64 > MAX / 2, "{} are left", left.len());
    adds_up(&store);
}

#[tokio::test]
async fn a_new_message_of_the_lowest_priority_evicts_itself_and_none_of_a_higher_one() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), TestClock::default());
    let store = open(directory.path(), &clock);
    store.set_budget(budget(FullPolicy::DropLowestPriority));
    let up = Endpoint::upstream();
    let batch = |priority, from: usize| {
        let batch = (from..from + 10).map(|n| numbered("d", n, win(&up, priority)));
        store.append(batch.collect())
    };
    for n in 0..20 {
        batch(10, n * 10).await.unwrap();
    }
    let of_low = || store.status().unwrap().accounts.into_iter().find(|a| a.route.ends_with("10"));
    let mut n = 0;
    while of_low().unwrap().stored > 0 {
        batch(1, n).await.unwrap(); // evicts those of priority 10, one after the other
        n += 10;
    }
    let of_high = || store.status().unwrap().accounts.into_iter().find(|a| a.route.ends_with(" 1"));
    let before = of_high().unwrap();
    for n in 20..60 {
        timeout(PATIENCE, batch(10, n * 10)).await.unwrap().unwrap();
    }
    let (low, high) = (of_low().unwrap(), of_high().unwrap());
    assert_eq!(high.ends, before.ends, "a higher priority made room for a lower one");
    assert_eq!((low.received, low.ends[3] + low.stored), (600, 600));
    adds_up(&store);
}

#[tokio::test]
async fn who_finds_no_room_frees_what_has_expired_first() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), TestClock::default());
    let store = open(directory.path(), &clock);
    let up = Endpoint::upstream();
    for policy in [FullPolicy::RejectNew, FullPolicy::DropOldest] {
        store.set_budget(budget(FullPolicy::RejectNew));
        let short = Win { time_to_live: Some(Duration::from_secs(10)), ..win(&up, 10) };
        let (stored, first) = fill(&store, &short).await;
        clock.advance(11);
        store.set_budget(budget(policy));
        timeout(PATIENCE, store.append(vec![numbered("e", 0, short)])).await.unwrap().unwrap();
        timeout(PATIENCE, first).await.unwrap().unwrap();
        assert!(ends(&store)[1] > 0 && ends(&store)[3] == 0, "{stored}: {:?}", ends(&store));
        adds_up(&store);
        let rows = pull(&store, &up, usize::MAX);
        finish(&store, &up, &rows.rows, End::Delivered).await;
        let expired = rows.expired.into_iter().map(|key| (key, End::Expired)).collect();
        store.finish(up.clone(), expired).await.unwrap();
    }
}

#[tokio::test]
async fn more_appends_than_there_are_places_do_not_keep_ends_out() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), TestClock::default());
    let store = open(directory.path(), &clock);
    store.set_budget(budget(FullPolicy::RejectNew));
    let up = Endpoint::upstream();
    let (stored, first) = fill(&store, &win(&up, 10)).await;
    let small = |n: usize| store.append(vec![(message(&format!("s{n}"), "x"), vec![win(&up, 10)])]);
    let waits: Vec<_> = (0..5_000).map(small).collect();
    let rows = pull(&store, &up, stored / 2).rows;
    timeout(PATIENCE, finish(&store, &up, &rows, End::Delivered)).await.expect("ends have places");
    let waits = async { tokio::join!(first, join_all(waits)) };
    let (first, others) = timeout(PATIENCE, waits).await.unwrap();
    assert!(first.is_ok() && others.iter().all(Result::is_ok));
    adds_up(&store);
}

#[tokio::test]
async fn a_limit_that_is_lowered_is_come_to_and_one_that_is_lifted_lets_in_at_once() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), TestClock::default());
    let store = open(directory.path(), &clock);
    let up = Endpoint::upstream();
    for n in 0..400 {
        let batch = (n * 10..n * 10 + 10).map(|n| numbered("d", n, win(&up, 10)));
        store.append(batch.collect()).await.unwrap();
    }
    assert!(used(&store) > MAX);
    store.set_budget(budget(FullPolicy::DropOldest));
    for n in 0..10 {
        store.append(vec![numbered("d", n, win(&up, 10))]).await.unwrap();
    }
    assert!(used(&store) <= MAX, "{}", used(&store));
    store.set_budget(budget(FullPolicy::RejectNew));
    let (_, first) = fill(&store, &win(&up, 10)).await;
    store.set_budget(Budget::default());
    timeout(PATIENCE, first).await.unwrap().unwrap();
    adds_up(&store);
}
