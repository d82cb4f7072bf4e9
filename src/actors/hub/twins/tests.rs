//! Twins between a parent and a state in memory.

mod owed;

use std::cell::RefCell;
use std::rc::Rc;

use serde_json::{Value, json};

use super::*;
use crate::actors::stand_in::{Log, Shelf, noted, port, settle};
use crate::domain::features::Features;
use crate::messages::sessions::Online;
use crate::messages::twins::{
    DesiredPatched, DesiredTaken, GetDesired, GetTwin, PatchReported, WatchDesired,
};
use crate::messages::upstream::{Ask, LinkAnswer, LinkChanged, NotConnected};

/// The parent's side: one twin for everybody, whether it can be reached, what it was asked.
struct Parent {
    desired: Value,
    reported_version: u64,
    /// All that was reported to it, of everybody.
    reported: Value,
    is_up: bool,
    /// The answer to patches with this name in them.
    refused: Option<(&'static str, u16)>,
    asked: Vec<String>,
}

impl Parent {
    fn answer(&mut self, request: &Request) -> Result<LinkAnswer, NotConnected> {
        if !self.is_up {
            return Err(NotConnected);
        }
        let id = &request.identity;
        let (status, body, version) = match &request.what {
            Ask::TwinGet => {
                self.asked.push(format!("get {id}"));
                let mut reported = self.reported.clone();
                reported["$version"] = self.reported_version.into();
                (200, json!({"desired": self.desired, "reported": reported}).to_string(), None)
            }
            Ask::TwinPatch(patch) => {
                let patch = String::from_utf8(patch.to_vec()).unwrap();
                self.asked.push(format!("patch {id} {patch}"));
                match self.refused.filter(|(name, _)| patch.contains(name)) {
                    Some((_, status)) => (status, r#"{"message":"too much"}"#.into(), None),
                    None => {
                        self.reported_version += 1;
                        (204, String::new(), Some(self.reported_version))
                    }
                }
            }
            _ => panic!("not asked by twins"),
        };
        Ok(LinkAnswer { status, body: body.into(), version })
    }
}

struct Scene {
    twins: Addr<Twins>,
    parent: Rc<RefCell<Parent>>,
    shelf: Shelf,
    /// Whether the client is online, and takes patches.
    is_online: Rc<RefCell<bool>>,
    told: Log<(u64, String)>,
    noticed: Log<String>,
    ingest: Port<Ingest>,
    request: Port<Request>,
}

fn id(text: &str) -> Identity {
    Identity::parse(text).unwrap()
}

impl Scene {
    fn new() -> Self {
        tokio::time::pause();
        let parent = Parent {
            desired: json!({"a": 1, "$version": 3}),
            reported_version: 1,
            reported: json!({}),
            is_up: false,
            refused: None,
            asked: Vec::new(),
        };
        let parent = Rc::new(RefCell::new(parent));
        Self::start(parent, Shelf::default(), Rc::new(RefCell::new(true)))
    }

    fn start(parent: Rc<RefCell<Parent>>, shelf: Shelf, is_online: Rc<RefCell<bool>>) -> Self {
        let told: Log<(u64, String)> = Rc::default();
        let (asked, seen) = (Rc::clone(&parent), Rc::clone(&told));
        let (online, takes) = (Rc::clone(&is_online), Rc::clone(&is_online));
        let taken = Port::<DesiredTaken>::default();
        let acknowledge = taken.clone();
        let (edge_hub, noticed) = noted(|changed: TwinChanged| match changed {
            TwinChanged::Desired(whose) => whose.to_string(),
            TwinChanged::Reported(whose) => format!("reported {whose}"),
        });
        let ports = TwinsPorts {
            save: shelf.save(),
            scan: shelf.scan(),
            request: port(move |request: Request| asked.borrow_mut().answer(&request)),
            send: port(move |send: sessions::Send| {
                let Down::Desired { version, patch } = send.what else { panic!("not of twins") };
                let patch = String::from_utf8(patch.to_vec()).unwrap();
                if *takes.borrow() {
                    seen.borrow_mut().push((version, patch));
                    acknowledge.tell(DesiredTaken { identity: send.to, version });
                }
                *takes.borrow()
            }),
            online: port(move |ListOnline| {
                let features = Features { desired: true, ..Features::default() };
                let leaf = Online { identity: id("leaf"), features, is_behind_edge: false };
                if *online.borrow() { vec![leaf] } else { Vec::new() }
            }),
            edge_hub,
            edge_agent: Port::default(),
            ingest: Port::default(),
        };
        let (ingest, request) = (ports.ingest.clone(), ports.request.clone());
        let twins = Twins::new(&id("gw"), ports, Obituary::unsupervised()).start();
        taken.plug(&twins);
        Scene { twins, parent, shelf, is_online, told, noticed, ingest, request }
    }

