//! The fault loops: SIGKILL of `edge-runtime`, or of `localhub`, at random moments under load.
//! Nothing that was acknowledged is lost, nothing of one sender overtakes, nothing is twice at the
//! hub, and the account of the queue holds. `make crash CYCLES=50 SEED=1`.
#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods)]

mod support;

use std::time::{Duration, Instant};

use serde_json::json;

use support::count::{Count, broken_account};
use support::receiver::Receiver;
use support::sender::Sender;
use support::world::World;
use support::{Random, number, wait_for};

/// Cycles in `cargo test`.
const FEW: u64 = 6;
/// After the last kill everything has to have arrived by then.
const SETTLE: Duration = Duration::from_secs(120);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Victim {
    EdgeRuntime,
    Localhub,
}

struct Loop {
    world: World,
    /// To `$upstream`.
    upward: Vec<Sender>,
    /// To an input of another module.
    across: Sender,
    receiver: Receiver,
}

impl Loop {
    fn start() -> Self {
        let world = World::start(&json!({
            "leaves": "FROM /messages WHERE NOT IS_DEFINED($connectionModuleId) INTO $upstream",
            "up": "FROM /messages/modules/source/outputs/up INTO $upstream",
            "across": "FROM /messages/modules/near/outputs/out \
                       INTO BrokeredEndpoint(\"/modules/far/inputs/in\")",
        }));
        let (one, two) = (world.leaf("leaf-1"), world.leaf("leaf-2"));
        let source = world.module("source");
        let (near, far) = (world.module("near"), world.module("far"));
        let upward =
            vec![Sender::start(one, ""), Sender::start(two, ""), Sender::start(source, "up")];
        let receiver = Receiver::start(far);
        let across = Sender::start(near, "out");
        Loop { world, upward, across, receiver }
    }

    fn senders(&self) -> impl Iterator<Item = &Sender> {
        self.upward.iter().chain([&self.across])
    }

    /// Kills, starts again, and waits until every sender was acknowledged since. Answers whether
    /// messages were un-acknowledged at the kill, and how long it took.
    fn kill(&mut self, victim: Victim) -> (bool, Duration) {
        let program = match victim {
            Victim::EdgeRuntime => &mut self.world.edge,
            Victim::Localhub => &mut self.world.hub.program,
        };
        program.kill();
        let is_in_flight = match victim {
            Victim::EdgeRuntime => self.senders().any(|sender| sender.sent().in_flight() > 0),
            // What the edge owes to the hub at that moment.
            Victim::Localhub => {
                self.world.queue().is_some_and(|queue| support::count::total(&queue, "stored") > 0)
            }
        };
        let killed = Instant::now();
        let program = match victim {
            Victim::EdgeRuntime => &mut self.world.edge,
            Victim::Localhub => &mut self.world.hub.program,
        };
        program.again();
        program.wait_ready();
        for sender in self.senders() {
            let what = format!("an acknowledgement of {} after the kill", sender.id());
            wait_for(&what, SETTLE, || sender.sent().last_ack.filter(|at| *at > killed));
        }
        (is_in_flight, killed.elapsed())
    }

    /// All is sent and acknowledged; counts what arrived.
    fn finish(&mut self) -> Count {
        for sender in &mut self.upward {
            sender.finish();
        }
        self.across.finish();
        let queue = self.world.wait_drained(SETTLE);
        let mut count = Count::default();
        for sender in &self.upward {
            let arrived = self.world.at_hub(sender.id());
            count.add(sender.id(), &sender.sent(), &arrived);
        }
        count.add(self.across.id(), &self.across.sent(), &self.receiver.arrived());
        count.examples.extend(broken_account(&queue));
        count
    }
}

fn run(name: &str, victim: Victim) {
    let (cycles, seed) = (number("CYCLES", FEW), number("SEED", 1));
    let mut random = Random::new(seed);
    let mut world = Loop::start();
    let (mut in_flight, mut worst) = (0u64, Duration::ZERO);
    for _ in 0..cycles {
        std::thread::sleep(Duration::from_millis(50 + random.below(600)));
        let (was_in_flight, recovery) = world.kill(victim);
        in_flight += u64::from(was_in_flight);
        worst = worst.max(recovery);
    }
    let count = world.finish();
    println!(
        "{name} cycles={cycles} seed={seed} acked={} lost={} duplicated={} reordered={} \
         resent={} kills_in_flight={in_flight} worst_recovery_ms={}",
        count.acked,
        count.lost,
        count.duplicated,
        count.reordered,
        count.resent,
        worst.as_millis(),
    );
    assert!(count.is_clean() && count.examples.is_empty(), "seed {seed}: {count:#?}");
    assert!(count.acked > 0, "nothing was sent");
    // A kill between two messages proves little.
    if victim == Victim::EdgeRuntime {
        let percent = in_flight * 100 / cycles.max(1);
        assert!(percent >= 30, "only {percent} % of the kills met messages in flight");
    }
}

#[test]
fn kill_edge_runtime() {
    run("kill_edge_runtime", Victim::EdgeRuntime);
}

#[test]
fn kill_localhub() {
    run("kill_localhub", Victim::Localhub);
}
