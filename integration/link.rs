//! Many identities over one link that is cut again and again: real programs, real sockets, a
//! proxy in between. `cargo test --test link` is a short run; the whole of it is
//!
//! ```text
//! LINK_IDENTITIES=1000 LINK_SECONDS=120 LINK_CUT_SECONDS=5 \
//!     cargo test --release --features faults --test link -- --nocapture
//! ```
//!
//! `LINK_SEED` chooses the cuts and whom the hub talks to. With the feature `faults` the hub
//! refuses one identity throughout, unless `LINK_REFUSED=0`. `scripts/bench.sh` reads the line
//! `delays of the others`.
//!
//! next: `link/client.rs`
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "link/client.rs"]
mod client;
#[path = "link/judge.rs"]
mod judge;
#[path = "link/service.rs"]
mod service;
mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::json;

use client::{Client, Signals, run_all};
use judge::{Telemetry, is_served, judge_calls, judge_devicebound, judge_reported};
use service::Traffic;
use support::program::{Program, own_address};
use support::proxy::Proxy;
use support::world::{EDGE, Hub, edge_environment};
use support::{Random, number, wait_for};

const MQTT: u16 = 8883;
const PLAIN: u16 = 1883;
/// Time for what is owed when the cuts are over; the longest pause of a refused lane is a minute.
const SETTLE: Duration = Duration::from_secs(120);

struct World {
    // In this order: the edge ends first, the folder goes last.
    edge: Program,
    proxy: Proxy,
    hub: Hub,
    clients: Vec<Client>,
    _folder: tempfile::TempDir,
}

/// `count` devices in the scope of an edge whose only way to the hub is the proxy.
fn start(count: u64) -> World {
    let folder = tempfile::tempdir().unwrap();
    let hub = Hub::start(folder.path());
    let address = own_address();
    let mut environment = edge_environment(folder.path(), &hub, address);
    let proxy = Proxy::start(own_address(), SocketAddr::from((hub.address, MQTT)));
    environment.retain(|(name, _)| name != "EDGE_RUNTIME__UPSTREAM__ADDRESS");
    environment.push(("EDGE_RUNTIME__UPSTREAM__ADDRESS".into(), proxy.address.to_string()));
    let routes = json!({ "all": "FROM /messages/* INTO $upstream" });
    let store = json!({ "timeToLiveSecs": 7200 });
    let desired =
        json!({ "schemaVersion": "1.1", "routes": routes, "storeAndForwardConfiguration": store });
    hub.service.apply(EDGE, &json!({ "$edgeHub": desired }));
    let scope = hub.service.call("GET", &format!("/devices/{EDGE}"), None);
    let scope = scope["deviceScope"].as_str().unwrap();
    let key = "bGluay1vZi1tYW55LWlkZW50aXRpZXMtMDEyMzQ1Njc=";
    let ids: Vec<String> = (0..count).map(|n| format!("leaf-{n}")).collect();
    for some in ids.chunks(100) {
        let device = |id: &String| {
            let keys = json!({ "primaryKey": key, "secondaryKey": key });
            let authentication = json!({ "type": "sas", "symmetricKey": keys });
            json!({ "id": id, "deviceScope": scope, "authentication": authentication })
        };
        let devices = some.iter().map(device).collect();
        hub.service.call("POST", "/devices", Some(&devices));
    }
    let mut edge = Program::start("edge-runtime", folder.path().join("edge.log"), environment);
    edge.wait_ready();
    let name = hub.address.to_string();
    let client = |id: String| Client {
        log_in: support::mqtt::LogIn {
            address: SocketAddr::from((address, PLAIN)),
            hub: name.clone(),
            id,
            key: key.into(),
        },
        log: Arc::default(),
    };
    let clients = ids.into_iter().map(client).collect();
    World { edge, proxy, hub, clients, _folder: folder }
}

