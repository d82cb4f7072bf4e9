//! What a loop is asked for, and what it found: one line on stdout, and what is wrong below it.
//!
//! next: `killed.rs`

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::Random;
use crate::support::count::{Count, broken_account};
use crate::support::sender::Sender;
use crate::support::wait_for;

/// A sender is acknowledged again so long after a fault, or the loop has failed.
pub(crate) const RECOVERY: Duration = Duration::from_secs(60);
/// All that is owed is delivered so long after the last fault.
pub(crate) const DRAIN: Duration = Duration::from_secs(120);

/// One loop, once. The same name, cycles and seed draw the same faults.
#[derive(Clone, Copy)]
pub(crate) struct Task {
    pub name: &'static str,
    pub cycles: u64,
    pub seed: u64,
    pub began: Instant,
}

impl Task {
    pub(crate) fn random(&self) -> Random {
        Random::new(self.seed)
    }
}

/// What came of a loop.
#[derive(Default)]
pub(crate) struct Report {
    pub count: Count,
    /// The longest time from a fault to the next acknowledgement.
    pub worst: Duration,
    /// Further figures of this loop: `name=value`, with spaces between.
    pub more: String,
    /// What is wrong beside the count.
    pub wrong: Vec<String>,
    /// There is no account of messages to be compared with.
    pub has_no_account: bool,
}

impl Report {
    /// Of senders that have finished, by the account of a queue that is drained.
    pub(crate) fn of_account(account: &Value) -> Self {
        Report { wrong: broken_account(account), ..Report::default() }
    }

    /// Prints it; whether it is clean.
    pub(crate) fn print(&self, task: &Task) -> bool {
        let Task { name, cycles, seed, began } = task;
        let Count { acked, lost, duplicated, reordered, .. } = self.count;
        println!(
            "{name} cycles={cycles} seed={seed} acked={acked} lost={lost} duplicated={duplicated} \
             reordered={reordered} worst_recovery_ms={} {}{}account={} took_s={}",
            self.worst.as_millis(),
            self.more,
            if self.more.is_empty() { "" } else { " " },
            match self.wrong.is_empty() {
                true if self.has_no_account => "none",
                true => "whole",
                false => "BROKEN",
            },
            began.elapsed().as_secs(),
        );
        for text in self.count.examples.iter().chain(&self.wrong) {
            println!("  WRONG in {name}: {text}");
        }
        self.count.is_clean() && self.wrong.is_empty()
    }
}

/// Waits until every sender was acknowledged after `since`; how long after it the last was.
#[track_caller]
pub(crate) fn wait_acked_since(senders: &[Sender], since: Instant) -> Duration {
    let mut worst = Duration::ZERO;
    for sender in senders {
        let what = format!("an acknowledgement of {}", sender.id());
        let is_back = || sender.sent().last_ack.filter(|at| *at > since);
        worst = worst.max(wait_for(&what, RECOVERY, is_back) - since);
    }
    worst
}
