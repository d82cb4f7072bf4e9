//! A program's state lies on a disk (`faultfs`) that loses, when its power is cut, what was not
//! synced. It is cut under load, again and again, and mounted anew.
//!
//! Every third cut comes at any moment, the others inside a commit: before the n-th write or sync
//! that follows. Half of them drop all that was not synced, half of them tear it. The program is
//! killed by the cut.
//!
//! next: `errors.rs`

use std::time::{Duration, Instant};

use faultfs::{Cut, Disk, Fault, Mount, Names, Operation};
use tempfile::TempDir;

use crate::killed::routes;
use crate::report::{DRAIN, Report, Task, wait_acked_since};
use crate::support::Random;
use crate::support::count::{broken_account, total};
use crate::support::sender::Sender;
use crate::support::world::World;

/// A cut inside a commit waits for one so long.
const COMMIT: Duration = Duration::from_secs(5);
/// At least so many cuts of 100 must find something that was not synced, or the loop shows nothing.
const UNSYNCED_PERCENT: u64 = 60;

/// The edge's disk.
pub(crate) fn edge(task: Task) -> Report {
    run(task, "EDGE_RUNTIME__STATE__PATH")
}

/// The hub's disk.
pub(crate) fn hub(task: Task) -> Report {
    run(task, "LOCALHUB__STATE__PATH")
}

/// `variable` says whose state is on the disk.
fn run(task: Task, variable: &str) -> Report {
    if let Some(why) = faultfs::why_not() {
        return Report { more: format!("SKIPPED: {why}"), ..Report::default() };
    }
    let mut random = task.random();
    let mut power = Power::new(task.seed, Names::Strict);
    let is_hub = variable.starts_with("LOCALHUB");
    let place = power.place();
    let there = [(variable, place.as_str())];
    let (hub, edge) = if is_hub { (&there[..], &[][..]) } else { (&[][..], &there[..]) };
    let mut world = World::start_as(&routes(false), hub, edge);
    let mut senders = vec![Sender::start(world.module("sensor"), "out")];
    for id in ["leaf-1", "leaf-2"] {
        senders.push(Sender::start(world.leaf(id), ""));
    }
    wait_acked_since(&senders, task.began);
    let (mut worst, mut met, mut wrong) = (Duration::ZERO, 0, Vec::new());
    let mut is_back = true;
    for cycle in 1..=task.cycles {
        std::thread::sleep(Duration::from_millis(20 + random.below(700)));
        let program = if is_hub { &mut world.hub.program } else { &mut world.edge };
        let when = power.cut(program.id(), COMMIT, &mut random);
        program.kill();
        power.again();
        program.again();
        met += u64::from(power.disk.met() > 0);
        if let Err(why) = program.try_ready() {
            wrong.push(format!("after cut {cycle}: {why}"));
            is_back = false;
            break;
        }
        worst = worst.max(wait_acked_since(&senders, when));
        wrong.extend(world.queue().map(|account| broken_account(&account)).unwrap_or_default());
    }
    let mut report = if is_back {
        senders.iter_mut().for_each(Sender::finish);
        drained(&mut world, &senders)
    } else {
        Report::default() // what is there is counted; the rest is lost
    };
    for sender in &senders {
        let arrived = world.at_hub(sender.id());
        report.count.add(sender.id(), &sender.sent(), &arrived);
    }
    if is_back && met * 100 < task.cycles * UNSYNCED_PERCENT {
        wrong.push(format!("only {met} of {} cuts met what was not synced", task.cycles));
    }
    report.wrong.extend(wrong);
    let more = format!("cuts_with_unsynced={}% {}", met * 100 / task.cycles.max(1), report.more);
    Report { worst, more, ..report }
}

fn drained(world: &mut World, senders: &[Sender]) -> Report {
    let account = world.wait_drained(DRAIN);
    let mut report = Report::of_account(&account);
    let arrived: usize = senders.iter().map(|sender| world.at_hub(sender.id()).len()).sum();
    if total(&account, "delivered") != arrived as u64 {
        let delivered = total(&account, "delivered");
        report.wrong.push(format!("{delivered} delivered, {arrived} at the hub"));
    }
    let resent = account["resent"].as_u64().unwrap_or_default();
    report.more = format!("resent_by_clients={resent}");
    report
}

/// See the module documentation.
pub(crate) struct Power {
    pub(crate) disk: Disk,
    mount: Option<Mount>,
    // Last: it is removed once nothing is mounted there.
    place: TempDir,
}

impl Power {
    pub(crate) fn new(seed: u64, names: Names) -> Self {
        let place = tempfile::tempdir().unwrap();
        let disk = Disk::new(seed, names);
        let mount = Some(disk.mount(place.path()).unwrap());
        Power { disk, mount, place }
    }

    /// Where it is mounted.
    pub(crate) fn place(&self) -> String {
        self.place.path().to_str().unwrap().to_owned()
    }

    /// One cut, for which a commit is awaited so long; when it was. This process is killed by it.
    pub(crate) fn cut(&mut self, process: u32, patience: Duration, random: &mut Random) -> Instant {
        self.disk.power(Some(process));
        let cut = if random.below(2) == 0 { Cut::Dropped } else { Cut::Torn };
        match random.below(3) {
            0 => self.disk.cut(cut),
            1 => self.disk.plan(Operation::Write, 1 + random.below(8), Fault::Cut(cut)),
            _ => self.disk.plan(Operation::Sync, 1 + random.below(5), Fault::Cut(cut)),
        }
        if !self.disk.wait_happened(patience) {
            self.disk.forget_plan();
        }
        self.disk.cut(cut); // if it has not happened by then
        Instant::now()
    }

    /// Mounts it anew.
    pub(crate) fn again(&mut self) {
        self.mount = None;
        self.mount = Some(self.disk.mount(self.place.path()).unwrap());
    }
}
