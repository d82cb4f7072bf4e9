//! Every actor of both trees is made to panic, one after the other, under traffic.
//!
//! What is to panic is taken from the declared tree and looked up in the running one: a kind of
//! actor that does not run here, or whose panic is not to be seen, fails the test.

use std::process::Command;
use std::time::{Duration, Instant};

use edge_runtime::domain::tree::{EDGE_RUNTIME, LOCALHUB, Node};
use edge_runtime::protocol::http_client::{ClientRequest, Place};
use serde_json::{Value, json};

use super::agent::{address, make_image, run};
use super::support::count::{Count, broken_account};
use super::support::program::Program;
use super::support::receiver::Receiver;
use super::support::rest::ask_now;
use super::support::sender::Sender;
use super::support::wait_for;
use super::support::world::{EDGE, World};

/// Here and below a panic ends no other client's connection (architecture 3); any other actor takes
/// the sessions with it.
const HARMLESS: [&str; 9] = [
    "/listener",
    "/upstream",
    "/local-topics",
    "/certificates",
    "/edge-agent",
    "/apis",
    "/rest",
    "/route ",
    "/connection ",
];
/// Clients are back by then after any other.
const BACK: Duration = Duration::from_secs(5);
/// For what is not promised in seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// Paths of all kinds of actors; those that come and go end with `*`.
fn kinds(node: &Node, above: &str, all: &mut Vec<String>) {
    let (node, star) = match node {
        Node::Each(_, node) => (*node, " *"),
        node => (node, ""),
    };
    let path = format!("{above}{}{star}", node.name());
    all.push(path.clone());
    if let Node::Supervisor(_, _, _, below) | Node::Owner(_, _, below) = node {
        below.iter().for_each(|child| kinds(child, &format!("{path}/"), all));
    }
}

fn is_of(path: &str, kind: &str) -> bool {
    let (path, kind): (Vec<_>, Vec<_>) = (path.split('/').collect(), kind.split('/').collect());
    let fits = |(part, kind): (&&str, &&str)| match kind.strip_suffix('*') {
        Some(beginning) => part.starts_with(beginning),
        None => part == kind,
    };
    path.len() == kind.len() && path.iter().zip(&kind).all(fits)
}

fn connections(senders: &[Sender]) -> Vec<u64> {
    senders.iter().map(|one| one.sent().connections).collect()
}

/// Each sender has got an acknowledgement since then.
fn wait_acked(senders: &[Sender], since: Instant, within: Duration, what: &str) {
    let is_served = |one: &Sender| one.sent().last_ack.is_some_and(|at| at > since);
    wait_for(&format!("acknowledgements after {what}"), within, || {
        senders.iter().all(is_served).then_some(())
    });
}

/// After the panic clients are served: by the connections they had, if it was harmless, or else,
/// soon, by new ones.
fn wait_served(senders: &[Sender], before: &[u64], path: &str, panicked: Instant) {
    let name = |one: &Sender| one.id().replace('/', "%2F");
    let is_of = |one: &Sender| path.ends_with(&format!("/connection {}", name(one)));
    let is_harmless = |one: &Sender| HARMLESS.iter().any(|part| path.contains(part)) && !is_of(one);
    let left = || BACK.saturating_sub(panicked.elapsed());
    wait_for(&format!("all to be back after {path}"), left(), || {
        let mut all = senders.iter().zip(before);
        let is_back =
            |(one, before): (&Sender, &u64)| is_harmless(one) || one.sent().connections > *before;
        all.all(is_back).then_some(())
    });
    wait_acked(senders, Instant::now(), left(), path);
    let after = connections(senders);
    println!("{path}: served after {:?}; connections {before:?} {after:?}", panicked.elapsed());
    for ((one, before), after) in senders.iter().zip(before).zip(&after) {
        assert!(
            !is_harmless(one) || before == after,
            "{path} ended the connection of {}",
            one.id()
        );
    }
}

/// The log tells of the panic: where, and what follows.
fn wait_logged(program: &Program, path: &str, next: &str) {
    let actor = format!("actor=\"{path}\" exit=Panicked");
    let next = format!("next={next}");
    wait_for(&format!("`{actor} … {next}` in the log"), PATIENCE, || {
        let log = program.log_since_start();
        let mut lines = log.lines();
        lines.find(|line| line.contains(&actor)).map(|line| {
            assert!(line.contains(&next), "{line}");
        })
    });
}

