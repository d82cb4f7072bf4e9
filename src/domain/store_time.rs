//! Store time: how long the queue has existed, as far as anyone can tell. Messages age in it.
//!
//! Driven by the clock that runs since boot, also in standby, and that nobody can set. Across a
//! reboot the wall clock counts, but only if it was synchronised on both sides, and never
//! backwards. So a jump of the wall clock expires nothing; after a reboot without a synchronised
//! clock messages live longer, never shorter.

use std::time::Duration;

/// The clocks of the machine at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Which boot it is.
    pub boot_id: u128,
    /// Time since then, standby included (`CLOCK_BOOTTIME`).
    pub since_boot: Duration,
    /// Wall-clock time since the epoch.
    pub wall: Duration,
    /// Whether the wall clock is synchronised.
    pub is_synchronised: bool,
}

/// What is persisted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Saved {
    /// Store time at the reading.
    pub at: Duration,
    /// The clocks then.
    pub reading: Reading,
}

/// See the module documentation. Does not change while the process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreTime {
    base: Duration,
    anchor: Duration,
}

impl StoreTime {
    /// Goes on from what was saved last; without that, from zero.
    pub fn resume(saved: Option<Saved>, now: Reading) -> Self {
        let base = saved.map_or(Duration::ZERO, |saved| saved.at + stopped(saved.reading, now));
        StoreTime { base, anchor: now.since_boot }
    }

    /// Store time when the clocks read `now`, in the boot in which it was resumed.
    pub fn at(&self, now: Reading) -> Duration {
        self.base + now.since_boot.saturating_sub(self.anchor)
    }
}

/// How long the store was not running.
fn stopped(then: Reading, now: Reading) -> Duration {
    if then.boot_id == now.boot_id {
        now.since_boot.saturating_sub(then.since_boot)
    } else if then.is_synchronised && now.is_synchronised {
        now.wall.saturating_sub(then.wall)
    } else {
        Duration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn reading(boot_id: u128, since_boot: u64, wall: u64, is_synchronised: bool) -> Reading {
        Reading { boot_id, since_boot: secs(since_boot), wall: secs(wall), is_synchronised }
    }

    #[track_caller]
    fn check(then: Reading, now: Reading, stopped: u64) {
        let time = StoreTime::resume(Some(Saved { at: secs(1_000), reading: then }), now);
        assert_eq!(time.at(now), secs(1_000 + stopped));
        let later = Reading { since_boot: now.since_boot + secs(5), wall: secs(0), ..now };
        assert_eq!(time.at(later), secs(1_005 + stopped));
    }

    #[test]
    fn a_restart_of_the_process_counts_by_the_clock_since_boot() {
        check(reading(1, 50, 7_000, false), reading(1, 80, 3, true), 30);
        check(reading(1, 50, 7_000, true), reading(1, 40, 9_000, true), 0);
    }

    #[test]
    fn a_reboot_counts_only_with_a_synchronised_clock_on_both_sides_and_never_backwards() {
        check(reading(1, 50, 7_000, true), reading(2, 9, 7_100, true), 100);
        check(reading(1, 50, 7_000, false), reading(2, 9, 7_100, true), 0);
        check(reading(1, 50, 7_000, true), reading(2, 9, 7_100, false), 0);
        check(reading(1, 50, 7_000, true), reading(2, 9, 6_000, true), 0);
    }

    #[test]
    fn a_new_store_begins_at_zero() {
        let now = reading(1, 50, 7_000, true);
        assert_eq!(StoreTime::resume(None, now).at(now), Duration::ZERO);
    }
}
