//! Reads the clocks that store time is made of (`domain/store_time.rs`).

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::domain::store_time::Reading;

/// Where store time comes from. Tests bring their own.
pub trait Clock: Send + Sync {
    /// The clocks as they stand now.
    fn read(&self) -> Reading;
}

/// The clocks of this machine.
#[derive(Clone, Debug)]
pub struct SystemClock {
    boot_id: u128,
    trust: Arc<Trust>,
}

/// Whether the wall clock is synchronised. Looked up once a second at most: a look costs as much
/// as a message.
#[derive(Debug, Default)]
struct Trust(AtomicU64);

impl Trust {
    const EVERY_MILLIS: u64 = 1_000;

    /// The lowest bit of what is kept is the answer, the others are when it was given.
    fn is_synchronised(&self, since_boot: Duration, look: impl FnOnce() -> bool) -> bool {
        let now = u64::try_from(since_boot.as_millis()).unwrap_or(u64::MAX) + 1;
        let kept = self.0.load(Ordering::Relaxed);
        if kept >> 1 != 0 && now.saturating_sub(kept >> 1) < Self::EVERY_MILLIS {
            return kept & 1 == 1;
        }
        let is_so = look();
        self.0.store(now << 1 | u64::from(is_so), Ordering::Relaxed);
        is_so
    }
}

impl SystemClock {
    /// Reads which boot it is. Without that every start counts as another one.
    pub fn new() -> Self {
        let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
        let boot_id = u128::from_str_radix(&digits, 16);
        let boot_id = boot_id.unwrap_or_else(|_| super::env::random());
        SystemClock { boot_id, trust: Arc::default() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        SystemClock::new()
    }
}

impl Clock for SystemClock {
    fn read(&self) -> Reading {
        // Set by systemd-timesyncd; with another service it only means: not known to be.
        let look = || Path::new("/run/systemd/timesync/synchronized").exists();
        let since_boot = duration(clock_gettime(ClockId::Boottime));
        Reading {
            boot_id: self.boot_id,
            since_boot,
            wall: duration(clock_gettime(ClockId::Realtime)),
            is_synchronised: self.trust.is_synchronised(since_boot, look),
        }
    }
}

fn duration(time: Timespec) -> Duration {
    let secs = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(secs, u32::try_from(time.tv_nsec).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trust_in_the_wall_clock_is_looked_up_once_a_second() {
        let trust = Trust::default();
        let at = |millis, answer: Option<bool>| {
            let look = || answer.expect("it is known");
            trust.is_synchronised(Duration::from_millis(millis), look)
        };
        assert!(at(0, Some(true)) && at(999, None));
        assert!(!at(1_000, Some(false)) && !at(1_999, None));
        assert!(at(2_000, Some(true)));
    }

    #[test]
    fn the_clock_since_boot_goes_forward_within_one_boot() {
        let clock = SystemClock::new();
        let (first, second) = (clock.read(), SystemClock::new().read());
        assert!(first.since_boot > Duration::ZERO && first.since_boot <= second.since_boot);
        assert_eq!(first.boot_id, second.boot_id);
        assert!(first.wall > Duration::from_secs(1_700_000_000));
    }
}
