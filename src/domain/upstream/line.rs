//! The line to the parent: connected, or when and why it is tried again.
//!
//! ```text
//!  waiting ──its time──► dialling ──CONNACK──► subscribing ──granted──► up
//!     ▲                     └────────lost, refused────┴────────lost──────┘
//! ```
//!
//! A parent that granted the subscription last time is taken to grant it again: what is owed goes
//! right behind it, a round trip earlier. Not after the parent has closed: then it is known of each
//! close whether it came before the grant.

use std::time::{Duration, Instant};

use crate::domain::backoff::Backoff;

/// The short delays hold for so long after the line was lost.
const EAGER: Duration = Duration::from_secs(600);
const FIRST: Duration = Duration::from_millis(100);
const EAGER_MAX: Duration = Duration::from_secs(1);
const PATIENT_MAX: Duration = Duration::from_secs(30);
/// For a parent that serves no links.
const NO_LINKS: Duration = Duration::from_secs(60);
/// So many refusals in place of a granted subscription say so.
const REFUSALS: u32 = 3;
/// A line that was up for less is not taken for mended.
const MENDED: Duration = Duration::from_secs(5);
/// TCP, TLS and CONNACK; then the subscription.
const STEP: Duration = Duration::from_secs(20);

/// See the module documentation.
#[derive(Debug)]
pub struct Line {
    phase: Phase,
    /// When this phase began.
    since: Instant,
    /// Attempts since it was last mended.
    attempts: u32,
    /// When it was lost: the delays grow longer after a while.
    lost: Instant,
    refusals: u32,
    /// The parent granted the last subscription that it answered.
    is_kind: bool,
    /// It took a message on this connection.
    is_useful: bool,
    why: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Waiting(Instant),
    Dialling,
    Subscribing,
    /// Up as far as anyone can tell; the answer to the subscription is still due.
    Trusting,
    Up,
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing until then.
    WaitUntil(Instant),
    /// Connect.
    Dial,
    /// This step takes too long: drop the connection and call `on_lost`.
    GiveUp,
    /// Nothing.
    Rest,
}

/// How a connection, or an attempt at one, ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// The parent closed it in good order.
    Closed,
    /// CONNACK with a refusal that is not "not now".
    Refused,
    /// The subscription was not granted.
    NotGranted,
    /// Anything else: not there, cut, silent, not now.
    Cut,
}

impl Line {
    /// Not connected; the first attempt is due at once.
    pub fn new(now: Instant) -> Self {
        Line {
            phase: Phase::Waiting(now),
            since: now,
            attempts: 0,
            lost: now,
            refusals: 0,
            is_kind: false,
            is_useful: false,
            why: None,
        }
    }

    /// What is to be done; a `Dial` is given once.
    pub fn next(&mut self, now: Instant) -> Next {
        match self.phase {
            Phase::Waiting(until) if until > now => Next::WaitUntil(until),
            Phase::Waiting(_) => {
                self.attempts = self.attempts.saturating_add(1);
                self.enter(Phase::Dialling, now);
                Next::Dial
            }
            Phase::Up => Next::Rest,
            _ if now >= self.since + STEP => Next::GiveUp,
            _ => Next::WaitUntil(self.since + STEP),
        }
    }

    /// CONNACK: subscribe. The line may be up already.
    pub fn on_connected(&mut self, now: Instant) {
        self.is_useful = false;
        self.enter(if self.is_kind { Phase::Trusting } else { Phase::Subscribing }, now);
    }

    /// The subscription was granted: the link is up.
    pub fn on_granted(&mut self, now: Instant) {
        self.refusals = 0;
        self.is_kind = true;
        self.why = None;
        self.enter(Phase::Up, now);
    }

    /// The parent took a message: however short the connection, the outage is over.
    pub fn on_progress(&mut self) {
        self.is_useful = true;
    }

    /// The wall clock was set: tokens and certificates that were refused may be good now.
    pub fn on_clock_set(&mut self, now: Instant) {
        self.refusals = 0;
        if let Phase::Waiting(_) = self.phase {
            self.phase = Phase::Waiting(now);
        }
    }

