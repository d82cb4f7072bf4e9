//! The queue as its neighbours see it.

mod lives;
mod model;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;

use super::*;
use crate::domain::bag::Bag;
use crate::domain::delivery::Position;
use crate::domain::route::{RouteSet, twin_change};
use crate::domain::row::Row;
use crate::domain::store_time::Reading;
use crate::store::writer::Planned;
use crate::store::{Clock, Options};

const DEADLINE: Duration = Duration::from_secs(20);

/// Whom `Stored` was told of.
#[derive(Clone, Default)]
struct Told(Rc<RefCell<Vec<String>>>);

impl Actor for Told {
    type Context = Context<Self>;
}

impl Handler<Stored> for Told {
    type Result = ();

    fn handle(&mut self, Stored(endpoint): Stored, _: &mut Context<Self>) {
        self.0.borrow_mut().push(endpoint.0.to_string());
    }
}

/// Seconds since boot, as the store sees them.
#[derive(Clone, Default)]
struct Seconds(Arc<AtomicU64>);

impl Clock for Seconds {
    fn read(&self) -> Reading {
        let since_boot = Duration::from_secs(self.0.load(Ordering::Relaxed));
        Reading { boot_id: 1, since_boot, wall: Duration::ZERO, is_synchronised: false }
    }
}

struct World {
    seconds: Seconds,
    store: Arc<QueueStore>,
    ports: QueuePorts,
    told: Told,
    addr: Addr<Queue>,
    _directory: tempfile::TempDir,
}

async fn world() -> World {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { reserve: 0, ..Options::queue() };
    let seconds = Seconds::default();
    let store = QueueStore::open(directory.path(), options, seconds.clone()).unwrap();
    let (ports, told) = (QueuePorts::default(), Told::default());
    let probe = told.clone().start();
    ports.stored_upstream.plug(&probe);
    ports.stored_client.plug(&probe);
    let addr = start(&store, &ports).await;
    World { seconds, store, ports, told, addr, _directory: directory }
}

/// Where the queue lies is none of these tests' business.
fn no_move() -> Bring {
    Arc::new(|_| Err("not here".into()))
}

async fn start(store: &Arc<QueueStore>, ports: &QueuePorts) -> Addr<Queue> {
    let identity = Identity::parse("gw/$edgeHub").unwrap();
    let (ports_of, obituary) = (ports.clone(), Obituary::unsupervised());
    let queue = Queue::new(Arc::clone(store), identity, ports_of, no_move(), obituary);
    let addr = queue.start();
    while !ports.status.is_live() {
        tokio::task::yield_now().await;
    }
    addr
}

fn table(generation: u64, routes: &serde_json::Value, ttl: Option<u64>) -> Arc<RouteTable> {
    let desired = json!({ "schemaVersion": "1.1", "routes": routes });
    let set = RouteSet::parse(&desired, "gw");
    assert!(set.bad.is_empty(), "{set:?}");
    Arc::new(RouteTable::new(generation, set.good, ttl))
}

fn telemetry(sender: &str, bag: &str, body: &str) -> Telemetry {
    let body = bytes::Bytes::copy_from_slice(body.as_bytes());
    let (sender, bag) = (Identity::parse(sender).unwrap(), Bag::parse(bag).unwrap());
    Telemetry { sender, bag, body, link: None, transmission: None }
}

impl World {
    async fn set(&self, table: Arc<RouteTable>) {
        self.ports.set_routes.ask(SetRoutes(table), DEADLINE).await.unwrap();
    }

    async fn ingest(&self, batch: Vec<Telemetry>) -> Result<Vec<Verdict>, StoreError> {
        self.ports.ingest.ask(Ingest(batch, None), DEADLINE).await.unwrap()
    }

    async fn pull(&self, endpoint: &Endpoint) -> Vec<Row> {
        let (from, without) = (Position::default(), Vec::new());
        let endpoint = endpoint.clone();
        let pull = Pull { endpoint, from, max: 100, max_bytes: usize::MAX, without, live: None };
        self.ports.pull.ask(pull, DEADLINE).await.unwrap().unwrap().rows
    }

    async fn status(&self) -> QueueStatus {
        self.ports.status.ask(GetQueueStatus, DEADLINE).await.unwrap().unwrap()
    }
}

