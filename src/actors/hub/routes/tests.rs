//! Routes between a twin and a queue that can be away.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use serde_json::Value;

use super::*;
use crate::actors::stand_in::{Log, Shelf, plug, port, settle};
use crate::messages::twins::TwinAnswer;

struct Scene {
    routes: Addr<Routes>,
    desired: Rc<RefCell<Option<Desired>>>,
    set: Port<SetRoutes>,
    readiness: Readiness,
    reported: Log<Value>,
    /// Where the queue was brought.
    places: Log<Option<String>>,
    /// There is no room at one place.
    is_full: Rc<Cell<bool>>,
}

fn version(version: u64, routes: &Value) -> Desired {
    let properties = json!({
        "schemaVersion": "1.0",
        "routes": routes,
        "storeAndForwardConfiguration": { "timeToLiveSecs": 60 },
    });
    Desired { version, properties }
}

impl Scene {
    /// The twin was never read, and the queue is away.
    async fn new() -> Self {
        tokio::time::pause();
        Self::on(&Shelf::default()).await
    }

    /// With what was kept in an earlier life.
    async fn on(shelf: &Shelf) -> Self {
        let desired = Rc::new(RefCell::new(None));
        let (asked, reported) = (Rc::clone(&desired), Log::<Value>::default());
        let (places, room) = (Log::default(), Rc::new(Cell::new(true)));
        let (placed, is_full) = (Rc::clone(&places), Rc::clone(&room));
        let seen = Rc::clone(&reported);
        let ports = RoutesPorts {
            desired: port(move |GetDesired(_)| asked.borrow().clone()),
            report: port(move |patch: PatchReported| {
                seen.borrow_mut().push(serde_json::from_slice(&patch.patch).unwrap());
                TwinAnswer { status: 204, body: Default::default(), version: None }
            }),
            place: port(move |PlaceQueue(place)| match place.as_deref() {
                Some("/full") if is_full.get() => Err("no room".to_owned()),
                _ => {
                    placed.borrow_mut().push(place);
                    Ok(())
                }
            }),
            fetch: shelf.fetch(),
            save: shelf.save(),
            ..RoutesPorts::default()
        };
        let (set, readiness) = (ports.set.clone(), Readiness::default());
        let identity = Identity::parse("gw/$edgeHub").unwrap();
        let own = Routes::new(identity, ports, readiness.clone(), Obituary::unsupervised());
        let routes = own.start();
        settle().await;
        Scene { routes, desired, set, readiness, reported, places, is_full: room }
    }

    async fn deploy(&self, desired: Desired) {
        *self.desired.borrow_mut() = Some(desired);
        let who = Identity::parse("gw/$edgeHub").unwrap();
        self.routes.send(TwinChanged::Desired(who)).await.unwrap();
        settle().await;
    }

    /// The queue is there from now on; how many routes each table has that it is given.
    async fn with_queue(&self) -> Log<Vec<String>> {
        let tables: Log<Vec<String>> = Rc::default();
        let seen = Rc::clone(&tables);
        plug(&self.set, move |SetRoutes(table)| {
            let known = |name: &&str| table.route(name).is_some();
            let names = ["good", "other"].iter().copied().filter(known).map(str::to_owned);
            seen.borrow_mut().push(names.collect());
        });
        tokio::time::sleep(RETRY).await;
        settle().await;
        tables
    }

    /// Version, code and description of each report.
    fn reports(&self) -> Vec<(u64, u64, String)> {
        let read = |report: &Value| {
            let status = &report["lastDesiredStatus"];
            (
                report["lastDesiredVersion"].as_u64().unwrap(),
                status["code"].as_u64().unwrap(),
                status["description"].as_str().unwrap().to_owned(),
            )
        };
        self.reported.borrow_mut().drain(..).map(|report| read(&report)).collect()
    }

    async fn states(&self) -> Vec<(String, String)> {
        let all = self.routes.send(ListRoutes).await.unwrap();
        all.into_iter().map(|route| (route.name, route.state)).collect()
    }
}