impl World {
    /// TCP connections of the edge to the hub's MQTT port, by the proxy or past it.
    fn links(&self) -> usize {
        let own: Vec<String> = std::fs::read_dir(format!("/proc/{}/fd", self.edge.id()))
            .unwrap()
            .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
            .filter_map(|to| {
                Some(to.to_str()?.strip_prefix("socket:[")?.trim_end_matches(']').into())
            })
            .collect();
        let shown = |to: SocketAddr| match to.ip() {
            std::net::IpAddr::V4(ip) => {
                format!("{:08X}:{:04X}", u32::from_le_bytes(ip.octets()), to.port())
            }
            std::net::IpAddr::V6(_) => unreachable!("the tests use IPv4"),
        };
        let there = [shown(self.proxy.address), shown((self.hub.address, MQTT).into())];
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let is_link = |line: &&str| {
            let columns: Vec<&str> = line.split_whitespace().collect();
            there.iter().any(|to| columns[2] == to)
                && columns[3] == "01"
                && own.iter().any(|inode| inode == columns[9])
        };
        table.lines().skip(1).filter(is_link).count()
    }

    /// Clients that the hub shows as connected.
    fn attached(&self) -> u64 {
        let shown = self.hub.service.call("GET", "/statistics/service", None);
        shown["connectedDeviceCount"].as_u64().unwrap()
    }

    /// Exactly one connection carries all of them.
    #[track_caller]
    fn wait_attached(&self) {
        let wanted = self.clients.len() as u64;
        let mut seen = 0;
        let is_so = || {
            seen = self.attached();
            (seen >= wanted && self.links() == 1).then_some(())
        };
        wait_for(&format!("{wanted} identities on one connection"), SETTLE, is_so);
        println!("{seen} identities attached over {} connection", self.links());
    }

    fn check_clients(&self) {
        for client in &self.clients {
            let log = client.log.lock().unwrap();
            assert!(log.ended.is_none(), "a client was cut off: {:?}", log.ended);
        }
    }

    /// Tells the hub to refuse a sender, or to take it again; `false` if it has no faults.
    fn refuse(&self, id: &str, status: Option<u16>) -> bool {
        let status = status.map_or(String::new(), |status| format!("&status={status}"));
        let target = format!("/faults/refuse?id={id}{status}");
        match self.hub.service.try_call("POST", &target, None).unwrap().0 {
            204 => true,
            404 => false,
            other => panic!("{target}: {other}"),
        }
    }
}

/// From sending to the hub, of all but the one that may be refused: what its refusal does to them.
fn print_delays(clients: &[Client], telemetry: &Telemetry) {
    let mut all: Vec<u128> = Vec::new();
    for client in clients {
        let log = client.log.lock().unwrap();
        all.extend(telemetry.delays(&client.log_in.id, &log).map(|delay| delay.as_millis()));
    }
    all.sort_unstable();
    let at = |share: usize| all[(all.len() - 1) * share / 1000];
    let (p50, p99, max) = (at(500), at(990), at(1000));
    println!("delays of the others: n={} p50_ms={p50} p99_ms={p99} max_ms={max}", all.len());
}

