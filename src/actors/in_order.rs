//! What follows a commit, in the order in which the commits were asked for.
//!
//! The store commits in order of asking, but an actor may hear of two commits in any order. So
//! whoever hears of one does what is due up to it.

use std::collections::BTreeMap;

/// Things that wait for commits.
#[derive(Debug)]
pub(crate) struct InOrder<T> {
    last: u64,
    waiting: BTreeMap<u64, T>,
}

impl<T> Default for InOrder<T> {
    fn default() -> Self {
        InOrder { last: 0, waiting: BTreeMap::new() }
    }
}

impl<T> InOrder<T> {
    /// `thing` waits for the commit that is asked for now; answers the number of that.
    pub(crate) fn wait(&mut self, thing: T) -> u64 {
        self.last += 1;
        self.waiting.insert(self.last, thing);
        self.last
    }

    /// Nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The commit with this number is done, and so are all before it.
    pub(crate) fn committed(&mut self, number: u64) -> impl Iterator<Item = T> + use<T> {
        let later = self.waiting.split_off(&(number + 1));
        std::mem::replace(&mut self.waiting, later).into_values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_comes_in_order_whichever_commit_is_heard_of_first() {
        let mut queue = InOrder::default();
        let numbers = ["a", "b", "c"].map(|thing| queue.wait(thing));
        assert_eq!(queue.committed(numbers[1]).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(queue.committed(numbers[0]).count(), 0);
        assert_eq!(queue.committed(numbers[2]).collect::<Vec<_>>(), ["c"]);
    }
}