/// Panics that the log tells of.
fn logged(program: &Program) -> usize {
    program.log_since_start().matches("panicked at").count()
}

fn target(path: &str) -> String {
    format!("/faults/panic?path={}", path.replace('%', "%25").replace(' ', "%20"))
}

/// A module in a real container, gone with this.
struct Container(String);

impl Container {
    fn id(&self) -> String {
        let name = format!("name=^{}$", self.0);
        run("docker", &["ps", "-q", "--no-trunc", "--filter", &name])
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        for arguments in [["rm", "-f", &self.0], ["network", "rm", &self.0]] {
            let _ = Command::new("docker").args(arguments).output();
        }
    }
}

fn of_tree(tree: &Value, path: &str) -> Option<Value> {
    let below = path.strip_prefix("edge-runtime/").unwrap();
    tree.as_array()?.iter().find(|one| one["path"] == below).cloned()
}

fn metric(world: &World, name: &str) -> Option<u64> {
    let place = Place::Tcp(world.edge_address.to_string(), 9600);
    let answer = ask_now(&place, ClientRequest::new("GET", "/metrics")).ok()?;
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    line.parse().ok()
}

#[test]
fn every_actor_of_the_runtime_panics_under_traffic() {
    let module = format!("panics-{}", std::process::id());
    let image = "edge-runtime-test/panics:1";
    make_image(image);
    let container = Container(module.clone());
    let more = [
        ("EDGE_RUNTIME__AGENT__DOCKER", &*address()),
        ("EDGE_RUNTIME__AGENT__NETWORK", &*module),
        ("EDGE_RUNTIME__DEVICE__GATEWAY_HOSTNAME", "gateway.test"),
    ];
    let routes = json!({
        "all": "FROM /messages INTO $upstream",
        "between": "FROM /messages/modules/talker/outputs/out \
                    INTO BrokeredEndpoint(\"/modules/sink/inputs/in\")",
    });
    let mut world = World::start_as(&routes, &[], &more);
    let agent = json!({
        "schemaVersion": "1.1", "runtime": { "type": "docker", "settings": {} },
        "systemModules": {},
        "modules": { &module: {
            "type": "docker", "status": "running", "restartPolicy": "always",
            "imagePullPolicy": "never", "settings": { "image": image },
        } },
    });
    world.hub.service.apply(EDGE, &json!({ "$edgeAgent": agent }));
    let began = Instant::now();
    let clients = [world.leaf("leaf-1"), world.leaf("leaf-2"), world.module("talker")];
    let mut senders = clients.map(|client| Sender::start(client, "out"));
    let sink = Receiver::start(world.module("sink"));
    wait_acked(&senders, began, PATIENCE, "the start");
    let lives =
        wait_for("the container", PATIENCE, || Some(container.id()).filter(|id| !id.is_empty()));

    let mut all = Vec::new();
    kinds(&EDGE_RUNTIME, "", &mut all);
    let mut panics = 0;
    for kind in &all[1..] {
        // One of that kind, as it runs.
        let (path, earlier) = wait_for(&format!("a running {kind}"), PATIENCE, || {
            let tree = world.management.get("/tree")?;
            let rooted = |one: &Value| format!("edge-runtime/{}", one["path"].as_str().unwrap());
            let mut running = tree.as_array()?.iter().filter(|one| one["status"] == "running");
            let found = running.find(|one| is_of(&rooted(one), kind))?;
            Some((rooted(found), found["restarts"].as_u64().unwrap()))
        });
        let before = connections(&senders);
        let mut panicked = Instant::now();
        // Once: who answers may be the one who panics.
        let answer = world.management.try_call("POST", &target(&path));
        assert!(!matches!(answer, Ok((status, _)) if status != 204), "{path}: {answer:?}");
        panics += 1;
        if path == "edge-runtime/core" {
            wait_logged(&world.edge, &path, "escalates");
            let ended = wait_for("the end of the process", PATIENCE, || world.edge.ended());
            assert_eq!(ended.code(), Some(1), "its end ends the process");
            world.edge.again();
            world.edge.wait_ready();
            (panicked, panics) = (Instant::now(), 0);
        } else if kind.ends_with("connection *") {
            wait_logged(&world.edge, &path, "no restart");
        } else {
            wait_logged(&world.edge, &path, "restart in 100 ms");
            wait_for(&format!("{path} to run again"), PATIENCE, || {
                let one = of_tree(&world.management.get("/tree")?, &path)?;
                let why = one["last_error"].as_str().unwrap_or_default();
                let is_told = why.starts_with("Panicked") && why.contains("asked to panic");
                let is_again = one["restarts"].as_u64() > Some(earlier);
                (one["status"] == "running" && is_told && is_again).then_some(())
            });
        }
        wait_served(&senders, &before, &path, panicked);
        let told = wait_for("metrics", PATIENCE, || metric(&world, "edge_runtime_panics_total"));
        assert_eq!(told, panics, "after {path}");
        assert_eq!(container.id(), lives, "a restarted actor restarts no container: {path}");
    }
    senders.iter_mut().for_each(Sender::finish);
    let queue = world.wait_drained(Duration::from_secs(60));
    let mut count = Count::default();
    for sender in &senders {
        let arrived = world.at_hub(sender.id());
        count.add(sender.id(), &sender.sent(), &arrived);
    }
    count.add("talker at sink", &senders[2].sent(), &sink.arrived());
    println!("{} panics, {count:?}", all.len() - 1);
    assert!(count.is_clean(), "{count:#?}");
    assert_eq!(broken_account(&queue), Vec::<String>::new());
}