#[actix::test]
async fn messages_go_where_the_routes_say_and_their_ends_are_in_the_account() {
    let world = world().await;
    let batch = || {
        vec![
            telemetry("gw/sensor", "%24.on=out", "to the filter"),
            telemetry("gw/filter", "%24.on=out", "to the hub"),
            telemetry("leaf", "", "nowhere"),
        ]
    };
    assert_eq!(world.ingest(batch()).await, Err(StoreError::Unavailable), "no routes yet");
    assert_eq!(world.status().await.state, "waits for its routes");
    let routes = json!({
        "sensorToFilter": "FROM /messages/modules/sensor/outputs/out INTO BrokeredEndpoint(\"/modules/filter/inputs/in\")",
        "filterToHub": "FROM /messages/modules/filter/outputs/* INTO $upstream",
    });
    world.set(table(1, &routes, None)).await;
    let verdicts = world.ingest(batch()).await.unwrap();
    assert_eq!(verdicts, [Verdict::Stored, Verdict::Stored, Verdict::Unrouted]);
    let (up, filter) = (Endpoint::upstream(), Endpoint("gw/filter".into()));
    let rows = world.pull(&filter).await;
    assert_eq!((rows.len(), &*rows[0].body), (1, &b"to the filter"[..]));
    assert_eq!(rows[0].input.as_deref(), Some("in"));
    assert_eq!(*world.told.0.borrow(), ["$upstream", "gw/filter"]);
    let ends = vec![(rows[0].key, End::Delivered)];
    let finish = Finish { endpoint: filter.clone(), ends, is_last: false };
    let ended = world.ports.finish.ask(finish, DEADLINE).await.unwrap();
    assert_eq!(ended, Ok(vec![rows[0].key]));
    assert!(world.pull(&filter).await.is_empty());
    assert!(world.pull(&up).await[0].stamp.is_some());

    let status = world.status().await;
    assert_eq!((status.messages_in, status.unrouted, &*status.state), (3, 1, "ready"));
    let of = |route: &str| status.routes.iter().find(|counts| counts.route == route).unwrap();
    let done = of("sensorToFilter");
    assert_eq!((&*done.endpoint, done.received, done.delivered), ("gw/filter/in", 1, 1));
    assert_eq!((of("filterToHub").received, of("filterToHub").stored), (1, 1));
    let owed: Vec<_> = status.endpoints.iter().map(|e| (&*e.endpoint, e.messages)).collect();
    assert_eq!(owed, [("$upstream", 1), ("gw/filter", 0)]);
    assert!(world.store.verify().unwrap().is_empty());
}

#[actix::test]
async fn who_is_owed_messages_of_many_connections_is_told_once() {
    let world = world().await;
    let notices = super::notices::Notices::new(world.ports.clone());
    let (up, filter) = (Endpoint::upstream(), Endpoint("gw/filter".into()));
    for _ in 0..2 {
        notices.tell(vec![filter.clone()]);
        notices.tell(vec![filter.clone(), up.clone()]);
        tokio::task::yield_now().await;
    }
    assert_eq!(*world.told.0.borrow(), ["$upstream", "gw/filter", "$upstream", "gw/filter"]);
}

#[actix::test]
async fn twin_changes_go_where_their_source_says_and_not_with_telemetry() {
    let world = world().await;
    let routes = json!({
        "twins": "FROM /twinChangeNotifications INTO $upstream",
        "telemetry": "FROM /messages INTO BrokeredEndpoint(\"/modules/filter/inputs/in\")",
    });
    world.set(table(1, &routes, None)).await;
    let bag = twin_change(&Identity::parse("leaf").unwrap());
    let change = telemetry("gw/$edgeHub", bag.as_str(), "{}");
    assert_eq!(world.ingest(vec![change]).await.unwrap(), [Verdict::Stored]);
    let rows = world.pull(&Endpoint::upstream()).await;
    assert_eq!(rows.iter().map(|row| &*row.route).collect::<Vec<_>>(), ["twins"]);
    assert!(world.pull(&Endpoint("gw/filter".into())).await.is_empty());
}

