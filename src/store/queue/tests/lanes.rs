//! Who is live: senders that owe nothing up to a mark.

use super::*;
use crate::store::tests::flip;

/// What is given out after `mark` of those that owe nothing up to it; and how many are left out.
fn live(store: &QueueStore, endpoint: &Endpoint, mark: u64) -> (Vec<String>, usize) {
    let mut from = Position::default();
    for at in [3, 10] {
        from.pass(Key { priority: Priority(at), offset: Offset(mark) });
    }
    let live = Some(Offset(mark));
    let want = Want { from: &from, max: 99, max_bytes: usize::MAX, without: &[], live };
    let pulled = store.pull(endpoint, &want, None).unwrap();
    (bodies(&pulled.rows).into_iter().map(str::to_owned).collect(), pulled.left_out)
}

async fn store_all(store: &QueueStore, rows: &[(&str, u8)]) {
    let up = Endpoint::upstream();
    let batch = rows.iter().map(|(body, at)| (message(&body[..1], body), vec![win(&up, *at)]));
    store.append(batch.collect()).await.unwrap();
    adds_up(store);
}

async fn deliver(store: &QueueStore, offsets: &[u64]) {
    let up = Endpoint::upstream();
    let key = |offset| Key { priority: Priority(10), offset: Offset(offset) };
    let ends = offsets.iter().map(|offset| (key(*offset), End::Delivered)).collect();
    store.finish(up, ends).await.unwrap();
    adds_up(store);
}

#[tokio::test]
async fn who_owes_nothing_up_to_the_mark_is_live_and_who_has_drained_is_so_too() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), TestClock::default());
    let store = open(directory.path(), &clock);
    let up = Endpoint::upstream();
    store_all(&store, &[("a1", 10), ("b2", 10), ("a3", 10), ("c4", 3)]).await;
    assert_eq!(live(&store, &up, 0), (vec![], 4), "nobody, while lanes are not kept");
    store.keep_lanes(true).await.unwrap();
    adds_up(&store);
    store_all(&store, &[("a5", 10), ("b6", 10), ("c7", 10), ("d8", 10)]).await;
    let of = |bodies: &[&str]| bodies.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
    assert_eq!(live(&store, &up, 4), (of(&["c7", "d8"]), 2), "in another priority c is behind");
    deliver(&store, &[2]).await;
    assert_eq!(live(&store, &up, 4), (of(&["c7", "d8"]), 2), "b has owed something ever since");
    deliver(&store, &[6]).await;
    store_all(&store, &[("b9", 10)]).await;
    assert_eq!(live(&store, &up, 4), (of(&["c7", "d8", "b9"]), 1));
    drop(store);
    let store = open(directory.path(), &clock);
    assert_eq!(live(&store, &up, 4), (of(&["c7", "d8", "b9"]), 1), "it is on disk");
    store.keep_lanes(false).await.unwrap();
    store_all(&store, &[("e10", 10)]).await;
    assert_eq!(live(&store, &up, 4).0, of(&[]));
    store.keep_lanes(true).await.unwrap();
    assert_eq!(live(&store, &up, 4).0, of(&["c7", "d8", "b9", "e10"]), "counted anew");
}

#[tokio::test]
async fn letters_that_are_replayed_and_damaged_rows_leave_the_lanes_right() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), TestClock::default());
    let store = open(directory.path(), &clock);
    let up = Endpoint::upstream();
    store.keep_lanes(true).await.unwrap();
    store_all(&store, &[("a1", 10), ("b2", 10)]).await;
    let batch = vec![(message("SENDER-MARK", "x"), vec![win(&up, 10)])];
    store.append(batch).await.unwrap();
    let dead = End::DeadLettered { why: "no".into(), tries: 1 };
    let key = |offset| Key { priority: Priority(10), offset: Offset(offset) };
    store.finish(up.clone(), vec![(key(1), dead)]).await.unwrap();
    adds_up(&store);
    store.settle(Pick::all(up.clone()), Fate::Replay, None).await.unwrap();
    adds_up(&store);
    assert_eq!(live(&store, &up, 3).0, ["a1"], "it is owed from its new place on");
    drop(store);
    flip(&directory.path().join("data.mdb"), b"SENDER-MARK");
    let store = open(directory.path(), &clock);
    let damaged = pull(&store, &up, 9).damaged;
    let ends = damaged.iter().map(|key| (*key, End::Quarantined)).collect::<Vec<_>>();
    assert_eq!(ends.len(), 1);
    store.finish(up.clone(), ends).await.unwrap();
    adds_up(&store);
}