#[test]
fn every_actor_of_the_local_hub_panics_under_traffic() {
    let mut world = World::start(&super::routes());
    let mut senders =
        [Sender::start(world.leaf("leaf-1"), ""), Sender::start(world.leaf("leaf-2"), "")];
    let key = world.hub.service.make_leaf("direct", "");
    let mut direct = [Sender::start(world.hub.log_in("direct", &key), "")];
    let began = Instant::now();
    wait_acked(&senders, began, PATIENCE, "the start");
    wait_acked(&direct, began, PATIENCE, "the start");
    let mut all = Vec::new();
    kinds(&LOCALHUB, "", &mut all);
    // Both kinds of connections: of a client, and of an edge with all behind it.
    let sessions = "localhub/hub/sessions";
    all.retain(|path| !path.ends_with('*'));
    all.extend(["direct", "edge%2F$edgeHub"].map(|id| format!("{sessions}/connection {id}")));
    let before = connections(&senders);
    let mut panics = 0;
    for path in &all[1..] {
        let of_direct = connections(&direct);
        wait_for(&format!("the panic of {path}"), PATIENCE, || {
            let (status, _) = world.hub.service.try_call("POST", &target(path), None).ok()?;
            (status == 204).then_some(())
        });
        let mut panicked = Instant::now();
        panics += 1;
        if path == "localhub/hub" {
            wait_logged(&world.hub.program, path, "escalates");
            wait_for("the end of the process", PATIENCE, || world.hub.program.ended());
            world.hub.program.again();
            world.hub.program.wait_ready();
            (panicked, panics) = (Instant::now(), 0);
        } else if path.contains("/connection ") {
            wait_logged(&world.hub.program, path, "no restart");
        } else {
            wait_logged(&world.hub.program, path, "restart in 100 ms");
        }
        wait_served(&direct, &of_direct, path, panicked);
        wait_acked(&senders, panicked, BACK, path);
        wait_for(&format!("the link after {path}"), PATIENCE, || {
            let status = world.management.get("/status")?;
            (status["link"]["state"] == "connected").then_some(())
        });
        assert_eq!(
            logged(&world.hub.program),
            panics * 2,
            "told by the hook, and by {path}'s owner"
        );
        assert_eq!(before, connections(&senders), "{path} ended connections at the edge");
    }
    senders.iter_mut().chain(&mut direct).for_each(Sender::finish);
    let queue = world.wait_drained(Duration::from_secs(60));
    let mut count = Count::default();
    for sender in senders.iter().chain(&direct) {
        let arrived = world.at_hub(sender.id());
        count.add(sender.id(), &sender.sent(), &arrived);
    }
    println!("{} panics, {count:?}", all.len() - 1);
    assert!(count.is_clean(), "{count:#?}");
    assert_eq!(broken_account(&queue), Vec::<String>::new());
}