#[actix::test]
async fn a_deployment_is_reported_once_messages_are_matched_by_it_and_not_before() {
    let scene = Scene::new().await;
    scene.deploy(version(7, &json!({ "good": "FROM /messages/* INTO $upstream" }))).await;
    assert_eq!(scene.reports(), [], "the queue does not have the routes yet");
    assert!(scene.readiness.missing().is_some());
    let tables = scene.with_queue().await;
    assert_eq!(*tables.borrow(), [["good"]]);
    assert_eq!(scene.reports(), [(7, 200, String::new())]);
    assert_eq!(scene.readiness.missing(), None);
}

#[actix::test]
async fn what_the_hub_has_lost_is_reported_again_once_for_each_time_that_it_is_found_out() {
    let scene = Scene::new().await;
    scene.with_queue().await;
    let lost = || scene.routes.send(TwinChanged::Reported(Identity::parse("gw/$edgeHub").unwrap()));
    lost().await.unwrap();
    tokio::time::sleep(REPORT_AGAIN * 2).await;
    assert_eq!(scene.reports(), [], "nothing was reported yet");
    scene.deploy(version(7, &json!({ "good": "FROM /messages/* INTO $upstream" }))).await;
    let reports = [(7, 200, String::new())];
    assert_eq!(scene.reports(), reports);
    for _ in 0..2 {
        for _ in 0..5 {
            lost().await.unwrap();
        }
        settle().await;
        assert_eq!(scene.reports(), [], "not at once: it may have refused it");
        tokio::time::sleep(REPORT_AGAIN * 2).await;
        assert_eq!(scene.reports(), reports);
    }
}

#[actix::test]
async fn a_queue_that_cannot_be_had_is_reported_once_and_its_return_too() {
    let scene = Scene::new().await;
    scene.readiness.waits("queue", "not plugged in");
    scene.deploy(version(7, &json!({ "good": "FROM /messages/* INTO $upstream" }))).await;
    tokio::time::sleep(RETRY * 5).await;
    let trouble = "the queue cannot be had: not plugged in".to_owned();
    assert_eq!(scene.reports(), [(7, 500, trouble)]);
    scene.with_queue().await;
    assert_eq!(scene.reports(), [(7, 200, String::new())]);
}

#[actix::test]
async fn a_bad_route_is_named_and_its_last_good_form_and_the_others_run() {
    let scene = Scene::new().await;
    let tables = scene.with_queue().await;
    let good = "FROM /messages/* INTO $upstream";
    scene.deploy(version(1, &json!({ "good": good, "other": good }))).await;
    scene.deploy(version(2, &json!({ "good": good, "other": "FROM nowhere" }))).await;
    assert_eq!(tables.borrow().last().unwrap(), &["good", "other"]);
    let reports = scene.reports();
    assert_eq!(reports[0], (1, 200, String::new()));
    assert!(matches!(&reports[1], (2, 400, text) if text.contains("other")), "{reports:?}");
    let words = |name: &str, state: &str| (name.to_owned(), state.to_owned());
    let expected = [words("good", "active"), words("other", "active"), words("other", "bad")];
    assert_eq!(scene.states().await, expected);

    scene.deploy(version(3, &json!({ "good": good }))).await;
    assert_eq!(tables.borrow().last().unwrap(), &["good"]);
    assert_eq!(scene.states().await, [words("good", "active")]);
    assert_eq!(scene.reports(), [(3, 200, String::new())]);
}

#[actix::test]
async fn a_deployment_that_cannot_be_read_changes_nothing_and_is_reported() {
    let scene = Scene::new().await;
    let tables = scene.with_queue().await;
    let good = "FROM /messages/* INTO $upstream";
    scene.deploy(version(1, &json!({ "good": good }))).await;
    let mut bad = version(2, &json!({ "good": good }));
    bad.properties["schemaVersion"] = "9.9".into();
    scene.deploy(bad).await;
    assert_eq!(tables.borrow().len(), 1);
    assert!(matches!(&scene.reports()[..], [(1, 200, _), (2, 400, _)]));
}

