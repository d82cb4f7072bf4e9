//! The fault loops: SIGKILL at random moments under load, and nothing lost.
//!
//! Numbered QoS 1 messages go through the real programs while one of them is killed and started
//! again, `CYCLES` times, at moments drawn from `SEED`. At the end everything acknowledged must
//! have arrived, once, in order per sender, and the runtime's own account must be whole:
//! received = stored + named ends, and delivered = what the hub has.
//!
//! Two further loops kill nobody: routes are swapped under traffic, and `SWAPS` times as fast as that
//! goes (`crash/churn.rs`).
//!
//! One line per loop on stdout; status 1 if anything was lost, doubled or out of order. `LOOPS`
//! chooses loops by name, `EDGE_BIN_DIR` other programs (the mutants).
#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "crash/churn.rs"]
mod churn;
mod support;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::count::{Count, broken_account, total};
use support::receiver::Receiver;
use support::sender::Sender;
use support::world::World;
use support::{Random, number, wait_for};

/// At least so many kills of 100 must hit un-acknowledged messages, or the loop shows nothing.
const IN_FLIGHT_PERCENT: u64 = 30;
/// A sender is acknowledged again so long after a kill, or the loop has failed.
const RECOVERY: Duration = Duration::from_secs(60);
const DRAIN: Duration = Duration::from_secs(120);

/// Whom a loop kills.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Victim {
    Edge,
    Hub,
}

struct Loop {
    name: &'static str,
    victim: Victim,
    /// Messages go to another module, not to the hub.
    is_relay: bool,
}

const LOOPS: [Loop; 3] = [
    Loop { name: "edge-killed", victim: Victim::Edge, is_relay: false },
    Loop { name: "hub-killed", victim: Victim::Hub, is_relay: false },
    Loop { name: "relay", victim: Victim::Edge, is_relay: true },
];