#[test]
fn nothing_is_lost_doubled_or_reordered_while_the_link_is_cut_again_and_again() {
    let count = number("LINK_IDENTITIES", 200).max(4);
    let length = Duration::from_secs(number("LINK_SECONDS", 20));
    let between = Duration::from_secs(number("LINK_CUT_SECONDS", 3));
    let seed = number("LINK_SEED", 1);
    let began = Instant::now();
    let world = start(count);
    let signals = Arc::new(Signals::default());
    // About 150 messages a second in all.
    run_all(&world.clients, &signals, Duration::from_secs_f64((count as f64 / 150.0).max(0.5)));
    wait_for("every client to be let in", SETTLE, || {
        world.check_clients();
        world.clients.iter().all(|client| client.log.lock().unwrap().is_ready).then_some(())
    });
    world.wait_attached();
    println!("started in {:?}", began.elapsed());
    let refused = &world.clients[0];
    let is_refused = number("LINK_REFUSED", 1) != 0 && world.refuse(&refused.log_in.id, Some(429));
    if !is_refused {
        println!("no identity is refused (the feature `faults`, LINK_REFUSED)");
    }

    signals.go.store(true, Ordering::SeqCst);
    let ids: Vec<String> = world.clients.iter().map(|client| client.log_in.id.clone()).collect();
    let traffic = Traffic::start(&world.hub.service, &ids, seed);
    let (mut random, mut cuts) = (Random::new(seed), 0);
    let end = Instant::now() + length;
    while Instant::now() + between < end {
        std::thread::sleep(between);
        let before = world.proxy.accepted();
        world.proxy.cut(random.below(2) == 0, Duration::from_millis(random.below(700)));
        cuts += 1;
        assert!(world.links() <= 1, "more than one connection to the hub");
        wait_for("the link to come back", Duration::from_secs(30), || {
            (world.proxy.accepted() > before).then_some(())
        });
        world.check_clients();
    }
    let asked = traffic.finish();
    signals.stop.store(true, Ordering::SeqCst);
    std::thread::sleep(Duration::from_millis(500));

    let mut telemetry = Telemetry::default();
    let mut wait_telemetry = |skip: usize| {
        wait_for("every message at the hub", SETTLE, || {
            telemetry.read(&world.hub.service);
            let is_there = |client: &Client| {
                let sent = client.log.lock().unwrap().sent;
                telemetry.count(&client.log_in.id) as u64 >= sent
            };
            world.clients[skip..].iter().all(is_there).then_some(())
        });
        telemetry.count(&refused.log_in.id)
    };
    if is_refused {
        assert_eq!(wait_telemetry(1), 0, "messages of the refused identity were taken");
        assert!(world.refuse(&refused.log_in.id, None));
    }
    wait_telemetry(0);
    wait_for("what the hub owes the clients", SETTLE, || {
        let is_done = |(number, client): (usize, &Client)| {
            let of = |all: &std::collections::BTreeMap<usize, u64>| {
                all.get(&number).copied().unwrap_or_default()
            };
            let log = client.log.lock().unwrap();
            is_served(&log, of(&asked.devicebound), of(&asked.desired))
                && log.acked == log.sent
                && log.answers.len() as u64 == log.patches
        };
        world.clients.iter().enumerate().all(is_done).then_some(())
    });
    world.wait_attached();
    telemetry.read(&world.hub.service); // what should not have come

    let mut wrong = asked.wrong.clone();
    for (number, client) in world.clients.iter().enumerate() {
        judge_reported(client, &world.hub.service, &mut wrong);
        let (id, mut log) = (&client.log_in.id, client.log.lock().unwrap());
        telemetry.judge(id, &log, &mut wrong);
        let sent = asked.devicebound.get(&number).copied().unwrap_or(0);
        judge_devicebound(id, &log, sent, &mut wrong);
        wrong.append(&mut log.wrong);
    }
    print_delays(&world.clients[1..], &telemetry);
    let [answered, away, away_ran, late] = judge_calls(&world.clients, &asked, &mut wrong);
    let sum = |of: fn(&client::Log) -> u64| -> u64 {
        world.clients.iter().map(|client| of(&client.log.lock().unwrap())).sum()
    };
    println!(
        "link identities={count} cuts={cuts} seed={seed} messages={} patches={} \
         c2d={} desired={} calls: answered={answered} 404={away} \
         (and ran: {away_ran}) 504={late} took={:?}",
        sum(|log| log.sent),
        sum(|log| log.patches),
        asked.devicebound.values().sum::<u64>(),
        asked.desired.values().sum::<u64>(),
        began.elapsed(),
    );
    assert!(wrong.is_empty(), "{} faults: {wrong:#?}", wrong.len());
    assert!(cuts > 0 && answered > 0, "nothing was shown");
}
