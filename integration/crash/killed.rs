//! Programs are killed under load, at random moments, and started again.
//!
//! next: `power.rs`

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::report::{Report, Task, wait_acked_since};
use crate::support::Random;
use crate::support::count::total;
use crate::support::receiver::Receiver;
use crate::support::sender::{Sender, Speech};
use crate::support::world::World;

/// At least so many kills of 100 must hit un-acknowledged messages, or the loop shows nothing.
const IN_FLIGHT_PERCENT: u64 = 30;
/// So long a kill waits for a message that is on its way.
const MOMENT: Duration = Duration::from_millis(200);
/// Of `both-killed`, one kill in so many is of both at once.
const AT_ONCE: u64 = 3;

/// While the hub is away most of the time a backlog grows: it is drained in the end.
const DRAIN: Duration = Duration::from_secs(600);
/// So that it does not grow too large.
const CALM: Speech = Speech { pause: Duration::from_millis(30), ..Speech::USUAL };

/// Whom a loop kills.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Victim {
    Edge,
    Hub,
    Both,
}

/// Load on its way to the hub.
pub(crate) fn edge(task: Task) -> Report {
    run(task, Victim::Edge, false)
}

pub(crate) fn hub(task: Task) -> Report {
    run(task, Victim::Hub, false)
}

/// At once or one shortly after the other, and back in any order.
pub(crate) fn both(task: Task) -> Report {
    run(task, Victim::Both, false)
}

/// Messages go to another module, not to the hub.
pub(crate) fn relay(task: Task) -> Report {
    run(task, Victim::Edge, true)
}

pub(crate) fn routes(is_relay: bool) -> Value {
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

fn run(task: Task, victim: Victim, is_relay: bool) -> Report {
    let mut random = task.random();
    let mut world = World::start(&routes(is_relay));
    let speech = match victim {
        Victim::Edge if is_relay => Speech { pause: Duration::ZERO, ..Speech::USUAL },
        Victim::Edge => Speech::USUAL,
        Victim::Hub | Victim::Both => CALM,
    };
    let mut senders = vec![Sender::speaking(world.module("sensor"), "out", speech)];
    let receiver = is_relay.then(|| Receiver::start(world.module("filter")));
    if !is_relay {
        for id in ["leaf-1", "leaf-2"] {
            senders.push(Sender::speaking(world.leaf(id), "", speech));
        }
    }
    wait_acked_since(&senders, task.began);
    let (mut with_in_flight, mut worst) = (0, Duration::ZERO);
    for _ in 0..task.cycles {
        std::thread::sleep(Duration::from_millis(20 + random.below(700)));
        let in_flight = || senders.iter().map(|sender| sender.sent().in_flight()).sum::<usize>();
        // A PUBACK comes so soon that a moment of chance seldom has a message without one: every
        // second kill waits for such a moment.
        if random.below(2) == 0 {
            let late = Instant::now() + MOMENT;
            while in_flight() == 0 && Instant::now() < late {
                std::thread::sleep(Duration::from_micros(50));
            }
        }
        let in_flight = in_flight();
        // Of the hub's clients it is the link: what the edge still owes.
        let owed = match victim {
            Victim::Edge | Victim::Both => in_flight as u64,
            Victim::Hub => world.queue().map_or(0, |queue| total(&queue, "stored")),
        };
        with_in_flight += u64::from(owed > 0);
        let killed = Instant::now();
        kill(&mut world, victim, &mut random);
        worst = worst.max(wait_acked_since(&senders, killed));
    }
    senders.iter_mut().for_each(Sender::finish);
    let account = world.wait_drained(DRAIN);
    let mut report = Report { worst, ..Report::of_account(&account) };
    for sender in &senders {
        let arrived = match &receiver {
            Some(receiver) => receiver.arrived(),
            None => world.at_hub(sender.id()),
        };
        report.count.add(sender.id(), &sender.sent(), &arrived);
    }
    let arrived: usize = senders.iter().map(|sender| world.at_hub(sender.id()).len()).sum();
    if !is_relay && total(&account, "delivered") != arrived as u64 {
        let delivered = total(&account, "delivered");
        report.wrong.push(format!("{delivered} delivered, {arrived} at the hub"));
    }
    if total(&account, "received") < report.count.acked as u64 {
        report.wrong.push(format!("fewer received than acknowledged: {account}"));
    }
    if with_in_flight * 100 < task.cycles * IN_FLIGHT_PERCENT {
        let of = task.cycles;
        report.wrong.push(format!("only {with_in_flight} of {of} kills hit messages in flight"));
    }
    report.more = format!(
        "kills_with_unacked_in_flight={}% resent_by_clients={}",
        with_in_flight * 100 / task.cycles.max(1),
        account["resent"].as_u64().unwrap_or_default(),
    );
    report
}

/// SIGKILL, a pause, a new start.
fn kill(world: &mut World, victim: Victim, random: &mut Random) {
    let millis = |n: u64| Duration::from_millis(n);
    let pause = millis(random.below(300));
    let (edge, hub) = (&mut world.edge, &mut world.hub.program);
    let (mut first, mut second) = match victim {
        Victim::Edge => (edge, None),
        Victim::Hub => (hub, None),
        Victim::Both if random.below(2) == 0 => (edge, Some(hub)),
        Victim::Both => (hub, Some(edge)),
    };
    first.kill();
    if let Some(second) = &mut second {
        let gap = if random.below(AT_ONCE) == 0 { 0 } else { random.below(200) };
        std::thread::sleep(millis(gap));
        second.kill();
    }
    std::thread::sleep(pause);
    if let Some(second) = &mut second {
        if random.below(2) == 0 {
            std::mem::swap(&mut first, second);
        }
        first.again();
        std::thread::sleep(millis(random.below(200)));
        second.again();
        second.wait_ready();
    } else {
        first.again();
    }
    first.wait_ready();
}