    /// The process starts anew.
    fn restart(self) -> Self {
        Self::start(self.parent, self.shelf, self.is_online)
    }

    async fn link(&self, is_up: bool) {
        self.parent.borrow_mut().is_up = is_up;
        self.twins.send(LinkChanged { is_up }).await.unwrap();
        settle().await;
    }

    async fn get(&self) -> Value {
        let answer = self.twins.send(GetTwin(id("leaf"))).await.unwrap();
        assert_eq!(answer.status, 200);
        serde_json::from_slice(&answer.body).unwrap()
    }

    /// The client subscribes to patches of its desired properties.
    async fn watch(&self) {
        self.twins.send(WatchDesired(id("leaf"))).await.unwrap();
        settle().await;
    }

    async fn report(&self, patch: &str) -> TwinAnswer {
        let patch = PatchReported { identity: id("leaf"), patch: patch.to_owned().into() };
        self.twins.send(patch).await.unwrap()
    }

    async fn desired(&self, version: u64, patch: &Value) {
        let patch = patch.to_string().into();
        let patched = DesiredPatched { identity: id("leaf"), version, patch };
        self.twins.send(patched).await.unwrap();
        settle().await;
    }

    /// What the parent was asked of the leaf, and forgets.
    fn asked(&self) -> Vec<String> {
        let asked = std::mem::take(&mut self.parent.borrow_mut().asked);
        asked.into_iter().filter(|asked| asked.contains("leaf")).collect()
    }

