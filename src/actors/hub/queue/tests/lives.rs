//! The life of a route: its backlog, its time to live, its rests, and what an operator does to it.

use super::*;

/// A table whose routes all go to one input of a module.
fn inputs(generation: u64, routes: &[(&str, &str)], ttl: Option<u64>) -> Arc<RouteTable> {
    let route = |(name, into): &(&str, &str)| {
        let sink = format!("BrokeredEndpoint(\"/modules/{into}/inputs/in\")");
        ((*name).to_owned(), json!(format!("FROM /messages/* INTO {sink}")))
    };
    let routes = routes.iter().map(route).collect::<serde_json::Map<_, _>>();
    table(generation, &routes.into(), ttl)
}

#[actix::test]
async fn a_backlog_belongs_to_the_route_and_the_endpoint_and_drains_when_they_part() {
    let world = world().await;
    let (old, new) = (Endpoint("gw/old".into()), Endpoint("gw/new".into()));
    let stored = async || {
        let routes = world.status().await.routes.into_iter();
        routes.map(|it| (format!("{} {}", it.route, it.endpoint), it.stored)).collect::<Vec<_>>()
    };
    world.set(inputs(1, &[("r", "old")], None)).await;
    world.ingest(vec![telemetry("leaf", "", "1")]).await.unwrap();
    let sink = "BrokeredEndpoint(\"/modules/old/inputs/in\")";
    let text = format!("FROM /messages/* WHERE IS_DEFINED(yes) INTO {sink}");
    world.set(table(2, &json!({ "r": text }), None)).await;
    world.ingest(vec![telemetry("leaf", "yes=1", "2")]).await.unwrap();
    assert_eq!(stored().await, [("r gw/old/in".into(), 2)], "a new condition keeps it");

    world.set(inputs(3, &[("r", "new")], None)).await;
    world.ingest(vec![telemetry("leaf", "", "3")]).await.unwrap();
    assert_eq!(stored().await, [("r gw/old/in".into(), 2), ("r gw/new/in".into(), 1)]);
    assert_eq!(world.pull(&new).await.len(), 1, "a new sink starts empty");

    world.set(inputs(4, &[], None)).await;
    assert_eq!(world.ingest(vec![telemetry("leaf", "", "4")]).await.unwrap(), [Verdict::Unrouted]);
    let rows = world.pull(&old).await;
    assert_eq!(rows.len(), 2, "what a removed route took is still given out");
    let ends = rows.iter().map(|row| (row.key, End::Delivered)).collect();
    let finish = Finish { endpoint: old, ends, is_last: false };
    world.ports.finish.ask(finish, DEADLINE).await.unwrap().unwrap();
    let left = [("r gw/old/in".into(), 0), ("r gw/new/in".into(), 1)];
    assert_eq!(stored().await, left, "and that of a module that is gone stays, and is shown");
    let sources = world.status().await.unrouted_sources;
    assert_eq!((&*sources[0].sender, &*sources[0].source), ("leaf", "/messages"));
}

#[actix::test]
async fn a_change_of_the_time_to_live_reaches_what_is_stored() {
    let world = world().await;
    let m = Endpoint("gw/m".into());
    world.set(inputs(1, &[("r", "m")], Some(5))).await;
    world.ingest(vec![telemetry("leaf", "", "x")]).await.unwrap();
    world.set(inputs(2, &[("r", "m")], Some(50))).await;
    world.seconds.0.fetch_add(20, Ordering::Relaxed);
    assert_eq!(world.pull(&m).await.len(), 1, "it was prolonged");
    world.set(inputs(3, &[("r", "m")], Some(10))).await;
    assert!(world.pull(&m).await.is_empty(), "it was cut short");
    while world.status().await.routes[0].expired == 0 {
        tokio::task::yield_now().await;
    }
}

