//! Against a hub over loopback that has identities, and fails for some.

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

/// Module: generation. Those named `bad…` can be neither made nor removed.
type Hub = Rc<RefCell<BTreeMap<String, String>>>;

struct Bench {
    hub: Hub,
    shelf: Shelf,
    /// Modules that have containers.
    containers: Rc<RefCell<Vec<String>>>,
    rest: ParentRest,
    ports: AgentPorts,
    _server: Server,
}

fn answer(hub: &Hub, request: &HttpRequest) -> HttpResponse {
    let module = request.segments()[3].clone();
    let mut hub = hub.borrow_mut();
    let known = hub.get(&module).cloned();
    let shown = |generation: &str| {
        HttpResponse::json(200, &json!({ "generationId": generation, "etag": generation }))
    };
    match (request.method.as_str(), known) {
        ("GET", None) => HttpResponse::empty(404),
        ("GET", Some(generation)) => shown(&generation),
        ("PUT", Some(_)) => HttpResponse::empty(409),
        ("PUT" | "DELETE", _) if module.starts_with("bad") => HttpResponse::empty(500),
        ("PUT", None) => {
            hub.insert(module, "1".into());
            shown("1")
        }
        ("DELETE", Some(generation)) => {
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
        let answer = handler(move |request| std::future::ready(answer(&of_server, &request)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port_number = listener.local_addr().unwrap().port();
        let server = Server::tcp(listener, answer, Limits::default());
        let shelf = Shelf::default();
        let containers: Rc<RefCell<Vec<String>>> = Rc::default();
        let there = containers.clone();
        let ports = AgentPorts {
            save: shelf.save(),
            scan: shelf.scan(),
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
        Bench { hub, shelf, containers, rest, ports, _server: server }
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
    bench.hub.borrow_mut().insert("bad-one".into(), "1".into());
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
    assert_eq!(bench.shelf.keys(TABLE), ["identity/b", "identity/bad-one"]);
}

#[actix::test]
async fn what_others_made_is_left_alone_also_after_a_restart() {
    let bench = Bench::new().await;
    let roster = bench.start().await;
    bench.hub.borrow_mut().insert("theirs".into(), "5".into());
    bench.make("theirs").await.unwrap(); // it is there already
    bench.make("ours").await.unwrap();
    bench.make("made-anew").await.unwrap();
    bench.hub.borrow_mut().insert("made-anew".into(), "2".into()); // by somebody
    roster.send(Shutdown).await.unwrap();
    drop(roster);
    let roster = bench.start().await; // knows what it made from the store
    bench.want(&roster, &[]).await;
    bench.until_known(&["made-anew", "theirs"]).await;
    for _ in 0..100_000 {
        if bench.shelf.keys(TABLE).is_empty() {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert!(bench.shelf.keys(TABLE).is_empty(), "nothing is ours any more");
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