    async fn status(&self) -> (usize, usize, usize) {
        let status = self.twins.send(GetTwinsStatus).await.unwrap();
        (status.twins, status.pending_patches, status.dead_letters)
    }
}

#[actix::test]
async fn a_twin_is_the_parents_or_the_copy_of_it_or_an_empty_one() {
    let scene = Scene::new();
    let empty = json!({"desired": {"$version": 0}, "reported": {"$version": 0}});
    assert_eq!(scene.get().await, empty);
    scene.link(true).await;
    let whole = json!({"desired": {"a": 1, "$version": 3}, "reported": {"$version": 1}});
    assert_eq!(scene.get().await, whole);
    scene.link(false).await;
    let scene = scene.restart();
    assert_eq!(scene.get().await, whole);
}

#[actix::test]
async fn what_is_reported_offline_is_on_disk_and_goes_out_in_one_patch() {
    let scene = Scene::new();
    for patch in [r#"{"x":1}"#, r#"{"y":2}"#, r#"{"x":null}"#] {
        assert_eq!(scene.report(patch).await.status, 204);
    }
    assert_eq!(scene.get().await["reported"]["y"], 2);
    let scene = scene.restart();
    settle().await;
    assert_eq!(scene.status().await.1, 3);
    scene.link(true).await;
    assert_eq!(scene.asked(), [r#"patch leaf {"x":null,"y":2}"#, "get leaf"]);
    assert_eq!(scene.status().await.1, 0);
    assert_eq!(scene.restart().status().await.1, 0, "it is gone from the disk too");
}

#[actix::test]
async fn with_the_link_up_the_client_hears_the_parents_version_or_its_refusal() {
    let scene = Scene::new();
    scene.link(true).await;
    let answer = scene.report(r#"{"x":1}"#).await;
    assert_eq!((answer.status, answer.version), (204, Some(2)));
    scene.parent.borrow_mut().refused = Some(("bad", 400));
    let answer = scene.report(r#"{"bad":1}"#).await;
    assert_eq!((answer.status, answer.body.is_empty()), (400, false));
    settle().await;
    assert_eq!(scene.status().await, (3, 0, 1));
    assert_eq!(scene.get().await["reported"], json!({"$version": 2}), "not in our copy either");
}

#[actix::test]
async fn one_refused_patch_holds_up_no_other() {
    let scene = Scene::new();
    for patch in [r#"{"x":1}"#, r#"{"bad":1}"#, r#"{"y":1}"#] {
        scene.report(patch).await;
    }
    scene.parent.borrow_mut().refused = Some(("bad", 400));
    scene.link(true).await;
    let last = ["patch leaf {\"y\":1}", "get leaf"];
    let asked = scene.asked();
    assert!(asked.ends_with(&last.map(String::from)), "{asked:?}");
    assert_eq!(scene.status().await, (3, 0, 1));
}

#[actix::test]
async fn a_parent_that_says_not_now_is_asked_again_later() {
    let scene = Scene::new();
    scene.parent.borrow_mut().refused = Some(("x", 503));
    scene.report(r#"{"x":1}"#).await;
    scene.link(true).await;
    assert_eq!(scene.asked(), [r#"patch leaf {"x":1}"#]);
    scene.parent.borrow_mut().refused = None;
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(scene.asked(), [r#"patch leaf {"x":1}"#, "get leaf"]);
}

#[actix::test]
async fn bad_properties_are_refused_with_a_body_and_nothing_is_kept() {
    let scene = Scene::new();
    for patch in ["", "[1]", r#"{"a b":1}"#] {
        let answer = scene.report(patch).await;
        assert_eq!(answer.status, 400);
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        assert!(body["errorCode"].is_u64() && body["message"].is_string());
    }
    assert_eq!(scene.status().await.1, 0);
}

#[actix::test]
async fn the_next_patch_is_passed_on_and_any_other_makes_us_read_the_whole_twin() {
    let scene = Scene::new();
    scene.link(true).await;
    scene.get().await;
    scene.asked();
    scene.desired(4, &json!({"b": 2, "$version": 4})).await;
    assert_eq!(*scene.told.borrow(), [(4, r#"{"b":2,"$version":4}"#.to_owned())]);
    assert!(scene.asked().is_empty());

    scene.parent.borrow_mut().desired = json!({"c": 3, "$version": 9});
    scene.desired(9, &json!({"c": 3, "$version": 9})).await;
    assert_eq!(scene.asked(), ["get leaf"]);
    let told = scene.told.borrow().last().cloned().unwrap();
    assert_eq!(told, (9, r#"{"a":null,"b":null,"c":3,"$version":9}"#.to_owned()));
}

#[actix::test]
async fn a_client_hears_of_what_changed_while_the_link_was_down_once() {
    let scene = Scene::new();
    scene.link(true).await;
    scene.get().await;
    scene.link(false).await;
    scene.parent.borrow_mut().desired = json!({"a": 2, "$version": 5});
    for _ in 0..2 {
        scene.link(true).await;
        scene.link(false).await;
    }
    let scene = scene.restart();
    scene.link(true).await;
    assert!(scene.told.borrow().is_empty(), "it was told before the restart");
    scene.parent.borrow_mut().desired = json!({"a": 3, "$version": 6});
    scene.link(true).await;
    assert_eq!(*scene.told.borrow(), [(6, r#"{"a":3,"$version":6}"#.to_owned())]);
}

#[actix::test]
async fn what_a_client_missed_while_it_was_away_is_in_the_next_difference() {
    let scene = Scene::new();
    scene.link(true).await;
    scene.get().await;
    *scene.is_online.borrow_mut() = false;
    scene.desired(4, &json!({"b": 2})).await;
    *scene.is_online.borrow_mut() = true;
    scene.desired(5, &json!({"c": 3})).await;
    let told = scene.told.borrow().clone();
    assert_eq!(told, [(5, r#"{"b":2,"c":3,"$version":5}"#.to_owned())]);
}

#[actix::test]
async fn a_client_that_subscribes_and_never_reads_hears_of_what_it_missed_with_the_link_down() {
    let scene = Scene::new();
    *scene.is_online.borrow_mut() = false; // it comes after the link
    scene.link(true).await;
    *scene.is_online.borrow_mut() = true;
    scene.watch().await;
    assert_eq!(scene.asked(), ["get leaf"], "the parent's twin is where it begins");
    scene.link(false).await;
    scene.parent.borrow_mut().desired = json!({"b": 2, "$version": 5});
    scene.link(true).await;
    assert_eq!(*scene.told.borrow(), [(5, r#"{"a":null,"b":2,"$version":5}"#.to_owned())]);
}

#[actix::test]
async fn a_client_that_subscribes_with_the_link_down_has_nothing_yet() {
    let scene = Scene::new();
    let began = tokio::time::Instant::now();
    scene.watch().await;
    assert!(began.elapsed() < Duration::from_millis(100), "there is nobody to wait for");
    scene.link(true).await;
    assert_eq!(*scene.told.borrow(), [(3, r#"{"a":1,"$version":3}"#.to_owned())]);
}

#[actix::test]
async fn a_client_that_comes_back_hears_of_what_changed_while_it_was_not_attached() {
    let scene = Scene::new();
    scene.link(true).await;
    scene.get().await;
    scene.parent.borrow_mut().desired = json!({"a": 2, "$version": 4});
    scene.watch().await;
    assert_eq!(*scene.told.borrow(), [(4, r#"{"a":2,"$version":4}"#.to_owned())]);
    scene.watch().await;
    assert_eq!(scene.told.borrow().len(), 1);
}

#[actix::test]
async fn those_who_act_on_our_own_desired_properties_hear_of_them() {
    let scene = Scene::new();
    settle().await;
    assert!(scene.noticed.borrow().is_empty());
    let desired = || scene.twins.send(GetDesired(id("gw/$edgeHub")));
    assert_eq!(desired().await.unwrap(), None);
    scene.link(true).await;
    assert_eq!(*scene.noticed.borrow(), ["gw/$edgeHub", "reported gw/$edgeHub"]);
    let desired = desired().await.unwrap().unwrap();
    assert_eq!((desired.version, desired.properties), (3, json!({"a": 1})));
    scene.link(true).await;
    assert_eq!(scene.noticed.borrow().len(), 2, "nothing has changed");
    let scene = scene.restart();
    settle().await;
    assert_eq!(*scene.noticed.borrow(), ["gw/$edgeHub"], "it is known with the parent away");
}

#[actix::test]
async fn who_reports_for_this_edge_hears_that_the_parent_has_not_what_was_reported() {
    let scene = Scene::new();
    let report = async |patch: &'static str| {
        let identity = id("gw/$edgeHub");
        let patch = PatchReported { identity, patch: patch.into() };
        scene.twins.send(patch).await.unwrap().status
    };
    let heard = async || {
        settle().await;
        std::mem::take(&mut *scene.noticed.borrow_mut())
    };
    scene.link(true).await;
    assert_eq!(heard().await, ["gw/$edgeHub", "reported gw/$edgeHub"]);
    assert_eq!(report(r#"{"x":1}"#).await, 204);
    scene.parent.borrow_mut().reported = json!({"x": 1});
    scene.link(true).await;
    assert!(heard().await.is_empty(), "it has it");
    scene.parent.borrow_mut().reported = json!({});
    scene.link(true).await;
    assert_eq!(heard().await, ["reported gw/$edgeHub"], "it was set back");
    scene.link(true).await;
    assert!(heard().await.is_empty(), "that is known");
    // Answered while the link was down, and refused for good when it was up.
    scene.link(false).await;
    assert_eq!(report(r#"{"bad":1}"#).await, 204);
    scene.parent.borrow_mut().refused = Some(("bad", 400));
    scene.link(true).await;
    assert_eq!(heard().await, ["reported gw/$edgeHub"]);
    assert_eq!(scene.status().await.2, 1);
}

#[actix::test]
async fn a_store_that_does_not_take_a_patch_is_not_hidden_from_the_client() {
    let scene = Scene::new();
    settle().await;
    scene.shelf.set_full(true);
    assert_eq!(scene.report(r#"{"x":1}"#).await.status, 503);
    assert!(!scene.twins.connected(), "it is built anew from what is on disk");
}
