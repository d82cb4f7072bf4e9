//! Which PUBACK is for which publish: submissions are put on the wire in order, each with an id.

use std::collections::{BTreeMap, VecDeque};

/// Of one connection; dropped with it.
#[derive(Debug, Default)]
pub struct Pairing {
    submitted: VecDeque<(u64, usize)>,
    sent: BTreeMap<u16, (u64, usize)>,
}

impl Pairing {
    /// Handed to the client, with a number of ours and its size.
    pub fn on_submitted(&mut self, number: u64, bytes: usize) {
        self.submitted.push_back((number, bytes));
    }

    /// The next one was put on the wire with this packet id. False: none was submitted, or the id
    /// is in use; the two sides have lost count.
    pub fn on_sent(&mut self, id: u16) -> bool {
        let Some(publish) = self.submitted.pop_front() else { return false };
        self.sent.insert(id, publish).is_none()
    }

    /// PUBACK: our number, and the size.
    pub fn on_acked(&mut self, id: u16) -> Option<(u64, usize)> {
        self.sent.remove(&id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acks_in_any_order_find_their_publishes_and_ids_come_again() {
        let mut pairing = Pairing::default();
        (10..13).for_each(|number| pairing.on_submitted(number, 5));
        assert!(pairing.on_sent(1) && pairing.on_sent(2));
        assert_eq!(pairing.on_acked(2), Some((11, 5)));
        assert_eq!(pairing.on_acked(2), None);
        assert!(pairing.on_sent(2));
        assert_eq!((pairing.on_acked(2), pairing.on_acked(1)), (Some((12, 5)), Some((10, 5))));
        assert!(!pairing.on_sent(3), "nothing was submitted");
        pairing.on_submitted(13, 5);
        pairing.on_submitted(14, 5);
        assert!(pairing.on_sent(1) && !pairing.on_sent(1), "the id is in use");
    }
}
