//! The fault loops: SIGKILL at random moments under load, and other troubles, and nothing lost.
//!
//! Numbered QoS 1 messages go through the real programs while one of them is killed and started
//! again, `CYCLES` times, at moments drawn from `SEED`. At the end everything acknowledged must
//! have arrived, once, in order per sender, and the runtime's own account must be whole:
//! received = stored + named ends, and delivered = what the hub has.
//!
//! `LOOPS` below is all of them: a new loop is a file in `crash/` and a line there. One line per loop
//! on stdout; status 1 if anything was lost, doubled or out of order. The variable `LOOPS` chooses
//! loops by name, `EDGE_BIN_DIR` other programs (the mutants).
//!
//! next: `crash/report.rs`
#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "crash/churn.rs"]
mod churn;
#[path = "crash/errors.rs"]
mod errors;
#[path = "crash/full.rs"]
mod full;
#[path = "crash/killed.rs"]
mod killed;
#[path = "crash/moved.rs"]
mod moved;
#[path = "crash/peer.rs"]
mod peer;
#[path = "crash/power.rs"]
mod power;
#[path = "crash/report.rs"]
mod report;
mod support;
#[path = "crash/swap.rs"]
mod swap;

use std::process::ExitCode;
use std::time::Instant;

use report::{Report, Task};
use support::number;

struct Loop {
    name: &'static str,
    /// Of `CYCLES`, unless it has a variable of its own.
    cycles: fn(u64) -> u64,
    run: fn(Task) -> Report,
}

const LOOPS: &[Loop] = &[
    Loop { name: "edge-killed", cycles: all, run: killed::edge },
    Loop { name: "hub-killed", cycles: all, run: killed::hub },
    Loop { name: "both-killed", cycles: all, run: killed::both },
    Loop { name: "relay", cycles: all, run: killed::relay },
    Loop { name: "power-cut", cycles: cuts, run: power::edge },
    Loop { name: "hub-power-cut", cycles: cuts, run: power::hub },
    Loop { name: "disk-errors", cycles: cuts, run: errors::run },
    Loop { name: "disk-full", cycles: cuts, run: full::run },
    Loop { name: "routes-swapped", cycles: all, run: swap::run },
    Loop { name: "routes-churned", cycles: swaps, run: churn::run },
    Loop { name: "moved", cycles: all, run: moved::run },
];

/// The same of others, for comparison: only by name, and whatever they lose is no failure.
const PEERS: &[Loop] = &[
    Loop { name: "mosquitto-killed", cycles: all, run: peer::killed },
    Loop { name: "mosquitto-power-cut", cycles: cuts, run: peer::power_cut },
    Loop { name: "mosquitto-saving-killed", cycles: all, run: peer::saving_killed },
    Loop { name: "mosquitto-saving-power-cut", cycles: cuts, run: peer::saving_power_cut },
];

fn all(cycles: u64) -> u64 {
    cycles
}

fn cuts(cycles: u64) -> u64 {
    number("POWER_CYCLES", cycles)
}

fn swaps(cycles: u64) -> u64 {
    number("SWAPS", 10 * cycles)
}

fn main() -> ExitCode {
    let (cycles, seed) = (number("CYCLES", 5), number("SEED", 1));
    let wanted = std::env::var("LOOPS").unwrap_or_default();
    let wanted: Vec<&str> = wanted.split(',').filter(|name| !name.is_empty()).collect();
    let names: Vec<&str> = LOOPS.iter().chain(PEERS).map(|one| one.name).collect();
    for name in &wanted {
        assert!(names.contains(name), "there is no loop {name}: LOOPS={}", names.join(","));
    }
    let mut is_clean = true;
    for one in LOOPS.iter().filter(|one| wanted.is_empty() || wanted.contains(&one.name)) {
        let task =
            Task { name: one.name, cycles: (one.cycles)(cycles), seed, began: Instant::now() };
        is_clean &= (one.run)(task).print(&task);
    }
    for one in PEERS.iter().filter(|one| wanted.contains(&one.name)) {
        let task =
            Task { name: one.name, cycles: (one.cycles)(cycles), seed, began: Instant::now() };
        let _whatever = (one.run)(task).print(&task);
    }
    if is_clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
