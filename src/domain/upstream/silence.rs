//! When a link is taken for dead: nothing came for so long.
//!
//! On a slow link a large message is on its way for longer than that, and nothing can come before
//! it is there: neither its PUBACK nor the answer to a ping behind it. So it is waited for as long as
//! what is in flight takes at the pace of late, if that is longer; a single large message has the time
//! that it takes on the slowest link, whatever the pace was: links grow slower, too.

use std::time::{Duration, Instant};

/// Nothing at all came for so long.
const SILENCE: Duration = Duration::from_secs(30);
/// The pace is measured over so long at least.
const LATE: Duration = Duration::from_secs(5);
/// Bytes a second that a link has at least.
const SLOWEST: usize = 1_024;
/// A ping is sent so often, and its answer may be behind all that.
const PING: Duration = Duration::from_secs(10);
/// Bytes in flight that count, unless a single message is larger: what is sent beyond these was
/// acknowledged of late (`domain/delivery`).
const MOST: usize = 64 << 10;

/// See the module documentation. Of one connection.
#[derive(Debug)]
pub struct Silence {
    heard: Instant,
    /// Bytes of publishes that are not acknowledged.
    in_flight: usize,
    /// The largest of them, since there were none.
    largest: usize,
    /// Bytes a second, measured last.
    pace: usize,
    /// Bytes acknowledged since `since`.
    acked: usize,
    since: Instant,
}

impl Silence {
    /// Nothing is in flight.
    pub fn new(now: Instant) -> Self {
        Silence { heard: now, in_flight: 0, largest: 0, pace: 0, acked: 0, since: now }
    }

    /// A publish of so many bytes.
    pub fn on_sent(&mut self, bytes: usize, now: Instant) {
        if self.in_flight == 0 && self.acked == 0 {
            self.since = now; // it was idle
        }
        self.in_flight += bytes;
        self.largest = self.largest.max(bytes);
    }

    /// The PUBACK of one.
    pub fn on_acked(&mut self, bytes: usize, now: Instant) {
        self.in_flight = self.in_flight.saturating_sub(bytes);
        if self.in_flight == 0 {
            self.largest = 0;
        }
        self.acked += bytes;
        let took = now.saturating_duration_since(self.since);
        if took >= LATE {
            self.pace = (self.acked as u128 * 1_000 / took.as_millis()) as usize;
            (self.acked, self.since) = (0, now);
        }
    }

    /// Something came.
    pub fn on_heard(&mut self, now: Instant) {
        self.heard = now;
    }

    /// Unless something comes before, it is dead then.
    pub fn dead_at(&self) -> Instant {
        let usual = self.in_flight.min(MOST) * 1_000 / self.pace.max(SLOWEST);
        let large = if self.largest > MOST { self.largest * 1_000 / SLOWEST } else { 0 };
        self.heard + SILENCE.max(PING + Duration::from_millis(usual.max(large) as u64))
    }

    /// In words, once it is dead.
    pub fn why(&self, now: Instant) -> String {
        let (seconds, bytes) =
            (now.saturating_duration_since(self.heard).as_secs(), self.in_flight);
        format!("nothing came for {seconds} s; {bytes} bytes are not acknowledged")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "some instant to count from")]
    fn start() -> (Silence, Instant) {
        let now = Instant::now();
        (Silence::new(now), now)
    }

    fn seconds(silence: &Silence) -> u64 {
        (silence.dead_at() - silence.heard).as_secs()
    }

    #[test]
    fn a_link_without_much_in_flight_is_dead_after_thirty_seconds() {
        let (mut silence, now) = start();
        assert_eq!(seconds(&silence), 30);
        (0..50).for_each(|_| silence.on_sent(300, now));
        assert_eq!(seconds(&silence), 30);
    }

    #[test]
    fn a_large_message_has_the_time_that_it_takes_on_the_slowest_link() {
        let (mut silence, now) = start();
        silence.on_sent(262_144, now);
        assert_eq!(seconds(&silence), 10 + 256);
        silence.on_acked(262_144, now);
        assert_eq!(seconds(&silence), 30);
        silence.on_sent(300, now);
        assert_eq!(seconds(&silence), 30, "what was acknowledged adds nothing");
    }

    #[test]
    fn on_a_link_that_was_fast_much_in_flight_adds_little() {
        let (mut silence, now) = start();
        (0..4_000).for_each(|_| silence.on_sent(1_000, now));
        assert_eq!(seconds(&silence), 10 + 64, "nothing is known of it");
        (0..2_000).for_each(|_| silence.on_acked(1_000, now + LATE));
        assert_eq!(seconds(&silence), 10 + 64, "one message in five seconds, and the rest at once");
        (0..1_000).for_each(|_| silence.on_acked(1_000, now + 2 * LATE));
        assert_eq!(seconds(&silence), 30);
    }

    #[test]
    fn a_link_that_was_idle_shows_its_pace_by_what_it_carried_then() {
        let (mut silence, now) = start();
        let (idle, half) = (Duration::from_secs(600), Duration::from_secs(30));
        silence.on_sent(60_000, now + idle);
        silence.on_acked(60_000, now + idle + half);
        silence.on_sent(60_000, now + idle + half);
        assert_eq!(seconds(&silence), 10 + 30, "2,000 bytes a second");
        silence.on_sent(200_000, now + idle + half);
        assert_eq!(seconds(&silence), 10 + 195, "a large one has the time of the slowest link");
    }
}
