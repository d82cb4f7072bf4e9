//! Who gets a topic: all subscriptions as a tree of levels, so that a message costs what its
//! receivers cost, and not what all subscriptions do.

use std::collections::{BTreeMap, HashMap};

/// A client's seat at the exchange.
pub type Slot = usize;

/// See the module documentation. The `QoS` that a subscription asks for is 1 or not.
#[derive(Debug, Default)]
pub struct Tree(Node);

#[derive(Debug, Default)]
struct Node {
    /// By level; `+` is one of them: no topic has that.
    below: HashMap<Box<str>, Node>,
    /// Filters that end here …
    here: BTreeMap<Slot, bool>,
    /// … and that go on with `#`.
    rest: BTreeMap<Slot, bool>,
}

impl Tree {
    /// Adds a subscription, or changes it.
    pub fn insert(&mut self, filter: &str, slot: Slot, is_at_least_once: bool) {
        let mut node = &mut self.0;
        for level in filter.split('/') {
            if level == "#" {
                node.rest.insert(slot, is_at_least_once);
                return;
            }
            node = node.below.entry(level.into()).or_default();
        }
        node.here.insert(slot, is_at_least_once);
    }

    /// Ends a subscription.
    pub fn remove(&mut self, filter: &str, slot: Slot) {
        let levels: Vec<_> = filter.split('/').collect();
        self.0.remove(&levels, slot);
    }

    /// Who gets it, with `QoS` 1 if one of its subscriptions asks for that.
    pub fn receivers(&self, topic: &str) -> BTreeMap<Slot, bool> {
        let levels: Vec<_> = topic.split('/').collect();
        let mut found = BTreeMap::new();
        self.0.collect(&levels, &mut found);
        found
    }
}

impl Node {
    fn remove(&mut self, levels: &[&str], slot: Slot) {
        match levels {
            [] => drop(self.here.remove(&slot)),
            ["#"] => drop(self.rest.remove(&slot)),
            [level, deeper @ ..] => {
                if let Some(node) = self.below.get_mut(*level) {
                    node.remove(deeper, slot);
                    if node.below.is_empty() && node.here.is_empty() && node.rest.is_empty() {
                        self.below.remove(*level);
                    }
                }
            }
        }
    }

    fn collect(&self, levels: &[&str], found: &mut BTreeMap<Slot, bool>) {
        let mut note = |of: &BTreeMap<Slot, bool>| {
            for (slot, is_at_least_once) in of {
                *found.entry(*slot).or_default() |= is_at_least_once;
            }
        };
        note(&self.rest);
        let [level, deeper @ ..] = levels else { return note(&self.here) };
        for node in [self.below.get(*level), self.below.get("+")].into_iter().flatten() {
            node.collect(deeper, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::topic;

    fn a_level() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec!["a", "é", "", "日本"])
    }

    fn a_filter() -> impl Strategy<Value = String> {
        let levels = prop::collection::vec(prop_oneof![3 => a_level(), 1 => Just("+")], 1..4);
        (levels, any::<bool>()).prop_map(|(mut levels, is_open)| {
            if is_open {
                levels.push("#");
            }
            levels.join("/")
        })
    }

    proptest! {
        #[test]
        fn the_tree_finds_whom_a_look_at_every_subscription_finds(
            steps in prop::collection::vec((a_filter(), 0_usize..4, any::<Option<bool>>()), 0..30),
            topics in prop::collection::vec(prop::collection::vec(a_level(), 1..5), 1..8),
        ) {
            let (mut tree, mut model) = (Tree::default(), BTreeMap::new());
            for (filter, slot, change) in steps {
                match change {
                    Some(qos) => {
                        tree.insert(&filter, slot, qos);
                        model.insert((filter, slot), qos);
                    }
                    None => {
                        tree.remove(&filter, slot);
                        model.remove(&(filter, slot));
                    }
                }
            }
            for levels in topics {
                let topic = levels.join("/");
                let mut wanted = BTreeMap::new();
                for ((filter, slot), qos) in &model {
                    if topic::matches(filter, &topic) {
                        *wanted.entry(*slot).or_default() |= qos;
                    }
                }
                prop_assert_eq!(tree.receivers(&topic), wanted);
            }
            for (filter, slot) in model.keys() {
                tree.remove(filter, *slot);
            }
            prop_assert!(tree.0.below.is_empty() && tree.0.rest.is_empty(), "nothing is left");
        }
    }
}
