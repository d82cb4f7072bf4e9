//! How often the parent is asked because of log-ins that fail: so often for all, and so often
//! for those from one place, which cannot use up what there is for all.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::Place;

/// For all: at once, and in a second.
const ALL: (f64, f64) = (256.0, 80.0);
/// For one place: a site behind one address may come in with new devices at once.
const ONE: (f64, f64) = (64.0, 20.0);
/// A place that was quiet for so long has all that there is for it.
const QUIET: Duration = Duration::from_secs(4);
/// So many places are told apart; all others are one.
const TOLD_APART: usize = 1_024;

/// See the module documentation.
#[derive(Debug, Default)]
pub struct Pace {
    all: Option<Tokens>,
    places: HashMap<Option<Place>, Tokens>,
}

#[derive(Clone, Copy, Debug)]
struct Tokens {
    left: f64,
    at: Instant,
}

impl Tokens {
    fn refill(&mut self, (most, rate): (f64, f64), now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = (self.left + passed * rate).min(most);
        self.at = now;
    }
}

impl Pace {
    /// Whether the parent may be asked now because of one from `place`.
    pub fn take(&mut self, place: Option<Place>, now: Instant) -> bool {
        let all = self.all.get_or_insert(Tokens { left: ALL.0, at: now });
        all.refill(ALL, now);
        self.places.retain(|_, tokens| now.saturating_duration_since(tokens.at) < QUIET);
        let is_told = self.places.contains_key(&place) || self.places.len() < TOLD_APART;
        let place = place.filter(|_| is_told);
        let one = self.places.entry(place).or_insert(Tokens { left: ONE.0, at: now });
        one.refill(ONE, now);
        let is_left = all.left >= 1.0 && one.left >= 1.0;
        if is_left {
            all.left -= 1.0;
            one.left -= 1.0;
        }
        is_left
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "some instant to count from")]

    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn place(high: u8, low: u8) -> Option<Place> {
        Some(Place::from(IpAddr::V4(Ipv4Addr::new(192, 0, high, low))))
    }

    #[test]
    fn one_place_uses_up_its_own_and_not_that_of_all() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        let asked = (0..100).filter(|_| pace.take(place(2, 1), now)).count();
        assert_eq!(asked, 64);
        assert!(pace.take(place(2, 2), now), "another place");
        let later = now + Duration::from_secs(2);
        assert_eq!((0..100).filter(|_| pace.take(place(2, 1), later)).count(), 40);
    }

    #[test]
    fn however_many_places_there_are_the_parent_is_asked_at_a_steady_rate() {
        let (mut pace, begin) = (Pace::default(), Instant::now());
        let mut asked = 0;
        for tick in 0..100 {
            let now = begin + Duration::from_millis(100 * tick);
            for n in 0..=255 {
                asked += u32::from(pace.take(place(tick as u8 % 20, n), now));
            }
            assert!(pace.places.len() <= TOLD_APART + 1);
        }
        assert!((800..=1_056).contains(&asked), "{asked} in 10 s");
    }
}
