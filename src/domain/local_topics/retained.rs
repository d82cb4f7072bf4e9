//! Retained messages: the last of each topic, for those who subscribe later. Bounded in number
//! and memory; what does not fit is not kept, and said.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::LocalMessage;
use crate::domain::topic;

/// See the module documentation.
#[derive(Debug)]
pub struct Retained {
    kept: BTreeMap<String, Arc<LocalMessage>>,
    cost: usize,
    most: usize,
    limit: usize,
}

impl Retained {
    /// Nothing is kept; `most` topics, of this cost together.
    pub fn new(most: usize, limit: usize) -> Self {
        Retained { kept: BTreeMap::new(), cost: 0, most, limit }
    }

    /// Keeps a message in place of the one before; an empty body ends that. Answers whether it
    /// is so now: without room for it the topic has none.
    pub fn set(&mut self, message: &Arc<LocalMessage>) -> bool {
        if let Some(before) = self.kept.remove(&message.topic) {
            self.cost -= before.cost();
        }
        if message.body.is_empty() {
            return true;
        }
        let cost = self.cost + message.cost();
        if self.kept.len() >= self.most || cost > self.limit {
            return false;
        }
        self.cost = cost;
        self.kept.insert(message.topic.clone(), Arc::clone(message));
        true
    }

    /// Those of a filter.
    pub fn of<'a>(&'a self, filter: &'a str) -> impl Iterator<Item = &'a Arc<LocalMessage>> {
        let is_of = move |(name, _): &(&String, _)| topic::matches(filter, name);
        self.kept.iter().filter(is_of).map(|(_, message)| message)
    }

    /// Topics and memory.
    pub fn size(&self) -> (usize, usize) {
        (self.kept.len(), self.cost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(topic: &str, body: &str) -> Arc<LocalMessage> {
        let (topic, body) = (topic.to_owned(), body.to_owned().into());
        Arc::new(LocalMessage { topic, body, is_at_least_once: false, retain: true })
    }

    #[test]
    fn the_last_of_each_topic_is_kept_until_an_empty_one() {
        let mut retained = Retained::new(10, 1 << 20);
        for (topic, body) in [("a/1", "x"), ("é/1", "y"), ("a/1", "z"), ("b", "w")] {
            assert!(retained.set(&message(topic, body)));
        }
        let bodies = |retained: &Retained, filter: &str| -> Vec<_> {
            retained.of(filter).map(|one| one.body.clone()).collect()
        };
        assert_eq!(bodies(&retained, "+/1"), ["z", "y"]);
        assert!(retained.set(&message("a/1", "")));
        assert_eq!(bodies(&retained, "#"), ["w", "y"]);
        ["é/1", "b"].iter().for_each(|topic| _ = retained.set(&message(topic, "")));
        assert_eq!(retained.size(), (0, 0));
    }

    #[test]
    fn what_has_no_room_is_not_kept_and_an_older_one_is_not_left_in_its_place() {
        let cost = message("a", "1").cost();
        let mut retained = Retained::new(2, 2 * cost);
        assert!(retained.set(&message("a", "1")) && retained.set(&message("b", "1")));
        assert!(!retained.set(&message("c", "1")), "too many");
        assert!(!retained.set(&message("a", "12")), "too large");
        assert_eq!(retained.size(), (1, cost));
        assert!(retained.set(&message("a", "2")));
    }
}