#[actix::test]
async fn of_several_routes_to_one_endpoint_one_delivers_by_priority_then_by_name() {
    let world = world().await;
    let text = "FROM /messages/* INTO $upstream";
    let with = |priority: u8| json!({ "route": text, "priority": priority });
    let winner = async |generation, routes: serde_json::Value| {
        world.set(table(generation, &routes, None)).await;
        world.ingest(vec![telemetry("leaf", "", "x")]).await.unwrap();
        let rows = world.pull(&Endpoint::upstream()).await;
        assert_eq!(rows.len(), 1);
        let ends = vec![(rows[0].key, End::Delivered)];
        let finish = Finish { endpoint: Endpoint::upstream(), ends, is_last: false };
        world.ports.finish.ask(finish, DEADLINE).await.unwrap().unwrap();
        rows[0].route.to_string()
    };
    assert_eq!(winner(1, json!({ "b": text, "a": text })).await, "a");
    assert_eq!(winner(2, json!({ "a": text, "b": with(9) })).await, "b");
    assert_eq!(winner(3, json!({ "a": with(3), "b": with(3), "0": with(4) })).await, "a");
}

#[actix::test]
async fn who_reads_is_told_to_read_again_when_a_route_is_paused_or_goes_on() {
    let world = world().await;
    let rewound: Rc<RefCell<Vec<String>>> = Rc::default();
    let seen = Rc::clone(&rewound);
    crate::actors::stand_in::plug(&world.ports.rewound_client, move |Rewound(who)| {
        seen.borrow_mut().push(who.0.to_string());
    });
    world.set(inputs(1, &[("r", "m")], None)).await;
    world.ingest(vec![telemetry("leaf", "", "x")]).await.unwrap();
    let m = Endpoint("gw/m".into());
    for (is_paused, count) in [(true, 0), (false, 1)] {
        let pause = Pause { route: "r".into(), is_paused };
        world.ports.pause.ask(pause, DEADLINE).await.unwrap().unwrap();
        assert_eq!(world.pull(&m).await.len(), count);
    }
    crate::actors::stand_in::settle().await;
    assert_eq!(*rewound.borrow(), ["gw/m", "gw/m"]);
}

#[actix::test]
async fn an_operator_discards_replays_and_drops_and_who_is_owed_again_hears_of_it() {
    use crate::messages::dead_letters::{How, Pick};
    let world = world().await;
    world.set(table(1, &json!({ "up": "FROM /messages/* INTO $upstream" }), None)).await;
    let batch = (0..3).map(|n| telemetry("leaf", "", &n.to_string()));
    world.ingest(batch.collect()).await.unwrap();
    let up = Endpoint::upstream();
    let rows = world.pull(&up).await;
    let dead = || End::DeadLettered { why: "400 no".into(), tries: 1 };
    let ends = vec![(rows[0].key, dead()), (rows[1].key, dead())];
    let finish = Finish { endpoint: up.clone(), ends, is_last: false };
    world.ports.finish.ask(finish, DEADLINE).await.unwrap().unwrap();
    let settle = async |how, offsets: Option<Vec<u64>>| {
        let offsets = offsets.map(|all| all.into_iter().map(crate::domain::row::Offset).collect());
        let pick = Pick { offsets, ..Pick::all(up.clone()) };
        world.ports.settle.ask(Settle { pick, how }, DEADLINE).await.unwrap().unwrap().messages
    };
    let told = world.told.0.borrow().len();
    assert_eq!(settle(How::Replay, Some(vec![1])).await, 1);
    crate::actors::stand_in::settle().await;
    assert_eq!(world.told.0.borrow()[told..], ["$upstream"]);
    assert_eq!(settle(How::Drop, None).await, 1);
    assert_eq!(settle(How::Discard, None).await, 2, "the one replayed, and the one never refused");
    let counts = world.status().await.routes.remove(0);
    let figures = (counts.received, counts.stored, counts.dead_lettered, counts.discarded);
    assert_eq!(figures, (3, 0, 0, 3));
    assert!(world.store.verify().unwrap().is_empty());
}