fn main() -> ExitCode {
    let (cycles, seed) = (number("CYCLES", 5), number("SEED", 1));
    let wanted = std::env::var("LOOPS").unwrap_or_default();
    let is_wanted = |one: &&Loop| wanted.is_empty() || wanted.split(',').any(|it| it == one.name);
    let mut is_clean = true;
    for one in LOOPS.iter().filter(is_wanted) {
        is_clean &= one.run(cycles, seed);
    }
    if wanted.is_empty() || wanted.split(',').any(|it| it == "routes-swapped") {
        is_clean &= swap_routes(cycles, seed);
    }
    if wanted.is_empty() || wanted.split(',').any(|it| it == "routes-churned") {
        is_clean &= churn::run(number("SWAPS", 10 * cycles), seed);
    }
    if is_clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn routes(is_relay: bool) -> Value {
    if is_relay {
        let into = "FROM /messages/modules/sensor/outputs/out INTO \
                    BrokeredEndpoint(\"/modules/filter/inputs/in\")";
        json!({ "relay": into })
    } else {
        // What modules say overtakes the backlog of the others: numbers reach the hub out of order.
        json!({
            "modules": { "route": "FROM /messages/modules/* INTO $upstream", "priority": 0 },
            "all": { "route": "FROM /messages/* INTO $upstream", "priority": 5 },
        })
    }
}

impl Loop {
    /// Whether nothing was lost, doubled or reordered, and the account is whole.
    fn run(&self, cycles: u64, seed: u64) -> bool {
        let mut random = Random::new(seed);
        let mut world = World::start(&routes(self.is_relay));
        let start = if self.is_relay { Sender::start_busy } else { Sender::start };
        let mut senders = vec![start(world.module("sensor"), "out")];
        let receiver = self.is_relay.then(|| Receiver::start(world.module("filter")));
        if !self.is_relay {
            for id in ["leaf-1", "leaf-2"] {
                senders.push(Sender::start(world.leaf(id), ""));
            }
        }
        for sender in &senders {
            let what = format!("the first acknowledgement of {}", sender.id());
            wait_for(&what, RECOVERY, || sender.sent().last_ack);
        }
        let (mut with_in_flight, mut worst) = (0, Duration::ZERO);
        for _ in 0..cycles {
            std::thread::sleep(Duration::from_millis(20 + random.below(700)));
            let in_flight: usize = senders.iter().map(|sender| sender.sent().in_flight()).sum();
            // Of the hub's clients it is the link: what the edge still owes.
            let owed = match self.victim {
                Victim::Edge => in_flight as u64,
                Victim::Hub => world.queue().map_or(0, |queue| total(&queue, "stored")),
            };
            with_in_flight += u64::from(owed > 0);
            let killed = Instant::now();
            self.kill(&mut world, random.below(300));
            for sender in &senders {
                let what = format!("an acknowledgement of {} after the kill", sender.id());
                let is_back = || sender.sent().last_ack.filter(|at| *at > killed);
                worst = worst.max(wait_for(&what, RECOVERY, is_back) - killed);
            }
        }
        senders.iter_mut().for_each(Sender::finish);
        let account = world.wait_drained(DRAIN);
        let mut count = Count::default();
        for sender in &senders {
            let arrived = match &receiver {
                Some(receiver) => receiver.arrived(),
                None => world.at_hub(sender.id()),
            };
            count.add(sender.id(), &sender.sent(), &arrived);
        }
        let mut wrong = broken_account(&account);
        let arrived: usize = senders.iter().map(|sender| world.at_hub(sender.id()).len()).sum();
        if !self.is_relay && total(&account, "delivered") != arrived as u64 {
            let delivered = total(&account, "delivered");
            wrong.push(format!("{delivered} delivered, {arrived} at the hub"));
        }
        if total(&account, "received") < count.acked as u64 {
            wrong.push(format!("fewer received than acknowledged: {account}"));
        }
        if with_in_flight * 100 < cycles * IN_FLIGHT_PERCENT {
            wrong.push(format!("only {with_in_flight} of {cycles} kills hit messages in flight"));
        }
        let Count { acked, lost, duplicated, reordered, .. } = count;
        let resent = account["resent"].as_u64().unwrap_or_default();
        println!(
            "{} cycles={cycles} seed={seed} acked={acked} lost={lost} duplicated={duplicated} \
             reordered={reordered} worst_recovery_ms={} kills_with_unacked_in_flight={}% \
             resent_by_clients={resent} account={}",
            self.name,
            worst.as_millis(),
            with_in_flight * 100 / cycles.max(1),
            if wrong.is_empty() { "whole" } else { "BROKEN" },
        );
        for text in count.examples.iter().chain(&wrong) {
            println!("  {text}");
        }
        count.is_clean() && wrong.is_empty()
    }

    /// SIGKILL, a pause, a new start.
    fn kill(&self, world: &mut World, pause_ms: u64) {
        let pause = Duration::from_millis(pause_ms);
        let program = match self.victim {
            Victim::Edge => &mut world.edge,
            Victim::Hub => &mut world.hub.program,
        };
        program.kill();
        std::thread::sleep(pause);
        program.again();
        program.wait_ready();
    }
}

/// Routes take turns under traffic: every message is taken by the one or the other, and nothing by
/// a route once its successor is in force. Whether that was so.
fn swap_routes(cycles: u64, seed: u64) -> bool {
    let routes = |name: &str| json!({ name: "FROM /messages/* INTO $upstream" });
    let mut random = Random::new(seed);
    let mut world = World::start(&routes("turn-0"));
    let mut senders: Vec<Sender> =
        ["leaf-1", "leaf-2"].map(|id| Sender::start(world.leaf(id), "")).into();
    let mut wrong = Vec::new();
    for cycle in 1..=cycles {
        std::thread::sleep(Duration::from_millis(20 + random.below(300)));
        let (before, now) = (format!("turn-{}", cycle - 1), format!("turn-{cycle}"));
        world.set_routes(&routes(&now));
        wait_for(&format!("route {now}"), RECOVERY, || is_in_force(&world, &now).then_some(()));
        let taken = received(&world, &before);
        std::thread::sleep(Duration::from_millis(200));
        let later = received(&world, &before);
        if later > taken {
            wrong.push(format!("{before} took {} messages after {now}", later - taken));
        }
    }
    senders.iter_mut().for_each(Sender::finish);
    let account = world.wait_drained(DRAIN);
    wrong.extend(broken_account(&account));
    if account["unrouted"] != 0 {
        wrong.push(format!("messages that no route took: {}", account["unrouted"]));
    }
    let mut count = Count::default();
    for sender in &senders {
        count.add(sender.id(), &sender.sent(), &world.at_hub(sender.id()));
    }
    let Count { acked, lost, duplicated, reordered, .. } = count;
    println!(
        "routes-swapped cycles={cycles} seed={seed} acked={acked} lost={lost} \
         duplicated={duplicated} reordered={reordered} worst_recovery_ms=0 account={}",
        if wrong.is_empty() { "whole" } else { "BROKEN" },
    );
    for text in count.examples.iter().chain(&wrong) {
        println!("  {text}");
    }
    count.is_clean() && wrong.is_empty()
}

fn is_in_force(world: &World, route: &str) -> bool {
    let routes = world.management.get("/routes").unwrap_or_default();
    let routes = routes["routes"].as_array().into_iter().flatten();
    routes.map(|one| one["name"].as_str()).eq([Some(route)])
}

/// What a route has taken, by the account.
fn received(world: &World, route: &str) -> u64 {
    let queue = wait_for("the account", RECOVERY, || world.queue());
    let accounts = queue["routes"].as_array().into_iter().flatten();
    let own = accounts.filter(|account| account["route"] == route);
    own.map(|account| account["received"].as_u64().unwrap_or(0)).sum()
}
