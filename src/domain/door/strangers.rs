//! Room for those who have not logged in, and who leaves when there is none.
//!
//! The place that has the most of them pays: first its longest-standing one that was refused
//! already, then its longest-standing one, if somebody from another place comes or it had time
//! enough. So silent sockets keep nobody out, and a crowd that comes at once is served in turn.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use super::Place;

/// An honest client is through by then.
const ENOUGH: Duration = Duration::from_secs(3);

/// See the module documentation.
#[derive(Debug)]
pub struct Strangers {
    most: usize,
    last: u64,
    here: BTreeMap<u64, Stranger>,
    places: HashMap<Place, There>,
}

#[derive(Debug)]
struct Stranger {
    place: Place,
    since: Instant,
}

/// Numbers, in the order in which they came.
#[derive(Debug, Default)]
struct There {
    all: BTreeSet<u64>,
    refused: BTreeSet<u64>,
}

/// What becomes of one who arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Comes in, under this number.
    Enters(u64),
    /// Comes in, and another goes.
    EntersInsteadOf(u64, u64),
    /// There is no room.
    TurnedAway,
}

impl Strangers {
    /// Room for `most`.
    pub fn new(most: usize) -> Self {
        Strangers { most, last: 0, here: BTreeMap::new(), places: HashMap::new() }
    }

    /// Somebody comes.
    pub fn arrive(&mut self, place: Place, now: Instant) -> Arrival {
        let goes = match self.here.len() < self.most {
            true => None,
            false => match self.who_goes(place, now) {
                Some(number) => Some(number),
                None => return Arrival::TurnedAway,
            },
        };
        if let Some(number) = goes {
            self.leave(number);
        }
        self.last += 1;
        self.here.insert(self.last, Stranger { place, since: now });
        self.places.entry(place).or_default().all.insert(self.last);
        goes.map_or(Arrival::Enters(self.last), |goes| Arrival::EntersInsteadOf(self.last, goes))
    }

    fn who_goes(&self, comes_from: Place, now: Instant) -> Option<u64> {
        let (fullest, there) = self.places.iter().max_by_key(|(_, there)| there.all.len())?;
        if let Some(refused) = there.refused.first() {
            return Some(*refused);
        }
        let oldest = *there.all.first()?;
        let had_enough = now.saturating_duration_since(self.here.get(&oldest)?.since) >= ENOUGH;
        let own = self.places.get(&comes_from).map_or(0, |own| own.all.len());
        let has_less = *fullest != comes_from && own < there.all.len();
        (had_enough || has_less).then_some(oldest)
    }

    /// It was refused, and only waits to be told so.
    pub fn refuse(&mut self, number: u64) {
        let place = self.here.get(&number).map(|stranger| stranger.place);
        if let Some(there) = place.and_then(|place| self.places.get_mut(&place)) {
            there.refused.insert(number);
        }
    }

    /// It has logged in, or is gone.
    pub fn leave(&mut self, number: u64) {
        let Some(stranger) = self.here.remove(&number) else { return };
        if let Some(there) = self.places.get_mut(&stranger.place) {
            there.all.remove(&number);
            there.refused.remove(&number);
            if there.all.is_empty() {
                self.places.remove(&stranger.place);
            }
        }
    }

    /// How many stand there.
    pub fn len(&self) -> usize {
        self.here.len()
    }

    /// Nobody.
    pub fn is_empty(&self) -> bool {
        self.here.is_empty()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "some instant to count from")]

    use std::net::Ipv4Addr;

    use super::*;

    fn place(last: u8) -> Place {
        Place::from(std::net::IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)))
    }

    #[test]
    fn one_place_that_takes_all_the_room_keeps_nobody_else_out() {
        let (mut strangers, now) = (Strangers::new(4), Instant::now());
        for number in 1..=4 {
            assert_eq!(strangers.arrive(place(1), now), Arrival::Enters(number));
        }
        assert_eq!(strangers.arrive(place(1), now), Arrival::TurnedAway, "its own are as young");
        assert_eq!(strangers.arrive(place(2), now), Arrival::EntersInsteadOf(5, 1));
        assert_eq!(strangers.arrive(place(3), now), Arrival::EntersInsteadOf(6, 2));
        assert_eq!(strangers.arrive(place(2), now), Arrival::EntersInsteadOf(7, 3));
        assert_eq!(strangers.arrive(place(2), now), Arrival::TurnedAway, "it has the most now");
        assert_eq!(strangers.arrive(place(2), now + ENOUGH), Arrival::EntersInsteadOf(8, 5));
        assert_eq!(strangers.len(), 4);
    }

    #[test]
    fn who_was_refused_goes_first_and_who_is_gone_leaves_room() {
        let (mut strangers, now) = (Strangers::new(3), Instant::now());
        (1..=3).for_each(|n| assert_eq!(strangers.arrive(place(1), now), Arrival::Enters(n)));
        strangers.refuse(2);
        assert_eq!(strangers.arrive(place(1), now), Arrival::EntersInsteadOf(4, 2));
        strangers.leave(1);
        strangers.leave(1);
        assert_eq!(strangers.arrive(place(1), now), Arrival::Enters(5));
        [3, 4, 5].into_iter().for_each(|number| strangers.leave(number));
        assert!(strangers.is_empty() && strangers.places.is_empty(), "nothing is kept");
    }
}
