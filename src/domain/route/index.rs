//! Which routes may take a message at all, by its source: found without looking at the others.

use super::fold::{compare, folded};
use super::inbound::Inbound;
use super::source::{Source, walk};

/// A tree of sources. Each node holds the numbers of all routes from there or from above: a walk as
/// far as it goes ends where all of them are.
#[derive(Clone, Debug)]
pub(super) struct SourceIndex {
    nodes: Vec<Node>,
}

#[derive(Clone, Debug, Default)]
struct Node {
    /// Folded, in order.
    below: Vec<(Box<str>, usize)>,
    routes: Vec<usize>,
}

impl Node {
    fn next(&self, item: &str) -> Option<usize> {
        let at = self.below.binary_search_by(|(other, _)| compare(other, item)).ok()?;
        Some(self.below[at].1)
    }
}

impl SourceIndex {
    /// Of routes by their place in the table.
    pub(super) fn new<'a>(sources: impl Iterator<Item = &'a Source>) -> Self {
        let mut index = SourceIndex { nodes: vec![Node::default()] };
        for (route, source) in sources.enumerate() {
            let at = source.items().iter().fold(0, |at, item| index.grow(at, item));
            index.nodes[at].routes.push(route);
        }
        index.inherit(0);
        index
    }

    fn grow(&mut self, at: usize, item: &str) -> usize {
        if let Some(below) = self.nodes[at].next(item) {
            return below;
        }
        let new = self.nodes.len();
        self.nodes.push(Node::default());
        let name = folded(item);
        let below = &mut self.nodes[at].below;
        let place = below.partition_point(|(other, _)| *other < name);
        below.insert(place, (name, new));
        new
    }

    /// Sources are a few items deep.
    fn inherit(&mut self, at: usize) {
        let Node { below, routes } = self.nodes[at].clone();
        for (_, below) in below {
            let own = &mut self.nodes[below].routes;
            own.extend(&routes);
            own.sort_unstable();
            self.inherit(below);
        }
    }

    /// Those whose source covers the message, in order.
    pub(super) fn candidates(&self, message: &Inbound<'_>) -> &[usize] {
        let mut at = 0;
        walk(message, |item| match self.nodes[at].next(item) {
            Some(below) => {
                at = below;
                true
            }
            None => false,
        });
        &self.nodes[at].routes
    }
}
