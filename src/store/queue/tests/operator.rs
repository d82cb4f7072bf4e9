//! Routes that rest, backlogs that are discarded, and what is told of each route and source.

use super::*;

/// Two routes to one endpoint, at one priority.
fn wins(route: &str, endpoint: &Endpoint) -> Vec<Win> {
    vec![Win { route: route.into(), ..win(endpoint, 5) }]
}

#[tokio::test]
async fn a_paused_route_keeps_its_rows_also_over_a_restart_and_goes_on_with_all_of_them() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), TestClock::default());
    let store = open(directory.path(), &clock);
    let up = Endpoint::upstream();
    let batch = ["a", "b", "a"].into_iter().enumerate();
    let batch = batch.map(|(n, route)| (message("d", &n.to_string()), wins(route, &up)));
    store.append(batch.collect()).await.unwrap();
    store.set_paused("a", true).await.unwrap();
    let found = pull(&store, &up, 9);
    assert_eq!((bodies(&found.rows), found.paused), (vec!["1"], Some(Offset(1))));
    assert_eq!(found.read_to, Offset(3));
    drop(store);
    let store = open(directory.path(), &clock);
    assert_eq!(bodies(&pull(&store, &up, 9).rows), ["1"], "before any route is known");
    assert_eq!(store.paused().iter().collect::<Vec<_>>(), ["a"]);
    store.set_paused("a", false).await.unwrap();
    let found = pull(&store, &up, 9);
    assert_eq!((bodies(&found.rows), found.paused), (vec!["0", "1", "2"], None));
    adds_up(&store);
}

#[tokio::test]
async fn rows_of_a_paused_route_expire_as_others_do() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), TestClock::default());
    let store = open(directory.path(), &clock);
    let up = Endpoint::upstream();
    store.append(vec![(message("d", "x"), wins("a", &up))]).await.unwrap();
    store.set_paused("a", true).await.unwrap();
    store.set_time_to_live(Some(Duration::from_secs(5)));
    clock.advance(6);
    assert_eq!(pull(&store, &up, 9).expired.len(), 1);
    assert_eq!(store.sweep(&up, None).unwrap().expired.len(), 1);
}

#[tokio::test]
async fn a_backlog_is_discarded_by_endpoint_or_route_and_counted() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), TestClock::default());
    let store = open(directory.path(), &clock);
    let (gone, up) = (client("gw/gone"), Endpoint::upstream());
    let batch = (0..1_300).map(|n| {
        let route = if n % 2 == 0 { "a" } else { "b" };
        (message("d", "x"), [wins(route, &gone), wins(route, &up)].concat())
    });
    store.append(batch.collect()).await.unwrap();
    let pick = Pick { route: Some("a".into()), ..Pick::all(gone.clone()) };
    let (mut messages, mut rest) = (0, None);
    loop {
        let (done, left) = store.discard(pick.clone(), rest).await.unwrap();
        adds_up(&store);
        (messages, rest) = (messages + done.messages, left);
        if rest.is_none() {
            break;
        }
        store.append(vec![(message("d", "new"), wins("a", &gone))]).await.unwrap();
    }
    assert_eq!(messages, 650, "what came meanwhile stays");
    let left: Vec<_> = pull(&store, &gone, 2_000).rows.iter().map(|r| r.route.clone()).collect();
    assert_eq!(left.iter().filter(|route| &***route == "b").count(), 650);
    assert_eq!(pull(&store, &up, 2_000).rows.len(), 1_300, "the message itself is still there");
    let accounts = store.status().unwrap().accounts;
    let of_gone = accounts.iter().find(|a| a.route == "a" && a.endpoint == "gw/gone").unwrap();
    assert_eq!(of_gone.ends[4], 650);
}

