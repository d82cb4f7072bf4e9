//! What a client sends again because its connection ended before the PUBACK.
//!
//! MQTT leaves a server no way to know it but by the packet: the flag DUP, on another connection,
//! with the packet id and the very bytes of a message that is stored already. The last messages of
//! each sender are remembered for that, as many as a connection may park.
//!
//! A client that uses a packet id again on the same connection while it is remembered (the lowest
//! free one, instead of the next) could mean another message of the same bytes by that: of such a
//! sender nothing is taken for a second copy any more. A message twice is better than one lost.

use std::collections::VecDeque;

/// As many as a connection may have parked, and so un-acknowledged.
const REMEMBERED: usize = 100;

/// How a message came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmission {
    /// Of the PUBLISH.
    pub packet_id: u16,
    /// Its DUP flag.
    pub is_again: bool,
    /// Number of the connection; never the same for two.
    pub connection: u32,
}

/// The last messages of one sender.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resent {
    /// Packet ids are used again too soon to tell.
    is_unsure: bool,
    /// Oldest first.
    last: VecDeque<One>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct One {
    packet_id: u16,
    connection: u32,
    /// Of properties and body.
    digest: u64,
}

impl Resent {
    /// Whether this is a second copy of what is stored. If not, it is remembered; call it for what
    /// is being stored.
    pub fn on_arrival(&mut self, how: Transmission, digest: u64) -> bool {
        let Transmission { packet_id, is_again, connection } = how;
        let found = self.last.iter().position(|one| one.packet_id == packet_id);
        if let Some(found) = found {
            let one = self.last[found];
            if one.connection == connection {
                self.is_unsure = true;
            } else if is_again && one.digest == digest && !self.is_unsure {
                return true;
            }
            self.last.remove(found);
        }
        if self.last.len() == REMEMBERED {
            self.last.pop_front();
        }
        self.last.push_back(One { packet_id, connection, digest });
        false
    }

    /// For the store.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(1 + 14 * self.last.len());
        bytes.push(u8::from(self.is_unsure));
        for One { packet_id, connection, digest } in &self.last {
            bytes.extend(packet_id.to_be_bytes());
            bytes.extend(connection.to_be_bytes());
            bytes.extend(digest.to_be_bytes());
        }
        bytes
    }

    /// What [`Resent::to_bytes`] gave; `None` for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (is_unsure, rest) = bytes.split_first()?;
        let (entries, []) = rest.as_chunks::<14>() else { return None };
        let one = |entry: &[u8; 14]| {
            let (packet_id, rest) = entry.split_first_chunk()?;
            let (connection, rest) = rest.split_first_chunk()?;
            Some(One {
                packet_id: u16::from_be_bytes(*packet_id),
                connection: u32::from_be_bytes(*connection),
                digest: u64::from_be_bytes(rest.try_into().ok()?),
            })
        };
        let last = entries.iter().map(one).collect::<Option<_>>()?;
        Some(Resent { is_unsure: *is_unsure != 0, last })
    }
}

/// Tells messages apart: of properties and body.
pub fn digest(bag: &str, body: &[u8]) -> u64 {
    u64::from(crc32c::crc32c(bag.as_bytes())) << 32 | u64::from(crc32c::crc32c(body))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sent(connection: u32, packet_id: u16, is_again: bool) -> Transmission {
        Transmission { packet_id, is_again, connection }
    }

    #[test]
    fn a_second_copy_has_dup_another_connection_and_the_same_id_and_bytes() {
        let first = || {
            let mut resent = Resent::default();
            assert!(!resent.on_arrival(sent(1, 7, false), 42));
            resent
        };
        assert!(first().on_arrival(sent(2, 7, true), 42));
        for (how, digest) in [
            (sent(2, 7, false), 42), // a new process begins with its ids anew
            (sent(2, 8, true), 42),
            (sent(2, 7, true), 43),
            (sent(1, 7, true), 42),
        ] {
            assert!(!first().on_arrival(how, digest), "{how:?} {digest}");
        }
        let mut resent = first();
        for connection in 2..5 {
            assert!(resent.on_arrival(sent(connection, 7, true), 42), "as often as it comes");
        }
    }

    #[test]
    fn of_a_client_that_uses_ids_again_at_once_nothing_is_taken_for_a_copy() {
        let mut resent = Resent::default();
        assert!(!resent.on_arrival(sent(1, 1, false), 42));
        assert!(!resent.on_arrival(sent(1, 1, false), 42));
        assert!(!resent.on_arrival(sent(2, 1, true), 42));
        let mut later = Resent::from_bytes(&resent.to_bytes()).unwrap();
        assert!(!later.on_arrival(sent(3, 1, true), 42));
    }

    #[test]
    fn only_the_last_ones_are_remembered() {
        let mut resent = Resent::default();
        for id in 0..=100 {
            assert!(!resent.on_arrival(sent(1, id, false), u64::from(id)));
        }
        assert!(!resent.on_arrival(sent(2, 0, true), 0), "it was acknowledged long ago");
        assert!(resent.on_arrival(sent(2, 2, true), 2));
        assert_eq!(resent.to_bytes().len(), 1 + 14 * 100);
    }

    proptest! {
        #[test]
        fn what_is_kept_is_read_again_and_other_bytes_never_panic(
            all in prop::collection::vec((any::<u32>(), any::<u16>(), any::<u64>()), 0..120),
            bytes in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            let mut resent = Resent::default();
            for (connection, id, digest) in all {
                resent.on_arrival(sent(connection, id, false), digest);
            }
            prop_assert_eq!(Resent::from_bytes(&resent.to_bytes()), Some(resent));
            drop(Resent::from_bytes(&bytes));
        }
    }
}
