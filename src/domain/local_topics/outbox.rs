//! What waits for one client: bounded; the oldest go first when a slow client lets it fill up.

use std::collections::VecDeque;

use super::Delivery;

/// See the module documentation.
#[derive(Debug)]
pub struct Outbox {
    held: VecDeque<Delivery>,
    cost: usize,
    limit: usize,
}

impl Outbox {
    /// Empty; holds messages of this cost together, and one in any case.
    pub fn new(limit: usize) -> Self {
        Outbox { held: VecDeque::new(), cost: 0, limit }
    }

    /// Adds one; answers how many had to go for it.
    pub fn push(&mut self, delivery: Delivery) -> u64 {
        self.cost += delivery.message.cost();
        self.held.push_back(delivery);
        let mut dropped = 0;
        while self.cost > self.limit && self.held.len() > 1 {
            if let Some(oldest) = self.held.pop_front() {
                self.cost -= oldest.message.cost();
                dropped += 1;
            }
        }
        dropped
    }

    /// The oldest: `most` at most, of no more bytes than this together, but one at least.
    pub fn pull(&mut self, most: usize, bytes: usize) -> Vec<Delivery> {
        let mut pulled: Vec<Delivery> = Vec::new();
        let mut cost = 0;
        while let Some(next) = self.held.front().filter(|_| pulled.len() < most) {
            cost += next.message.cost();
            if cost > bytes && !pulled.is_empty() {
                break;
            }
            if let Some(next) = self.held.pop_front() {
                self.cost -= next.message.cost();
                pulled.push(next);
            }
        }
        pulled
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether none do.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Memory they are counted with.
    pub fn cost(&self) -> usize {
        self.cost
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::local_topics::LocalMessage;

    fn delivery(name: &str, length: usize) -> Delivery {
        let body = vec![0; length].into();
        let (topic, is_at_least_once, retain) = (name.to_owned(), false, false);
        let message = Arc::new(LocalMessage { topic, body, is_at_least_once, retain });
        Delivery { message, is_at_least_once, is_retained: false }
    }

    fn names(pulled: &[Delivery]) -> Vec<&str> {
        pulled.iter().map(|one| one.message.topic.as_str()).collect()
    }

    #[test]
    fn the_oldest_go_when_it_is_full_and_are_counted() {
        let one = delivery("1", 1000).message.cost();
        let mut outbox = Outbox::new(3 * one);
        let dropped: Vec<_> = ["1", "2", "3", "4", "5"]
            .iter()
            .map(|name| outbox.push(delivery(name, 1000)))
            .collect();
        assert_eq!(dropped, [0, 0, 0, 1, 1]);
        assert_eq!((outbox.len(), outbox.cost()), (3, 3 * one));
        assert_eq!(outbox.push(delivery("large", 100_000)), 3, "one is held in any case");
        assert_eq!(names(&outbox.pull(10, 1)), ["large"], "and given in any case");
        assert_eq!((outbox.len(), outbox.cost(), outbox.is_empty()), (0, 0, true));
    }

    #[test]
    fn a_pull_gives_the_oldest_within_its_bounds() {
        let one = delivery("1", 0).message.cost();
        let mut outbox = Outbox::new(usize::MAX);
        ["1", "2", "3", "4"].iter().for_each(|name| _ = outbox.push(delivery(name, 0)));
        assert_eq!(names(&outbox.pull(10, 2 * one)), ["1", "2"]);
        assert_eq!(names(&outbox.pull(1, usize::MAX)), ["3"]);
        assert_eq!((outbox.pull(0, usize::MAX).len(), outbox.len()), (0, 1));
    }
}
