//! What came of each sender: in order, without gaps, once.

use std::collections::HashSet;

use crate::wire::STAMP;

/// See the module documentation.
pub(crate) struct Receiver {
    run: u32,
    /// By sender, the number that is to come next.
    next: Vec<u64>,
    /// Numbers that were skipped, of all senders.
    missing: HashSet<(u32, u64)>,
    pub(crate) received: u64,
    pub(crate) duplicates: u64,
    pub(crate) reordered: u64,
    /// Of another run, or not ours.
    pub(crate) foreign: u64,
}

impl Receiver {
    pub(crate) fn new(run: u32, senders: u32) -> Self {
        let next = vec![0; senders as usize];
        let missing = HashSet::new();
        Receiver { run, next, missing, received: 0, duplicates: 0, reordered: 0, foreign: 0 }
    }

    /// A body; when it was sent, if it is ours and new.
    pub(crate) fn on_body(&mut self, body: &[u8]) -> Option<u64> {
        let Some(stamp) = body.get(..STAMP) else {
            self.foreign += 1;
            return None;
        };
        let four = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|n: usize| stamp[at + n]));
        let eight = |at: usize| u64::from(four(at)) | u64::from(four(at + 4)) << 32;
        let (run, sender, number) = (four(0), four(4), eight(8));
        let next = self.next.get_mut(sender as usize).filter(|_| run == self.run);
        let Some(next) = next else {
            self.foreign += 1;
            return None;
        };
        if number == *next {
            *next += 1;
        } else if number > *next {
            self.missing.extend((*next..number).map(|number| (sender, number)));
            *next = number + 1;
        } else if self.missing.remove(&(sender, number)) {
            self.reordered += 1;
        } else {
            self.duplicates += 1;
            return None;
        }
        self.received += 1;
        Some(eight(16))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(run: u32, sender: u32, number: u64) -> Vec<u8> {
        [&run.to_le_bytes()[..], &sender.to_le_bytes(), &number.to_le_bytes(), &[9; 8]].concat()
    }

    #[test]
    fn gaps_doubles_and_disorder_are_told_apart() {
        let mut receiver = Receiver::new(7, 2);
        for (sender, number) in [(0, 0), (1, 0), (0, 1), (0, 3), (0, 2), (0, 3), (1, 2)] {
            receiver.on_body(&body(7, sender, number));
        }
        assert_eq!((receiver.received, receiver.reordered, receiver.duplicates), (6, 1, 1));
        assert_eq!(receiver.missing.len(), 1, "number 1 of sender 1");
    }

    #[test]
    fn what_is_not_of_this_run_does_not_count() {
        let mut receiver = Receiver::new(7, 2);
        for body in [body(6, 0, 0), body(7, 2, 0), vec![7; 23]] {
            assert_eq!(receiver.on_body(&body), None);
        }
        assert_eq!((receiver.received, receiver.foreign), (0, 3));
        assert_eq!(receiver.on_body(&body(7, 0, 0)), Some(u64::from_le_bytes([9; 8])));
    }
}