#[tokio::test]
async fn the_lag_of_a_route_is_in_messages_bytes_and_age() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), TestClock::default());
    let store = open(directory.path(), &clock);
    let up = Endpoint::upstream();
    store.append(vec![(message("d", "x"), wins("a", &up))]).await.unwrap();
    clock.advance(10);
    store.append(vec![(message("d", "xyz"), wins("b", &up)); 3]).await.unwrap();
    clock.advance(5);
    let lag = |store: &QueueStore| -> Vec<_> {
        let accounts = store.status().unwrap().accounts.into_iter();
        accounts.map(|a| (a.route, a.stored, a.bytes, a.oldest)).collect()
    };
    let sure = |seconds| Some((Duration::from_secs(seconds), false));
    let expected = [("a".into(), 1, 4, sure(15)), ("b".into(), 3, 18, sure(5))];
    assert_eq!(lag(&store), expected);
    store.append(vec![(message("d", "x"), wins("a", &up)); 900]).await.unwrap();
    clock.advance(1);
    store.append(vec![(message("d", "x"), wins("late", &up))]).await.unwrap();
    let late = lag(&store).pop().unwrap();
    assert_eq!(late.3, Some((Duration::from_secs(1), true)), "it stands far behind: at most");
}

#[tokio::test]
async fn unrouted_messages_are_counted_by_source_with_the_last_few_and_no_body() {
    struct Nowhere;
    impl Matcher for Nowhere {
        fn winners(&self, _: &Message) -> Vec<Win> {
            Vec::new()
        }
        fn source(&self, message: &Message) -> String {
            format!("/messages/{}", message.body.len())
        }
        fn lifetime(&self, _: &str) -> Lifetime {
            Lifetime::Global
        }
    }
    let (directory, clock) = (tempfile::tempdir().unwrap(), TestClock::default());
    let store = open(directory.path(), &clock);
    store.set_matcher(Arc::new(Nowhere)).await.unwrap();
    let sent = |sender: &str, n: u32, body: &str| {
        let bag = Bag::parse(&format!("n={n}&%24.on=out")).unwrap();
        Message { bag, ..message(sender, body) }
    };
    store.ingest((0..5).map(|n| sent("d/m", n, "BODY-MARK")).collect()).await.unwrap();
    clock.advance(7);
    store.ingest(vec![sent("d/m", 9, "BODY-MARK"), sent("e", 0, "")]).await.unwrap();
    let status = store.status().unwrap();
    assert_eq!((status.messages_in, status.unrouted), (7, 7));
    let sources = status.unrouted_sources;
    let counts: Vec<_> = sources.iter().map(|it| (&*it.sender, &*it.source, it.count)).collect();
    assert_eq!(counts, [("d/m", "/messages/9", 6), ("e", "/messages/0", 1)]);
    let last = sources[0].last.iter().map(|it| (it.age_seconds, it.bytes, &*it.properties["n"]));
    assert_eq!(last.collect::<Vec<_>>(), [(7, 9, "3"), (7, 9, "4"), (0, 9, "9")]);
    drop(store);
    let file = std::fs::read(directory.path().join("data.mdb")).unwrap();
    assert!(!file.windows(9).any(|part| part == b"BODY-MARK"));
}

#[tokio::test]
async fn a_client_that_invents_outputs_fills_no_table() {
    struct Nowhere;
    impl Matcher for Nowhere {
        fn winners(&self, _: &Message) -> Vec<Win> {
            Vec::new()
        }
        fn source(&self, message: &Message) -> String {
            str::from_utf8(&message.body).unwrap().into()
        }
        fn lifetime(&self, _: &str) -> Lifetime {
            Lifetime::Global
        }
    }
    let (directory, clock) = (tempfile::tempdir().unwrap(), TestClock::default());
    let store = open(directory.path(), &clock);
    store.set_matcher(Arc::new(Nowhere)).await.unwrap();
    for part in 0..3 {
        let batch = (0..500).map(|n| message("d/m", &format!("{part} {n}")));
        store.ingest(batch.collect()).await.unwrap();
    }
    let sources = store.unrouted().unwrap();
    assert!(sources.len() <= 1_001, "{}", sources.len());
    assert_eq!(sources.iter().map(|it| it.count).sum::<u64>(), 1_500);
    assert!(sources.iter().any(|it| it.sender == "others" && it.count >= 499));
}