#[actix::test]
async fn the_last_good_form_outlives_a_restart() {
    let good = "FROM /messages/* INTO $upstream";
    tokio::time::pause();
    let shelf = Shelf::default();
    let scene = Scene::on(&shelf).await;
    scene.with_queue().await;
    scene.deploy(version(1, &json!({ "good": good, "other": good }))).await;

    let scene = Scene::on(&shelf).await;
    let tables = scene.with_queue().await;
    scene.deploy(version(2, &json!({ "good": good, "other": "FROM nowhere" }))).await;
    assert_eq!(tables.borrow().last().unwrap(), &["good", "other"]);

    let scene = Scene::on(&shelf).await;
    let tables = scene.with_queue().await;
    let mut unreadable = version(3, &json!({}));
    unreadable.properties["schemaVersion"] = "9.9".into();
    scene.deploy(unreadable).await;
    assert_eq!(tables.borrow().last().unwrap(), &["good", "other"]);
    assert!(matches!(&scene.reports()[..], [(3, 400, _)]));

    scene.deploy(version(4, &json!({}))).await;
    let scene = Scene::on(&shelf).await;
    let tables = scene.with_queue().await;
    scene.deploy(version(5, &json!({ "other": "FROM nowhere" }))).await;
    assert!(tables.borrow().last().unwrap().is_empty(), "it was taken away in between");
}

#[actix::test]
async fn a_twin_without_a_deployment_is_a_known_empty_set() {
    let scene = Scene::new().await;
    let tables = scene.with_queue().await;
    assert!(scene.readiness.missing().is_some(), "it was not read yet");
    scene.deploy(Desired { version: 1, properties: json!({}) }).await;
    assert_eq!(*tables.borrow(), [Vec::<String>::new()]);
    assert_eq!(scene.readiness.missing(), None);
    assert_eq!(scene.reports(), [], "nothing was deployed");
}

#[actix::test]
async fn the_queue_is_brought_to_its_place_before_the_deployment_is_reported() {
    let scene = Scene::new().await;
    let tables = scene.with_queue().await;
    let good = "FROM /messages/* INTO $upstream";
    let placed = |version_of: u64, place: Value| {
        let mut desired = version(version_of, &json!({ "good": good }));
        desired.properties["storeAndForwardConfiguration"]["location"] = place;
        desired
    };
    scene.deploy(placed(1, json!("/data/queue"))).await;
    scene.deploy(placed(2, Value::Null)).await;
    assert_eq!(*scene.places.borrow(), [Some("/data/queue".to_owned()), None]);
    assert_eq!(scene.reports(), [(1, 200, String::new()), (2, 200, String::new())]);

    scene.deploy(placed(3, json!("/full"))).await;
    tokio::time::sleep(Duration::from_secs(65)).await;
    let key = "storeAndForwardConfiguration.location";
    let error = format!("{key}: no room");
    assert_eq!(scene.reports(), [(3, 400, error.clone())], "said once, however often it is tried");
    assert_eq!((tables.borrow().len(), scene.places.borrow().len()), (3, 2), "the rest is applied");
    let all = scene.routes.send(ListRoutes).await.unwrap();
    assert!(all.iter().any(|one| one.error.as_ref() == Some(&error)), "{all:?}");
    scene.is_full.set(false);
    tokio::time::sleep(Duration::from_secs(35)).await;
    settle().await;
    assert_eq!(scene.reports(), [(3, 200, String::new())], "there is room by now");

    scene.deploy(placed(4, json!(7))).await;
    assert!(matches!(&scene.reports()[..], [(4, 400, text)] if text.starts_with(key)));
    assert_eq!(scene.places.borrow().len(), 3, "it stays where it is");
}