    /// The connection ended, or did not come about. `jitter` is from 0 to 1.
    pub fn on_lost(&mut self, how: Lost, why: String, now: Instant, jitter: f64) {
        let is_mended = now.saturating_duration_since(self.since) >= MENDED;
        if self.is_granted() && is_mended {
            self.attempts = 0;
        }
        if self.is_granted() && (is_mended || self.is_useful) {
            self.lost = now;
        }
        let is_refusal = match how {
            Lost::Refused | Lost::NotGranted => true,
            Lost::Closed => matches!(self.phase, Phase::Subscribing | Phase::Trusting),
            Lost::Cut => false,
        };
        self.is_kind = self.is_kind && !is_refusal && how != Lost::Closed;
        self.refusals = match how {
            Lost::NotGranted => REFUSALS,
            _ if is_refusal => self.refusals.saturating_add(1),
            _ => self.refusals,
        };
        let delay = if is_refusal && self.refusals >= REFUSALS {
            NO_LINKS
        } else {
            let is_eager = now.saturating_duration_since(self.lost) < EAGER;
            let max = if is_eager { EAGER_MAX } else { PATIENT_MAX };
            Backoff { first: FIRST, max }.delay(self.attempts.saturating_sub(1))
        };
        self.why = Some(why);
        let delay = delay.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0);
        self.enter(Phase::Waiting(now + delay), now);
    }

    /// Whether requests and messages may be sent.
    pub fn is_up(&self) -> bool {
        matches!(self.phase, Phase::Trusting | Phase::Up)
    }

    /// Whether the parent has said so on this connection.
    pub fn is_granted(&self) -> bool {
        self.phase == Phase::Up
    }

    /// In words, as `LinkStatus::state` has them.
    pub fn state(&self) -> &'static str {
        match self.phase {
            Phase::Trusting | Phase::Up => "connected",
            Phase::Dialling | Phase::Subscribing => "connecting",
            Phase::Waiting(_) if self.refusals >= REFUSALS => "parent serves no links",
            Phase::Waiting(_) => "waiting",
        }
    }

    /// Why it is not connected.
    pub fn why(&self) -> Option<&str> {
        self.why.as_deref()
    }

    /// Attempts since it was last mended.
    pub fn attempts(&self) -> u32 {
        if self.is_up() { 0 } else { self.attempts }
    }

    /// When the next attempt is made.
    pub fn next_attempt(&self, now: Instant) -> Option<Duration> {
        match self.phase {
            Phase::Waiting(until) => Some(until.saturating_duration_since(now)),
            _ => None,
        }
    }

    /// How long it is up, or has not been up.
    pub fn lasts(&self, now: Instant) -> Duration {
        let since = if self.is_up() { self.since } else { self.lost };
        now.saturating_duration_since(since)
    }

    fn enter(&mut self, phase: Phase, now: Instant) {
        self.phase = phase;
        self.since = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "some instant to count from")]
    fn start() -> Instant {
        Instant::now()
    }

    /// Dials as soon as it may, and fails; answers the delays in milliseconds.
    fn fail(line: &mut Line, now: &mut Instant, how: Lost, times: usize) -> Vec<u128> {
        let mut delays = Vec::new();
        for _ in 0..times {
            assert_eq!(line.next(*now), Next::Dial);
            line.on_lost(how, "no".into(), *now, 1.0);
            let Next::WaitUntil(until) = line.next(*now) else { panic!("it does not wait") };
            delays.push((until - *now).as_millis());
            *now = until;
        }
        delays
    }

    #[test]
    fn an_outage_is_probed_often_at_first_and_seldom_after_ten_minutes() {
        let mut now = start();
        let mut line = Line::new(now);
        let delays = fail(&mut line, &mut now, Lost::Cut, 6);
        assert_eq!(delays, [100, 200, 400, 800, 1_000, 1_000]);
        now += EAGER;
        assert_eq!(fail(&mut line, &mut now, Lost::Cut, 2), [6_400, 12_800]);
        assert_eq!(fail(&mut line, &mut now, Lost::Cut, 4).last(), Some(&30_000));
        assert_eq!((line.state(), line.attempts()), ("waiting", 12));
        assert_eq!(line.why(), Some("no"));
    }

    #[test]
    fn chance_makes_a_delay_shorter_by_up_to_a_half() {
        let now = start();
        let mut line = Line::new(now);
        line.next(now);
        line.on_lost(Lost::Cut, "no".into(), now, 0.0);
        assert_eq!(line.next_attempt(now), Some(Duration::from_millis(50)));
    }

    #[test]
    fn a_line_that_was_up_for_a_while_begins_with_the_shortest_delay_again() {
        let mut now = start();
        let mut line = Line::new(now);
        fail(&mut line, &mut now, Lost::Cut, 5);
        for (up, delay) in [(1, 1_000), (60, 100)] {
            assert_eq!(line.next(now), Next::Dial);
            line.on_connected(now);
            line.on_granted(now);
            assert_eq!((line.state(), line.next(now), line.why()), ("connected", Next::Rest, None));
            now += Duration::from_secs(up);
            assert_eq!(line.lasts(now).as_secs(), up);
            line.on_lost(Lost::Closed, "bye".into(), now, 1.0);
            assert_eq!(line.next_attempt(now), Some(Duration::from_millis(delay)));
            now += Duration::from_millis(delay);
        }
    }

    #[test]
    fn a_parent_that_granted_it_last_time_is_not_waited_for() {
        let mut now = start();
        let mut line = Line::new(now);
        assert_eq!(line.next(now), Next::Dial);
        line.on_connected(now);
        assert!(!line.is_up(), "it never said so");
        line.on_granted(now);
        line.on_lost(Lost::Cut, "cut".into(), now, 1.0);
        now += line.next_attempt(now).unwrap();
        assert_eq!(line.next(now), Next::Dial);
        line.on_connected(now);
        assert!(line.is_up() && !line.is_granted());
        assert_eq!(line.next(now + STEP), Next::GiveUp, "an answer is due all the same");
        line.on_lost(Lost::Closed, "closed".into(), now, 1.0);
        now += line.next_attempt(now).unwrap();
        assert_eq!(line.next(now), Next::Dial);
        line.on_connected(now);
        assert!(!line.is_up(), "it closed in place of an answer");
    }

    #[test]
    fn a_line_that_flaps_and_gets_messages_through_is_probed_often_for_ever() {
        let mut now = start();
        let mut line = Line::new(now);
        for flap in 0..200 {
            assert_eq!(line.next(now), Next::Dial);
            line.on_connected(now);
            line.on_granted(now);
            line.on_progress();
            now += MENDED - Duration::from_secs(1);
            line.on_lost(Lost::Cut, "cut".into(), now, 1.0);
            let delay = line.next_attempt(now).unwrap();
            assert!(delay <= EAGER_MAX, "flap {flap}: {delay:?}");
            now += delay;
        }
        assert_eq!(fail(&mut line, &mut now, Lost::Cut, 2), [1_000, 1_000]);
    }

    #[test]
    fn a_parent_that_grants_nothing_or_refuses_three_times_serves_no_links() {
        let mut now = start();
        let mut line = Line::new(now);
        assert_eq!(fail(&mut line, &mut now, Lost::NotGranted, 1), [60_000]);
        let mut line = Line::new(now);
        assert_eq!(fail(&mut line, &mut now, Lost::Refused, 3), [100, 200, 60_000]);
        assert_eq!(line.state(), "parent serves no links");

        let mut line = Line::new(now);
        for _ in 0..3 {
            assert_eq!(line.next(now), Next::Dial);
            line.on_connected(now);
            line.on_lost(Lost::Closed, "closed".into(), now, 1.0);
            now += line.next_attempt(now).unwrap();
        }
        assert_eq!(line.state(), "parent serves no links");
        assert_eq!(line.next(now), Next::Dial);
        line.on_connected(now);
        line.on_granted(now);
        assert_eq!(line.state(), "connected", "it was taught better");
    }

    #[test]
    fn when_the_wall_clock_was_set_it_is_tried_again_at_once() {
        let mut now = start();
        let mut line = Line::new(now);
        fail(&mut line, &mut now, Lost::Refused, 2);
        assert_eq!(line.next(now), Next::Dial);
        line.on_lost(Lost::Refused, "the token has expired".into(), now, 1.0);
        assert_eq!(line.next_attempt(now), Some(NO_LINKS));
        line.on_clock_set(now);
        assert_eq!((line.state(), line.next(now)), ("waiting", Next::Dial));
    }

    #[test]
    fn a_step_that_takes_too_long_is_given_up() {
        let now = start();
        let mut line = Line::new(now);
        assert_eq!(line.next(now), Next::Dial);
        assert_eq!(line.next(now), Next::WaitUntil(now + STEP));
        line.on_connected(now + STEP);
        assert_eq!(line.next(now + STEP), Next::WaitUntil(now + 2 * STEP));
        assert_eq!(line.next(now + 2 * STEP), Next::GiveUp);
    }
}
