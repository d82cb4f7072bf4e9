//! Which PUBACK is for which publish: each has a packet id that no other has meanwhile.

use std::collections::VecDeque;

/// Of one connection; dropped with it.
#[derive(Debug, Default)]
pub struct Pairing {
    last: u16,
    /// The oldest first: packet id, number, size. Ids are given in turn, so those in use lie between
    /// that of the oldest and the last one.
    sent: VecDeque<(u16, u64, usize)>,
}

impl Pairing {
    /// A packet id for a publish with a number of ours, and its size. `None`: none is free.
    pub fn on_sent(&mut self, number: u64, bytes: usize) -> Option<u16> {
        let id = self.last.checked_add(1).unwrap_or(1);
        if self.sent.front().is_some_and(|(oldest, ..)| *oldest == id) {
            return None;
        }
        self.last = id;
        self.sent.push_back((id, number, bytes));
        Some(id)
    }

    /// PUBACK: our number, and the size.
    pub fn on_acked(&mut self, id: u16) -> Option<(u64, usize)> {
        // In the order of sending, but for a parent that does not keep to it.
        let at = self.sent.iter().position(|(sent, ..)| *sent == id)?;
        self.sent.remove(at).map(|(_, number, bytes)| (number, bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acks_in_any_order_find_their_publishes() {
        let mut pairing = Pairing::default();
        for (number, id) in [(10, 1), (11, 2), (12, 3)] {
            assert_eq!(pairing.on_sent(number, 5), Some(id));
        }
        assert_eq!(pairing.on_acked(2), Some((11, 5)));
        assert_eq!(pairing.on_acked(2), None);
        assert_eq!((pairing.on_acked(1), pairing.on_acked(3)), (Some((10, 5)), Some((12, 5))));
    }

    #[test]
    fn ids_come_again_but_not_while_they_are_in_use() {
        let mut pairing = Pairing::default();
        assert_eq!(pairing.on_sent(1, 5), Some(1));
        for id in 2..=u16::MAX {
            assert_eq!(pairing.on_sent(id.into(), 5), Some(id));
            pairing.on_acked(id);
        }
        assert_eq!(pairing.on_sent(2, 5), None, "the first is not acknowledged");
        pairing.on_acked(1);
        assert_eq!(pairing.on_sent(2, 5), Some(1), "0 is no id");
    }
}
