//! The files of the edge's stores are damaged: bits flip, the end is cut off or zeroed, pages are
//! lost, a file is empty or gone. What is whole arrives, once and in order; what is not is named.
//!
//! next: `churn.rs`

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::killed::routes;
use crate::report::{DRAIN, RECOVERY, Report, Task, wait_acked_since};
use crate::support::Random;
use crate::support::count::{Count, broken_account, total};
use crate::support::sender::Sender;
use crate::support::wait_for;
use crate::support::world::World;

const PAGE: u64 = 4_096;
/// Starts that one damage may cost: a store is found damaged while it is in use, too.
const STARTS: u32 = 6;

/// What is known of losses.
#[derive(Default)]
struct Losses {
    missing: usize,
    quarantined: u64,
    last: Value,
    named: usize,
    unnamed: usize,
    salvages: u64,
}

pub(crate) fn run(task: Task) -> Report {
    let mut random = task.random();
    let mut world = World::start(&routes(false));
    let mut senders = vec![Sender::start(world.module("sensor"), "out")];
    for id in ["leaf-1", "leaf-2"] {
        senders.push(Sender::start(world.leaf(id), ""));
    }
    wait_acked_since(&senders, task.began);
    let (mut losses, mut worst, mut wrong) = (Losses::default(), Duration::ZERO, Vec::new());
    let mut restarts = 0;
    for cycle in 0..task.cycles {
        world.hub.program.kill(); // so that there is a backlog
        senders.iter().for_each(|sender| sender.pause(false));
        std::thread::sleep(Duration::from_millis(100 + random.below(500)));
        senders.iter().for_each(|sender| sender.pause(true));
        // A message that is sent again for want of a PUBACK is known by a record that may be lost.
        wait_for("the last acknowledgements", RECOVERY, || {
            senders.iter().all(|sender| sender.sent().in_flight() == 0).then_some(())
        });
        if random.below(2) == 0 {
            world.edge.kill();
        } else {
            world.edge.terminate();
        }
        let store = if random.below(4) == 0 { "state" } else { "queue" };
        let path = world.folder.path().join(format!("edge/{store}/data.mdb"));
        let what = format!("cycle {cycle}, {store}: {}", damage(&path, &mut random));
        let begun = Instant::now();
        world.edge.again();
        world.hub.program.again();
        world.hub.program.wait_ready();
        restarts += come_back(&mut world, &what);
        worst = worst.max(begun.elapsed());
        let account = settle(&mut world, &senders, &mut restarts, &what);
        for broken in broken_account(&account) {
            wrong.push(format!("{what}: {broken}"));
        }
        if let Some(unnamed) = losses.judge(&mut world, &senders, &account) {
            wrong.push(format!("{what}: {unnamed}"));
        }
    }
    senders.iter().for_each(|sender| sender.pause(false));
    senders.iter_mut().for_each(Sender::finish);
    let account = world.wait_drained(DRAIN);
    wrong.extend(broken_account(&account));
    let mut count = Count::default();
    for sender in &senders {
        let arrived = world.at_hub(sender.id());
        count.add(sender.id(), &sender.sent(), &arrived);
    }
    count.examples.retain(|example| !example.ends_with("never came")); // they are judged above
    let Losses { named, unnamed, salvages, .. } = losses;
    let lost = std::mem::replace(&mut count.lost, unnamed);
    let more = format!(
        "lost(=named)={} unnamed={unnamed} salvages={salvages} restarts={restarts}",
        lost.min(named)
    );
    Report { count, worst, more, wrong, ..Report::default() }
}

