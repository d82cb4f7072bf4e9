//! Against a hub over loopback that has identities, and fails for some.

use std::cell::Cell;
use std::collections::BTreeMap;

use serde_json::json;
use tokio::net::TcpListener;

use super::*;
use crate::actors::stand_in::{Shelf, port};
use crate::domain::agent::observed::Observed;
use crate::domain::connection_string::Secret;
use crate::domain::identity::Identity;
use crate::messages::supervision::Shutdown;
use crate::protocol::http::{HttpRequest, HttpResponse, Limits, Server, handler};
use crate::protocol::http_client::Place;

/// Module: generation and first key. Those named `bad…` can be neither made nor removed; of those
/// named `lost…` that are made the answer is lost.
type Hub = Rc<RefCell<BTreeMap<String, (String, String)>>>;

struct Bench {
    hub: Hub,
    shelf: Shelf,
    /// Modules that have containers.
    containers: Rc<RefCell<Vec<String>>>,
    /// The state store takes nothing once the hub has made something: as if this process had been
    /// killed then.
    dies: Rc<Cell<bool>>,
    rest: ParentRest,
    ports: AgentPorts,
    _server: Server,
}

fn answer(hub: &Hub, request: &HttpRequest) -> HttpResponse {
    let module = request.segments()[3].clone();
    let mut hub = hub.borrow_mut();
    let known = hub.get(&module).cloned();
    let shown = |(generation, key): &(String, String)| {
        let keys = json!({ "symmetricKey": { "primaryKey": key } });
        let known =
            json!({ "generationId": generation, "etag": generation, "authentication": keys });
        HttpResponse::json(200, &known)
    };
    match (request.method.as_str(), known) {
        ("GET", None) => HttpResponse::empty(404),
        ("GET", Some(known)) => shown(&known),
        ("PUT", Some(_)) => HttpResponse::empty(409),
        ("PUT" | "DELETE", _) if module.starts_with("bad") => HttpResponse::empty(500),
        ("PUT", None) => {
            let body: serde_json::Value = request.json().unwrap();
            let key = body.pointer("/authentication/symmetricKey/primaryKey").unwrap();
            let known = ("1".to_owned(), key.as_str().unwrap().to_owned());
            hub.insert(module.clone(), known.clone());
            if module.starts_with("lost") { HttpResponse::empty(500) } else { shown(&known) }
        }
        ("DELETE", Some((generation, _))) => {
            assert_eq!(request.header("if-match"), Some(format!("\"{generation}\"")));
            hub.remove(&module);
            HttpResponse::empty(204)
        }
        (method, _) => panic!("{method}"),
    }
}

