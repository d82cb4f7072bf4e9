//! What has come from an edge already (link.md, effectively once): per run the numbers as
//! intervals, and what may be forgotten of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::row::Stamp;

/// A run that was not heard of for so long is forgotten.
pub const FORGET_AFTER_SECONDS: u64 = 30 * 86_400;

/// What to do with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Store it.
    New,
    /// Acknowledge and drop it.
    Duplicate,
}

/// The memory of one edge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    runs: BTreeMap<u64, Run>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Run {
    /// First and last of each interval; disjoint, not touching, sorted.
    intervals: Vec<(u64, u64)>,
    /// The highest `low` that came with this run.
    low: u64,
    /// When it was last heard of, in seconds.
    heard: u64,
}

impl Seen {
    /// A message came. Below the highest `low` of its own run it is a duplicate for certain: the
    /// edge had its end on disk when it sent that `low`.
    pub fn on_arrival(&mut self, stamp: Stamp, low: u64, now: u64) -> Arrival {
        let run = self.runs.entry(stamp.run).or_default();
        run.heard = now;
        let is_below = stamp.seq < run.low;
        if low > run.low {
            run.low = low;
            run.forget_below(low);
        }
        let arrival = if is_below { Arrival::Duplicate } else { run.insert(stamp.seq) };
        self.runs.retain(|_, run| now.saturating_sub(run.heard) <= FORGET_AFTER_SECONDS);
        arrival
    }

    /// Whether a message would be a duplicate.
    pub fn has(&self, stamp: Stamp) -> bool {
        self.runs.get(&stamp.run).is_some_and(|run| {
            let is_within = |(first, last): &(u64, u64)| (*first..=*last).contains(&stamp.seq);
            stamp.seq < run.low || run.intervals.iter().any(is_within)
        })
    }

    /// The highest number of a run that has come.
    pub fn highest(&self, run: u64) -> Option<u64> {
        self.runs.get(&run)?.intervals.last().map(|(_, last)| *last)
    }

    /// Intervals kept, over all runs.
    pub fn len(&self) -> usize {
        self.runs.values().map(|run| run.intervals.len()).sum()
    }

    /// Nothing has come.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Run {
    fn insert(&mut self, seq: u64) -> Arrival {
        // The first interval that begins after `seq`.
        let at = self.intervals.partition_point(|(first, _)| *first <= seq);
        let before = at.checked_sub(1).map(|at| self.intervals[at]);
        if before.is_some_and(|(_, last)| seq <= last) {
            return Arrival::Duplicate;
        }
        let touches_before = before.is_some_and(|(_, last)| last.checked_add(1) == Some(seq));
        let touches_after =
            self.intervals.get(at).is_some_and(|(first, _)| seq.checked_add(1) == Some(*first));
        match (touches_before, touches_after) {
            (true, true) => {
                self.intervals[at - 1].1 = self.intervals[at].1;
                self.intervals.remove(at);
            }
            (true, false) => self.intervals[at - 1].1 = seq,
            (false, true) => self.intervals[at].0 = seq,
            (false, false) => self.intervals.insert(at, (seq, seq)),
        }
        Arrival::New
    }

    /// Keeps the interval that reaches across, so that it stays one.
    fn forget_below(&mut self, low: u64) {
        self.intervals.retain(|(_, last)| *last >= low);
    }
}
