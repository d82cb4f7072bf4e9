//! Clients that take one id from each other, again and again: each is let in later than the one
//! before (spec sdk.md, trap 12). Until then the connection that is there goes on.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::backoff::Backoff;
use super::identity::Identity;

/// Takeovers that follow each other in less than this belong together.
const QUIET: Duration = Duration::from_secs(30);
/// A client whose network flaps takes over from itself, and may do so at once.
const AT_ONCE: u32 = 3;
const DELAY: Backoff = Backoff { first: Duration::from_millis(250), max: Duration::from_secs(8) };

/// See the module documentation.
#[derive(Debug, Default)]
pub struct Takeovers(BTreeMap<Identity, (u32, Instant)>);

impl Takeovers {
    /// How long a log-in waits that would take over now. It counts whether it waits or not.
    pub fn delay(&mut self, identity: &Identity, now: Instant) -> Duration {
        self.0.retain(|_, (_, last)| now.saturating_duration_since(*last) < QUIET);
        let (count, last) = self.0.entry(identity.clone()).or_insert((0, now));
        *last = now;
        *count = count.saturating_add(1);
        match count.checked_sub(AT_ONCE + 1) {
            Some(tries) => DELAY.delay(tries),
            None => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "some instant to count from")]
    fn a_fight_for_an_id_slows_down_and_is_forgotten_when_it_is_over() {
        let (one, other) = (Identity::parse("one").unwrap(), Identity::parse("other").unwrap());
        let (mut takeovers, mut now) = (Takeovers::default(), Instant::now());
        let mut delays = Vec::new();
        for _ in 0..10 {
            let delay = takeovers.delay(&one, now);
            now += delay;
            delays.push(delay.as_millis());
        }
        assert_eq!(delays, [0, 0, 0, 250, 500, 1000, 2000, 4000, 8000, 8000]);
        assert_eq!(takeovers.delay(&other, now), Duration::ZERO, "another id");
        assert_eq!(takeovers.delay(&one, now + QUIET), Duration::ZERO, "after a quiet time");
        assert_eq!(takeovers.0.len(), 1, "nothing is kept of those that are quiet");
    }
}
