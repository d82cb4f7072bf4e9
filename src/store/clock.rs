//! Reads the clocks that store time is made of (`domain/store_time.rs`).

use std::path::Path;
use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::domain::store_time::Reading;

/// Where store time comes from. Tests bring their own.
pub trait Clock: Send + Sync {
    /// The clocks as they stand now.
    fn read(&self) -> Reading;
}

/// The clocks of this machine.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    boot_id: u128,
}

impl SystemClock {
    /// Reads which boot it is. Without that every start counts as another one.
    pub fn new() -> Self {
        let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
        let boot_id = u128::from_str_radix(&digits, 16);
        SystemClock { boot_id: boot_id.unwrap_or_else(|_| super::env::random()) }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        SystemClock::new()
    }
}

impl Clock for SystemClock {
    fn read(&self) -> Reading {
        Reading {
            boot_id: self.boot_id,
            since_boot: duration(clock_gettime(ClockId::Boottime)),
            wall: duration(clock_gettime(ClockId::Realtime)),
            // Set by systemd-timesyncd; with another service it only means: not known to be.
            is_synchronised: Path::new("/run/systemd/timesync/synchronized").exists(),
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
    fn the_clock_since_boot_goes_forward_within_one_boot() {
        let clock = SystemClock::new();
        let (first, second) = (clock.read(), SystemClock::new().read());
        assert!(first.since_boot > Duration::ZERO && first.since_boot <= second.since_boot);
        assert_eq!(first.boot_id, second.boot_id);
        assert!(first.wall > Duration::from_secs(1_700_000_000));
    }
}