impl Bench {
    async fn new() -> Self {
        let hub = Hub::default();
        let of_server = hub.clone();
        let (dies, shelf) = (Rc::new(Cell::new(false)), Shelf::default());
        let (is_last, disk) = (dies.clone(), shelf.clone());
        let answer = handler(move |request: HttpRequest| {
            disk.set_full(is_last.get() && request.method == "PUT");
            std::future::ready(answer(&of_server, &request))
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port_number = listener.local_addr().unwrap().port();
        let server = Server::tcp(listener, answer, Limits::default());
        let containers: Rc<RefCell<Vec<String>>> = Rc::default();
        let there = containers.clone();
        let ports = AgentPorts {
            save: shelf.save(),
            scan: shelf.scan(),
            fetch: shelf.fetch(),
            list: port(move |ask: ListContainers| {
                let is_there = there.borrow().contains(&ask.module.unwrap());
                Ok(is_there.then(Observed::default).into_iter().collect())
            }),
            ..AgentPorts::default()
        };
        let rest = ParentRest {
            place: Place::Tcp("127.0.0.1".into(), port_number),
            host: "hub".into(),
            device: Identity::device("gw").unwrap(),
            key: Secret::new("c2VjcmV0IGtleQ=="),
        };
        Bench { hub, shelf, containers, dies, rest, ports, _server: server }
    }

    async fn start(&self) -> Addr<Roster> {
        let roster = Roster::new(self.rest.clone(), self.ports.clone(), Obituary::unsupervised());
        let roster = roster.start();
        roster.send(crate::messages::supervision::Probe).await.unwrap();
        roster
    }

    async fn make(&self, module: &str) -> Result<(), String> {
        registrar(self.ports.make_identity.clone())(Identity::module("gw", module).unwrap()).await
    }

    async fn want(&self, roster: &Addr<Roster>, modules: &[&str]) {
        let modules = modules.iter().map(|&it| it.into()).collect();
        roster.send(ModulesWanted(modules)).await.unwrap();
    }

    fn known(&self) -> Vec<String> {
        self.hub.borrow().keys().cloned().collect()
    }

    /// As others do.
    fn others_make(&self, module: &str, generation: &str) {
        let known = (generation.to_owned(), "dGhlaXJz".to_owned());
        self.hub.borrow_mut().insert(module.into(), known);
    }

    async fn restarted(&self, roster: Addr<Roster>) -> Addr<Roster> {
        roster.send(Shutdown).await.unwrap();
        drop(roster);
        self.dies.set(false);
        self.shelf.set_full(false);
        self.start().await
    }

    async fn until_kept(&self, keys: &[&str]) {
        for _ in 0..100_000 {
            if self.shelf.keys(TABLE) == keys {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("{:?}, not {keys:?}", self.shelf.keys(TABLE));
    }

    async fn until_known(&self, modules: &[&str]) {
        for _ in 0..100_000 {
            if self.known() == modules {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("{:?}, not {modules:?}", self.known());
    }
}

#[actix::test]
async fn identities_come_and_go_with_modules_and_one_that_fails_holds_up_no_other() {
    let bench = Bench::new().await;
    let roster = bench.start().await;
    assert!(bench.make("bad").await.unwrap_err().contains("status 500"));
    for module in ["a", "b", "c"] {
        bench.make(module).await.unwrap();
    }
    bench.others_make("bad-one", "1");
    let ours = Save(vec![Change::put(TABLE, key("bad-one"), "1")]);
    bench.ports.save.ask(ours, SHORT).await.unwrap().unwrap();
    bench.want(&roster, &["b"]).await;
    bench.until_known(&["b", "bad-one"]).await;
    let mut state = String::new();
    for _ in 0..100_000 {
        state = roster.send(crate::messages::supervision::Probe).await.unwrap().state;
        if state != "running" {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert!(state.starts_with("bad-one: the parent refused to remove"), "{state}");
    assert_eq!(bench.shelf.keys(TABLE), ["identity/b", "identity/bad-one", "intended/bad"]);
}

#[actix::test]
async fn what_others_made_is_left_alone_also_after_a_restart() {
    let bench = Bench::new().await;
    let roster = bench.start().await;
    bench.others_make("theirs", "5");
    bench.make("theirs").await.unwrap(); // it is there already
    bench.make("ours").await.unwrap();
    bench.make("made-anew").await.unwrap();
    bench.others_make("made-anew", "2");
    let roster = bench.restarted(roster).await; // knows what it made from the store
    bench.want(&roster, &[]).await;
    bench.until_known(&["made-anew", "theirs"]).await;
    bench.until_kept(&[]).await; // nothing is ours any more
    assert_eq!(bench.known(), ["made-anew", "theirs"]);
}

#[actix::test]
async fn an_identity_stays_as_long_as_its_container_does() {
    let bench = Bench::new().await;
    let roster = bench.start().await;
    bench.make("m").await.unwrap();
    bench.containers.borrow_mut().push("m".into());
    bench.want(&roster, &[]).await;
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    assert_eq!(bench.known(), ["m"]);
    bench.containers.borrow_mut().clear();
    bench.want(&roster, &[]).await;
    bench.until_known(&[]).await;
}

#[actix::test]
async fn what_was_made_and_not_recorded_is_known_for_ours_after_a_kill() {
    let bench = Bench::new().await;
    let roster = bench.start().await;
    bench.dies.set(true); // between the hub's answer and the record
    bench.make("wanted").await.unwrap();
    bench.shelf.set_full(false);
    bench.make("gone").await.unwrap();
    bench.shelf.set_full(false);
    bench.make("lost-gone").await.unwrap_err(); // before the hub's answer
    assert_eq!(bench.known(), ["gone", "lost-gone", "wanted"]);
    let intended = ["intended/gone", "intended/lost-gone", "intended/wanted"];
    assert_eq!(bench.shelf.keys(TABLE), intended);
    let roster = bench.restarted(roster).await;
    bench.want(&roster, &["wanted"]).await;
    bench.until_known(&["wanted"]).await;
    bench.until_kept(&["identity/wanted"]).await;
    bench.want(&roster, &[]).await;
    bench.until_known(&[]).await;
    bench.until_kept(&[]).await;
}

#[actix::test]
async fn what_others_made_between_the_intent_and_the_restart_is_left_alone() {
    let bench = Bench::new().await;
    let roster = bench.start().await;
    for module in ["bad-1", "bad-2", "bad-3"] {
        bench.make(module).await.unwrap_err(); // the intent is there, the identity is not
    }
    let roster = bench.restarted(roster).await;
    bench.others_make("bad-1", "8");
    bench.make("bad-1").await.unwrap(); // it is there already
    bench.others_make("bad-2", "9");
    bench.want(&roster, &["bad-1"]).await;
    bench.until_kept(&["intended/bad-3"]).await; // may be on its way yet
    assert_eq!(bench.known(), ["bad-1", "bad-2"]);
    bench.want(&roster, &[]).await;
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
    assert_eq!(bench.known(), ["bad-1", "bad-2"], "never ours");
}

#[actix::test]
async fn an_answer_that_was_lost_is_made_up_for_by_the_next_try() {
    let bench = Bench::new().await;
    let roster = bench.start().await;
    bench.make("lost").await.unwrap_err();
    bench.make("lost").await.unwrap(); // 409, and the key is ours
    assert_eq!(bench.shelf.keys(TABLE), ["identity/lost"]);
    bench.want(&roster, &[]).await;
    bench.until_known(&[]).await;
    // One that went while it was made.
    bench.make("late").await.unwrap();
    bench.until_known(&[]).await;
    // One that somebody makes after it was ours and is gone.
    bench.want(&roster, &["m"]).await;
    bench.make("m").await.unwrap();
    bench.others_make("m", "2");
    bench.make("m").await.unwrap();
    bench.until_kept(&["identity/m"]).await; // of the first generation
    bench.want(&roster, &[]).await;
    bench.until_kept(&[]).await;
    assert_eq!(bench.known(), ["m"]);
}
