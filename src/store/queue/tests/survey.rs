//! A survey sees each stored message once, whatever else goes on.

use super::*;
use crate::store::queue::Fate;

fn seen(store: &QueueStore, since: u64, until: u64) -> Vec<String> {
    let seconds = Duration::from_secs;
    let mut survey = store.survey(seconds(since), seconds(until));
    let mut bodies = Vec::new();
    let mut show = |sender: &Identity, bag: &Bag, body: &[u8]| {
        assert_eq!((sender.as_str(), bag.as_str()), ("d", "a=1"));
        bodies.push(String::from_utf8(body.to_vec()).unwrap());
    };
    while store.look(&mut survey, &mut show).unwrap() {}
    assert_eq!(survey.damaged, 0);
    bodies.sort();
    bodies
}

#[tokio::test]
async fn a_survey_shows_each_message_once_whether_it_is_owed_or_dead_and_changes_nothing() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), TestClock::default());
    let store = open(directory.path(), &clock);
    let (up, module) = (Endpoint::upstream(), client("d/m"));
    let both = |body: &str| (message("d", body), vec![win(&up, 10), win(&module, 0)]);
    clock.advance(100);
    store.append(vec![both("a"), both("b")]).await.unwrap();
    clock.advance(100);
    let many = (0..1_200).map(|n| (message("d", &format!("n{n:04}")), vec![win(&up, 3)]));
    store.append(many.collect()).await.unwrap();
    // `a` is refused by one and delivered by the other; `b` is a dead letter of one, owed by the other.
    let keys: Vec<_> = pull(&store, &module, 2).rows.iter().map(|row| row.key).collect();
    let refused = |why: &str| End::DeadLettered { why: why.into(), tries: 1 };
    store
        .finish(module.clone(), keys.iter().map(|key| (*key, refused("no"))).collect())
        .await
        .unwrap();
    let before = store.status().unwrap();

    let all = seen(&store, 1_000, 0);
    assert_eq!(all.len(), 1_202);
    assert_eq!(all[..3], ["a", "b", "n0000"]);
    assert_eq!(seen(&store, 50, 0).len(), 1_200);
    assert_eq!(seen(&store, 1_000, 50), ["a", "b"]);
    assert_eq!(store.status().unwrap(), before);

    // It is owed again meanwhile, at a place that comes later: still once.
    let mut survey = store.survey(Duration::from_secs(1_000), Duration::ZERO);
    let mut count = 0;
    assert!(store.look(&mut survey, &mut |_, _, _| count += 1).unwrap());
    store.settle(Pick::all(module.clone()), Fate::Replay, None).await.unwrap();
    while store.look(&mut survey, &mut |_, _, _| count += 1).unwrap() {}
    assert_eq!(count, 1_202);
    adds_up(&store);
}