/// Waits until the edge is ready, as a service manager would; answers how often it started anew.
/// That a store is damaged is no reason to give up: it is salvaged.
fn come_back(world: &mut World, what: &str) -> u32 {
    let (mut restarts, deadline) = (0, Instant::now() + RECOVERY);
    loop {
        if world.edge.is_ready() {
            return restarts;
        }
        if world.edge.ended().is_some() && restarts < STARTS {
            restarts += 1;
            world.edge.again();
        }
        let log = || world.edge.log_since_start();
        assert!(Instant::now() < deadline, "{what}: not ready, {restarts} restarts: {}", log());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// All is acknowledged and delivered.
fn settle(world: &mut World, senders: &[Sender], restarts: &mut u32, what: &str) -> Value {
    let deadline = Instant::now() + DRAIN;
    loop {
        if world.edge.ended().is_some() {
            world.edge.again();
            *restarts += 1 + come_back(world, what);
        }
        let in_flight: usize = senders.iter().map(|sender| sender.sent().in_flight()).sum();
        let queue = world.queue().filter(|_| in_flight == 0);
        if let Some(queue) = queue.filter(|queue| total(queue, "stored") == 0) {
            return queue;
        }
        if Instant::now() > deadline {
            let log = world.edge.log_since_start();
            panic!("{what}: {in_flight} in flight, not drained: {:?}\n{log}", world.queue());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

impl Losses {
    /// Whether what is missing since the last time was named; if not, what is to be said.
    fn judge(&mut self, world: &mut World, senders: &[Sender], account: &Value) -> Option<String> {
        let mut missing = 0;
        for sender in senders {
            let arrived: HashSet<u64> =
                world.at_hub(sender.id()).iter().map(|arrival| arrival.n).collect();
            let sent = sender.sent();
            let acked = sent.acked.iter().enumerate().filter(|(_, is_acked)| **is_acked);
            missing += acked.filter(|(n, _)| !arrived.contains(&(*n as u64))).count();
        }
        let quarantined = total(account, "quarantined");
        let empty = Vec::new();
        let reports = account["salvages"].as_array().unwrap_or(&empty);
        let new: Vec<&Value> = reports.iter().rev().take_while(|it| **it != self.last).collect();
        self.salvages += new.len() as u64;
        let number = |report: &Value, name: &str| report[name].as_u64().unwrap_or(0);
        let loose: u64 = new.iter().map(|report| number(report, "lost_without_account")).sum();
        // With the counters themselves gone, how many is not known: that is said instead.
        let is_told = new.iter().any(|report| {
            let tables = report["tables"].as_object();
            let mut older = tables.into_iter().flat_map(serde_json::Map::values);
            report["is_empty"] == true
                || report["is_head_lost"] == true
                || report["is_last_certain"] == false
                || older.any(|table| number(table, "older") > 0)
        });
        let now = missing.saturating_sub(self.missing);
        let named = usize::try_from(quarantined.saturating_sub(self.quarantined) + loose).unwrap();
        let last = reports.last().cloned().unwrap_or_default();
        let unnamed = if is_told { 0 } else { now.saturating_sub(named) };
        (self.missing, self.quarantined, self.last) = (missing, quarantined, last);
        self.named += now - unnamed;
        self.unnamed += unnamed;
        (unnamed > 0).then(|| format!("{now} lost, {named} named: {new:?}"))
    }
}

/// Does one bad thing to a file, and says which.
fn damage(path: &Path, random: &mut Random) -> String {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let pages = used(&file);
    let length = pages * PAGE;
    match random.below(12) {
        0 => {
            file.set_len(random.below(length)).unwrap();
            "cut".into()
        }
        1 => {
            let at = length - 1 - random.below(length / 2);
            let end = file.metadata().unwrap().len();
            file.set_len(at).unwrap();
            file.set_len(end).unwrap();
            "the end zeroed".into()
        }
        2 => {
            file.write_all_at(&[0; PAGE as usize], random.below(pages) * PAGE).unwrap();
            "a page zeroed".into()
        }
        3 => {
            let at = random.below(2) * PAGE + random.below(160);
            flip(&file, at, random);
            format!("a bit of a header flipped at {at}")
        }
        4 if random.below(3) == 0 => {
            file.set_len(0).unwrap();
            "empty".into()
        }
        5..=7 => flips(&file, random, pages, 16),
        8 | 9 => flips(&file, random, pages, 160),
        _ => flips(&file, random, pages, PAGE),
    }
}

/// Pages up to the last one in use, by the two headers; behind it only room is kept.
fn used(file: &File) -> u64 {
    let last = |at: u64| {
        let mut bytes = [0; 8];
        file.read_exact_at(&mut bytes, at + 136).unwrap();
        u64::from_ne_bytes(bytes)
    };
    last(0).max(last(PAGE)) + 1
}

/// Some bits within the first bytes of pages.
fn flips(file: &File, random: &mut Random, pages: u64, within: u64) -> String {
    let count = 1 + random.below(20);
    for _ in 0..count {
        let at = random.below(pages) * PAGE + random.below(within);
        flip(file, at, random);
    }
    format!("{count} bits flipped within {within} bytes of pages")
}

fn flip(file: &File, at: u64, random: &mut Random) {
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ (1 << random.below(8))], at).unwrap();
}
