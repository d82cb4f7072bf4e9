//! Whose turn it is: one from each place after the other, those of a place in order.

use std::collections::{HashMap, VecDeque};

use super::Place;

/// See the module documentation.
#[derive(Debug)]
pub struct Turns<T> {
    lines: HashMap<Place, VecDeque<T>>,
    order: VecDeque<Place>,
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Turns { lines: HashMap::new(), order: VecDeque::new() }
    }
}

impl<T> Turns<T> {
    /// Lines up behind those of its place.
    pub fn push(&mut self, place: Place, one: T) {
        let line = self.lines.entry(place).or_default();
        if line.is_empty() {
            self.order.push_back(place);
        }
        line.push_back(one);
    }

    /// The next one.
    pub fn take(&mut self) -> Option<T> {
        let place = self.order.pop_front()?;
        let line = self.lines.get_mut(&place)?;
        let one = line.pop_front();
        match line.is_empty() {
            true => drop(self.lines.remove(&place)),
            false => self.order.push_back(place),
        }
        one
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    #[test]
    fn a_long_line_of_one_place_holds_up_no_other() {
        let place = |last| Place::from(IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)));
        let mut turns = Turns::default();
        for n in 1..=4 {
            turns.push(place(1), n);
        }
        turns.push(place(2), 10);
        turns.push(place(2), 11);
        turns.push(place(3), 20);
        let all: Vec<_> = std::iter::from_fn(|| turns.take()).collect();
        assert_eq!(all, [1, 10, 20, 2, 11, 3, 4]);
        assert!(turns.lines.is_empty() && turns.order.is_empty(), "nothing is kept");
    }
}
