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
#[path = "crash/clock.rs"]
mod clock;
#[path = "crash/damage.rs"]
mod damage;
#[path = "crash/errors.rs"]
mod errors;
#[path = "crash/full.rs"]
mod full;
#[path = "crash/killed.rs"]
mod killed;
#[path = "crash/link.rs"]
mod link;
#[path = "crash/moved.rs"]
mod moved;
#[path = "crash/news.rs"]
mod news;
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
    Loop { name: "damage", cycles: damages, run: damage::run },
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

/// Those that mostly wait: all at once, after the others.
const PATIENT: &[Loop] = &[
    Loop { name: "link-satellite", cycles: link_cuts, run: link::satellite },
    Loop { name: "link-3g", cycles: link_cuts, run: link::third_generation },
    Loop { name: "link-flaps", cycles: link_cuts, run: link::flaps },
    Loop { name: "link-half-open", cycles: few_cuts, run: link::half_open },
    Loop { name: "link-slow", cycles: few_cuts, run: link::slow },
    Loop { name: "clock", cycles: link_cuts, run: clock::run },
];

fn all(cycles: u64) -> u64 {
    cycles
}

fn cuts(cycles: u64) -> u64 {
    number("POWER_CYCLES", cycles)
}

fn damages(cycles: u64) -> u64 {
    number("DAMAGE_CYCLES", cycles)
}

fn swaps(cycles: u64) -> u64 {
    number("SWAPS", 10 * cycles)
}

fn link_cuts(cycles: u64) -> u64 {
    number("CUTS", (cycles / 15).max(1))
}

fn few_cuts(cycles: u64) -> u64 {
    link_cuts(cycles).div_ceil(6)
}

fn main() -> ExitCode {
    let (cycles, seed) = (number("CYCLES", 5), number("SEED", 1));
    if cycles == 0 {
        println!("no loops: CYCLES=0");
        return ExitCode::SUCCESS;
    }
    let wanted = std::env::var("LOOPS").unwrap_or_default();
    let wanted: Vec<&str> = wanted.split(',').filter(|name| !name.is_empty()).collect();
    let all = LOOPS.iter().chain(PATIENT).chain(PEERS);
    let names: Vec<&str> = all.map(|one| one.name).collect();
    for name in &wanted {
        assert!(names.contains(name), "there is no loop {name}: LOOPS={}", names.join(","));
    }
    let is_wanted = |one: &&Loop| wanted.is_empty() || wanted.contains(&one.name);
    let run = |one: &Loop| {
        let (name, cycles) = (one.name, (one.cycles)(cycles));
        let task = Task { name, cycles, seed, began: Instant::now() };
        (one.run)(task).print(&task)
    };
    let mut is_clean = true;
    for one in LOOPS.iter().filter(is_wanted) {
        is_clean &= run(one);
    }
    for one in PEERS.iter().filter(|one| wanted.contains(&one.name)) {
        let _whatever = run(one);
    }
    std::thread::scope(|scope| {
        let patient = PATIENT.iter().filter(is_wanted);
        let running: Vec<_> = patient.map(|one| scope.spawn(|| run(one))).collect();
        for one in running {
            is_clean &= one.join().unwrap_or(false); // it has said why
        }
    });
    if is_clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