#[actix::test]
async fn routes_are_swapped_under_traffic_with_nothing_lost() {
    let world = world().await;
    let to = |input: &str| {
        let sink = format!("BrokeredEndpoint(\"/modules/m/inputs/{input}\")");
        json!({ input: format!("FROM /messages/* INTO {sink}") })
    };
    world.set(table(1, &to("a"), None)).await;
    let mut stored = Vec::new();
    for n in 0..60 {
        if n % 3 == 2 {
            let input = if n % 2 == 0 { "a" } else { "b" };
            let swap = SetRoutes(table(n + 1, &to(input), None));
            stored.push(
                world
                    .ports
                    .ingest
                    .ask(Ingest(vec![telemetry("leaf", "", &n.to_string())], None), DEADLINE),
            );
            world.ports.set_routes.ask(swap, DEADLINE).await.unwrap();
        } else {
            stored.push(
                world
                    .ports
                    .ingest
                    .ask(Ingest(vec![telemetry("leaf", "", &n.to_string())], None), DEADLINE),
            );
        }
    }
    for verdicts in futures_util::future::join_all(stored).await {
        assert_eq!(verdicts.unwrap().unwrap(), [Verdict::Stored]);
    }
    let rows = world.pull(&Endpoint("gw/m".into())).await;
    let bodies: Vec<_> =
        rows.iter().map(|row| str::from_utf8(&row.body).unwrap().to_string()).collect();
    assert_eq!(bodies, (0..60).map(|n: u8| n.to_string()).collect::<Vec<_>>(), "in order too");
    assert!(rows.iter().all(|row| row.input.as_deref() == Some(&*row.route)));
    assert!(rows.iter().any(|row| &*row.route == "b"));
    assert!(world.store.verify().unwrap().is_empty());
}

#[actix::test]
async fn nothing_is_answered_before_it_is_on_disk() {
    let world = world().await;
    world.set(table(1, &json!({ "up": "FROM /messages/* INTO $upstream" }), None)).await;
    world.store.plan([Planned::CommitOfAppends(28); 2]);
    let asked = world.ports.ingest.ask(Ingest(vec![telemetry("leaf", "", "x")], None), DEADLINE);
    let mut answer = std::pin::pin!(asked);
    let mut state = world.store.state();
    tokio::select! {
        _ = &mut answer => panic!("acknowledged while the disk was full"),
        refused = state.wait_for(|state| matches!(state, crate::store::WriterState::Retrying(_))) => drop(refused),
    }
    assert!(world.pull(&Endpoint::upstream()).await.is_empty());
    assert!(world.status().await.state.starts_with("cannot write"));
    assert_eq!(answer.await.unwrap(), Ok(vec![Verdict::Stored]));
    assert_eq!(world.pull(&Endpoint::upstream()).await.len(), 1);
}

#[actix::test]
async fn the_next_life_of_the_actor_owes_what_the_last_one_owed() {
    let world = world().await;
    world.set(table(1, &json!({ "up": "FROM /messages/* INTO $upstream" }), None)).await;
    world.ingest(vec![telemetry("leaf", "", "first")]).await.unwrap();
    world.addr.do_send(crate::messages::supervision::Shutdown);
    while world.addr.connected() {
        tokio::task::yield_now().await;
    }
    assert!(world.ports.pull.recipient().is_none_or(|pull| !pull.connected()));
    let _second = start(&world.store, &world.ports).await;
    world.ingest(vec![telemetry("leaf", "", "second")]).await.unwrap();
    assert_eq!(world.pull(&Endpoint::upstream()).await.len(), 2);
}

#[actix::test]
async fn expired_rows_end_at_a_pull_or_by_the_sweep() {
    let world = world().await;
    let routes = json!({
        "up": { "route": "FROM /messages/* INTO $upstream" },
        "m": "FROM /messages/* INTO BrokeredEndpoint(\"/modules/m/inputs/i\")",
    });
    world.set(table(1, &routes, Some(1))).await;
    world.ingest(vec![telemetry("leaf", "", "x")]).await.unwrap();
    let expired = || async {
        let routes = world.status().await.routes;
        routes.iter().map(|counts| (counts.stored, counts.expired)).collect::<Vec<_>>()
    };
    assert_eq!(expired().await, [(1, 0), (1, 0)]);
    world.seconds.0.fetch_add(1, Ordering::Relaxed);
    assert!(world.pull(&Endpoint::upstream()).await.is_empty());
    world.store.tick().await.unwrap();
    let ended = expired().await;
    assert!(ended.contains(&(0, 1)) && ended.contains(&(1, 0)), "{ended:?}");
    tokio::time::pause();
    tokio::time::advance(sweep::PAUSE * 2).await;
    tokio::time::resume();
    while expired().await != [(0, 1), (0, 1)] {
        tokio::task::yield_now().await;
    }
    assert!(world.store.verify().unwrap().is_empty());
}
