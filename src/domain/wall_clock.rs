//! Whether somebody set the wall clock: what was made with the old time (tokens) is to be made anew,
//! and what was refused because of it is worth another try.
//!
//! It was set when it went another way than the clock that nobody can set. A machine that slept looks
//! the same, and is as well served.

use std::time::{Duration, Instant};

/// Clocks drift, and are slewed.
const TOLERATED: Duration = Duration::from_secs(5);

/// See the module documentation.
#[derive(Debug)]
pub struct WallClock {
    read: Instant,
    wall: Duration,
}

impl WallClock {
    /// The wall clock, in time since the epoch, as it stands now.
    pub fn new(now: Instant, wall: Duration) -> Self {
        WallClock { read: now, wall }
    }

    /// Reads it again; whether it was set since it was read last.
    pub fn is_set(&mut self, now: Instant, wall: Duration) -> bool {
        let expected = self.wall + now.saturating_duration_since(self.read);
        *self = WallClock::new(now, wall);
        wall.abs_diff(expected) > TOLERATED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "some instant to count from")]
    fn a_clock_that_jumps_was_set_and_one_that_drifts_was_not() {
        let (start, secs) = (Instant::now(), Duration::from_secs);
        let mut clock = WallClock::new(start, secs(30));
        assert!(!clock.is_set(start + secs(1), secs(32)));
        assert!(clock.is_set(start + secs(2), secs(1_700_000_000)), "from 1970");
        assert!(!clock.is_set(start + secs(3), secs(1_700_000_001)));
        assert!(clock.is_set(start + secs(4), secs(40)), "back");
        assert!(clock.is_set(start + secs(5), secs(3_600)), "by an hour");
    }
}
