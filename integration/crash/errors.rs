//! The n-th write, or sync, of the edge's disk fails, for n = 1, 2, 3 … until none is left that far:
//! under load and at a start, with EIO and with ENOSPC.
//!
//! Whatever was acknowledged by then is on disk: after every second fault the power is cut. A process
//! that ends because its store is lost to it is started again, as a service manager does.
//!
//! next: `full.rs`

use std::time::{Duration, Instant};

use faultfs::{Cut, Errno, Fault, Names, Operation};

use crate::killed::routes;
use crate::power::Power;
use crate::report::{DRAIN, RECOVERY, Report, Task};
use crate::support::count::{broken_account, total};
use crate::support::sender::Sender;
use crate::support::world::World;

/// From so many cycles on every fault is made with both errors, else with one in turn.
const BOTH: u64 = 50;
/// Load while a fault is awaited.
const LOAD: Duration = Duration::from_millis(150);

pub(crate) fn run(task: Task) -> Report {
    if let Some(why) = faultfs::why_not() {
        return Report { more: format!("SKIPPED: {why}"), ..Report::default() };
    }
    let mut trial = Trial::new(task);
    for operation in [Operation::Write, Operation::Sync] {
        for at_start in [false, true] {
            for n in 1..=task.cycles {
                let errors = [Errno::EIO, Errno::ENOSPC];
                let errors = if task.cycles >= BOTH {
                    &errors[..]
                } else {
                    &errors[(n % 2) as usize..][..1]
                };
                let mut has_happened = false;
                for error in errors {
                    trial.world_is_up();
                    has_happened |= if at_start {
                        trial.at_start(operation, n, *error)
                    } else {
                        trial.under_load(operation, n, *error)
                    };
                }
                if !has_happened {
                    break; // it does not do so many
                }
            }
        }
    }
    trial.report()
}

struct Trial {
    world: World,
    power: Power,
    senders: Vec<Sender>,
    worst: Duration,
    faults: u64,
    exits: u64,
    cuts: u64,
    wrong: Vec<String>,
}

impl Trial {
    fn new(task: Task) -> Self {
        let power = Power::new(task.seed, Names::Strict);
        let place = power.place();
        let world =
            World::start_as(&routes(false), &[], &[("EDGE_RUNTIME__STATE__PATH", place.as_str())]);
        let senders = vec![
            Sender::start(world.module("sensor"), "out"),
            Sender::start(world.leaf("leaf-1"), ""),
        ];
        let (worst, wrong) = (Duration::ZERO, Vec::new());
        Trial { world, power, senders, worst, faults: 0, exits: 0, cuts: 0, wrong }
    }

    /// All is acknowledged and delivered, and nothing is sent.
    fn world_is_up(&mut self) {
        self.senders.iter().for_each(|sender| sender.pause(true));
        let deadline = Instant::now() + RECOVERY;
        loop {
            self.keep_up();
            let in_flight: usize = self.senders.iter().map(|it| it.sent().in_flight()).sum();
            let queue = self.world.queue().filter(|_| in_flight == 0);
            if let Some(queue) = queue.filter(|queue| total(queue, "stored") == 0) {
                self.wrong.extend(broken_account(&queue));
                return;
            }
            assert!(Instant::now() < deadline, "{in_flight} in flight: {:?}", self.world.queue());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Starts it again if it has ended.
    fn keep_up(&mut self) {
        if let Some(status) = self.world.edge.ended() {
            self.exits += 1;
            if status.code().is_none() {
                self.wrong.push(format!("it did not end by itself: {status}"));
            }
            self.world.edge.again();
        }
    }

    /// Whether it happened.
    fn under_load(&mut self, operation: Operation, n: u64, error: Errno) -> bool {
        self.power.disk.plan(operation, n, Fault::Fail(error));
        let began = Instant::now();
        self.senders.iter().for_each(|sender| sender.pause(false));
        self.power.disk.wait_happened(LOAD);
        if self.power.disk.forget_plan() {
            return false;
        }
        self.faults += 1;
        if n.is_multiple_of(2) {
            std::thread::sleep(Duration::from_millis(n * 7 % 160));
            self.cut();
        }
        self.world_is_up();
        self.worst = self.worst.max(began.elapsed());
        true
    }

    fn at_start(&mut self, operation: Operation, n: u64, error: Errno) -> bool {
        self.world.edge.kill();
        self.power.disk.plan(operation, n, Fault::Fail(error));
        self.world.edge.again();
        let began = Instant::now();
        while self.world.edge.ended().is_none() && !self.world.edge.is_ready() {
            assert!(began.elapsed() < RECOVERY, "neither ready nor gone");
            std::thread::sleep(Duration::from_millis(5));
        }
        let has_happened = !self.power.disk.forget_plan();
        self.faults += u64::from(has_happened);
        if has_happened && n.is_multiple_of(2) {
            self.cut();
        }
        self.senders.iter().for_each(|sender| sender.pause(false));
        std::thread::sleep(Duration::from_millis(20));
        self.world_is_up();
        self.worst = self.worst.max(began.elapsed());
        has_happened
    }

    fn cut(&mut self) {
        self.cuts += 1;
        self.power.disk.cut(Cut::Dropped);
        self.world.edge.kill();
        self.power.again();
        self.world.edge.again();
    }

    fn report(mut self) -> Report {
        self.world_is_up();
        self.senders.iter_mut().for_each(Sender::finish);
        let account = self.world.wait_drained(DRAIN);
        let mut report = Report::of_account(&account);
        for sender in &self.senders {
            let arrived = self.world.at_hub(sender.id());
            report.count.add(sender.id(), &sender.sent(), &arrived);
        }
        report.wrong.extend(self.wrong);
        let Trial { faults, exits, cuts, worst, .. } = self;
        report.more = format!("faults={faults} exits={exits} cuts_after={cuts}");
        Report { worst, ..report }
    }
}
