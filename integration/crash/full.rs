//! The edge's disk is full: at its very first start, at a start, and during traffic.
//!
//! With the hub away nothing drains. No PUBACK comes for what does not fit, the process lives, says
//! so, and answers; once there is room it goes on by itself, and nothing is lost.
//!
//! next: `swap.rs`

use std::time::{Duration, Instant};

use faultfs::Names;

use crate::killed::routes;
use crate::power::Power;
use crate::report::{DRAIN, RECOVERY, Report, Task, wait_acked_since};
use crate::support::program::Program;
use crate::support::sender::Sender;
use crate::support::wait_for;
use crate::support::world::World;

const STATE: &str = "EDGE_RUNTIME__STATE__PATH";
/// Small, so that a disk is full soon.
const RESERVE: (&str, &str) = ("EDGE_RUNTIME__STORE__RESERVE_BYTES", "128 KiB");
/// In which a full disk lets no message more through.
const STILL: Duration = Duration::from_millis(700);

pub(crate) fn run(task: Task) -> Report {
    if let Some(why) = faultfs::why_not() {
        return Report { more: format!("SKIPPED: {why}"), ..Report::default() };
    }
    let power = Power::new(task.seed, Names::Strict);
    let place = power.place();
    let mut world = World::start_as(&routes(false), &[], &[(STATE, place.as_str()), RESERVE]);
    world.edge.kill(); // it has the same name
    let wrong = first_start(&world);
    world.edge.again();
    world.edge.wait_ready();
    let mut senders = vec![
        Sender::start_busy(world.module("sensor"), "out"),
        Sender::start_busy(world.leaf("leaf-1"), ""),
    ];
    wait_acked_since(&senders, task.began);
    let mut worst = Duration::ZERO;
    for cycle in 1..=task.cycles.min(4) {
        world.hub.program.kill();
        power.disk.set_size(Some(power.disk.used()));
        wait_withheld(&world, &senders);
        if cycle % 2 == 0 {
            world.edge.kill();
            world.edge.again();
            world.edge.wait_ready();
            wait_withheld(&world, &senders);
        }
        let freed = Instant::now();
        power.disk.set_size(None);
        worst = worst.max(wait_acked_since(&senders, freed));
        assert_eq!(world.edge.ended(), None, "it went on by itself");
        world.hub.program.again();
        world.hub.program.wait_ready();
    }
    senders.iter_mut().for_each(Sender::finish);
    let account = world.wait_drained(DRAIN);
    let mut report = Report { worst, ..Report::of_account(&account) };
    for sender in &senders {
        let arrived = world.at_hub(sender.id());
        report.count.add(sender.id(), &sender.sent(), &arrived);
    }
    report.wrong.extend(wrong);
    report
}

fn acked(senders: &[Sender]) -> usize {
    senders.iter().map(|sender| sender.sent().acked_count()).sum()
}

/// It says that the disk is full, and acknowledges nothing any more.
fn wait_withheld(world: &World, senders: &[Sender]) {
    wait_for("the word that the disk is full, and silence", RECOVERY, || {
        let before = acked(senders);
        std::thread::sleep(STILL);
        (said_full(world) && acked(senders) == before).then_some(())
    });
}

/// In its status, which is the management API's and `edgectl`'s: a write failed, or none is tried
/// any more, for want of room.
fn said_full(world: &World) -> bool {
    let Some(queue) = world.queue() else { return false };
    let is_failing = queue["state"].as_str().is_some_and(|it| it.contains("cannot write"));
    is_failing || queue["fill"] == "full"
}

/// A new edge on a disk with hardly any room lives or ends by itself, saying why, and starts once
/// there is room. What is wrong.
fn first_start(world: &World) -> Vec<String> {
    let power = Power::new(1, Names::Strict);
    let log = world.folder.path().join("first.log");
    let mut environment = world.edge.environment().to_vec();
    environment.retain(|(name, _)| name != STATE);
    environment.push((STATE.into(), power.place()));
    power.disk.set_size(Some(0));
    let mut edge = Program::start("edge-runtime", log, environment);
    let mut wrong = Vec::new();
    for kib in [4, 8, 12, 16, 20, 24, 32, 64, 128] {
        let deadline = Instant::now() + Duration::from_secs(2);
        while edge.ended().is_none() && !edge.is_ready() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        let log = edge.log_since_start().to_lowercase();
        let is_told = ["no space left", "full", "ready"].iter().any(|word| log.contains(word));
        match edge.ended() {
            Some(status) if status.code().is_none() => wrong.push(format!("a new edge: {status}")),
            Some(status) if !is_told => wrong.push(format!("a new edge: {status}: {log}")),
            Some(_) => {}
            None => edge.kill(),
        }
        power.disk.set_size(Some(kib << 10));
        edge.again();
    }
    edge.kill();
    power.disk.set_size(None);
    edge.again();
    wrong.extend(edge.try_ready().err());
    edge.kill();
    wrong
}
