//! Log-ins that fail, counted by where they come from and by whom they are for, in spans of 10 s.
//!
//! From the 21st of a span on, whoever fails is kept waiting for the answer; from the 51st on
//! the log has no line of its own for it, but one for all of them when the span is over. Who comes in
//! is never kept waiting, wherever it comes from.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const SPAN: Duration = Duration::from_secs(10);
/// So many may fail in a span.
const TOO_MANY: u32 = 20;
/// So many lines has the log of one of them in a span.
const LOUD: u32 = 50;
/// So many are told apart; all others count as one.
const TOLD_APART: usize = 1_024;

/// By `K`. See the module documentation.
#[derive(Debug)]
pub struct Offences<K> {
    seen: BTreeMap<Option<K>, (Instant, u32)>,
}

impl<K> Default for Offences<K> {
    fn default() -> Self {
        Offences { seen: BTreeMap::new() }
    }
}

/// Which one it is of its span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen(u32);

impl Seen {
    /// How long it is to wait for its answer.
    pub fn hold(self) -> Duration {
        if self.0 > TOO_MANY { Duration::from_secs(2) } else { Duration::ZERO }
    }

    /// It gets a line of its own in the log.
    pub fn is_said(self) -> bool {
        self.0 <= LOUD
    }
}

impl<K: Ord + Clone> Offences<K> {
    /// One more.
    pub fn count(&mut self, key: &K, now: Instant) -> Seen {
        let key = Some(key.clone());
        let is_known = self.seen.contains_key(&key);
        let key = if is_known || self.seen.len() < TOLD_APART { key } else { None };
        let (_, count) = self.seen.entry(key).or_insert((now, 0));
        *count = count.saturating_add(1);
        Seen(*count)
    }

    /// Those whose span is over, and how many the log does not have; `None` are all others.
    pub fn sweep(&mut self, now: Instant) -> Vec<(Option<K>, u32)> {
        let is_over = |since: &Instant| now.saturating_duration_since(*since) >= SPAN;
        let over = self.seen.extract_if(.., |_, (since, _)| is_over(since));
        let silent = over.filter(|(_, (_, count))| *count > LOUD);
        silent.map(|(key, (_, count))| (key, count - LOUD)).collect()
    }

    /// Nobody is counted.
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "some instant to count from")]

    use super::*;

    #[test]
    fn many_failures_are_held_back_then_left_out_and_summed_up() {
        let (mut offences, now) = (Offences::default(), Instant::now());
        let seen: Vec<_> = (0..70).map(|_| offences.count(&"a", now)).collect();
        assert_eq!(seen.iter().filter(|seen| seen.hold().is_zero()).count(), 20);
        assert_eq!(seen.iter().filter(|seen| seen.is_said()).count(), 50);
        assert!(offences.count(&"b", now).hold().is_zero(), "another one");
        assert_eq!(offences.sweep(now + SPAN / 2), []);
        assert_eq!(offences.sweep(now + SPAN), [(Some("a"), 20)]);
        assert!(offences.is_empty());
        assert!(offences.count(&"a", now + SPAN).hold().is_zero(), "a new span");
    }

    #[test]
    fn of_very_many_only_some_are_told_apart() {
        let (mut offences, now) = (Offences::default(), Instant::now());
        for key in 0..2_000 {
            offences.count(&key, now);
        }
        assert_eq!(offences.seen.len(), TOLD_APART + 1);
        let others = u32::try_from(2_000 - TOLD_APART).unwrap();
        assert_eq!(offences.sweep(now + SPAN), [(None, others - LOUD)]);
    }
}
