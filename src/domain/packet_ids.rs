//! Packet ids of what was sent to a client with `QoS` 1 and is not acknowledged yet (MQTT 3.1.1,
//! 2.3.1), and those of an earlier connection, which are used again for the same rows.

use std::collections::BTreeMap;

use super::row::Key;

/// What was sent under an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// A row of ours: its end is recorded when it is acknowledged.
    Row(Key),
    /// A message that the parent holds a lock on: it is settled then.
    Locked(String),
    /// A message on a local topic: it is nowhere else.
    Local,
    /// The patch of desired properties with this version.
    Desired(u64),
}

/// See the module documentation.
#[derive(Debug, Default)]
pub struct PacketIds {
    last: u16,
    sent: BTreeMap<u16, (u64, Sent)>,
    /// Numbers the sendings, so that their order is known.
    sendings: u64,
    earlier: BTreeMap<Key, u16>,
}

impl PacketIds {
    /// Ids that an earlier connection of the session used for these rows.
    pub fn with_earlier(unacked: impl IntoIterator<Item = (u16, Key)>) -> Self {
        let earlier = unacked.into_iter().map(|(id, key)| (key, id)).collect();
        PacketIds { earlier, ..PacketIds::default() }
    }

    /// An id for a row, and whether it was sent under it before. `None`: all are in use.
    pub fn for_row(&mut self, key: Key) -> Option<(u16, bool)> {
        if let Some(id) = self.earlier.remove(&key) {
            self.note(id, Sent::Row(key));
            return Some((id, true));
        }
        self.allocate(Sent::Row(key)).map(|id| (id, false))
    }

    /// An id for something that is sent for the first time.
    pub fn allocate(&mut self, what: Sent) -> Option<u16> {
        for _ in 0..u16::MAX {
            self.last = self.last.checked_add(1).unwrap_or(1);
            let is_earlier = self.earlier.values().any(|id| *id == self.last);
            if !self.sent.contains_key(&self.last) && !is_earlier {
                self.note(self.last, what);
                return Some(self.last);
            }
        }
        None
    }

    /// Whether the client has this, and did not acknowledge it yet.
    pub fn is_out(&self, what: &Sent) -> bool {
        self.sent.values().any(|(_, sent)| sent == what)
    }

    /// Whether the client has anything that the parent holds a lock on.
    pub fn has_locked(&self) -> bool {
        self.sent.values().any(|(_, sent)| matches!(sent, Sent::Locked(_)))
    }

    fn note(&mut self, id: u16, what: Sent) {
        self.sendings += 1;
        self.sent.insert(id, (self.sendings, what));
    }

    /// The client acknowledged; `None` if it had nothing of the kind.
    pub fn release(&mut self, id: u16) -> Option<Sent> {
        self.sent.remove(&id).map(|(_, what)| what)
    }

    /// Rows that are not acknowledged, in order of sending, those of earlier connections first.
    pub fn unacked_rows(&self) -> Vec<(u16, Key)> {
        let mut earlier: Vec<_> = self.earlier.iter().map(|(key, id)| (*id, *key)).collect();
        earlier.sort_by_key(|(_, key)| *key);
        let mut sent: Vec<_> = self.sent.iter().collect();
        sent.sort_by_key(|(_, (sending, _))| *sending);
        let rows = sent.into_iter().filter_map(|(id, (_, what))| match what {
            Sent::Row(key) => Some((*id, *key)),
            Sent::Locked(_) | Sent::Local | Sent::Desired(_) => None,
        });
        earlier.into_iter().chain(rows).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::row::{Offset, Priority};

    fn key(offset: u64) -> Key {
        Key { priority: Priority(0), offset: Offset(offset) }
    }

    #[test]
    fn rows_of_an_earlier_connection_keep_their_ids_and_nobody_else_gets_them() {
        let mut ids = PacketIds::with_earlier([(1, key(10)), (2, key(11))]);
        assert_eq!(ids.allocate(Sent::Locked("t".into())), Some(3));
        assert!(ids.is_out(&Sent::Locked("t".into())) && !ids.is_out(&Sent::Locked("u".into())));
        assert_eq!(ids.for_row(key(10)), Some((1, true)));
        assert_eq!(ids.for_row(key(12)), Some((4, false)));
        assert_eq!(ids.unacked_rows(), [(2, key(11)), (1, key(10)), (4, key(12))]);
        assert_eq!(ids.release(1), Some(Sent::Row(key(10))));
        assert_eq!(ids.release(1), None);
    }

    #[test]
    fn ids_wrap_around_and_run_out() {
        let mut ids = PacketIds::default();
        for offset in 0..u64::from(u16::MAX) {
            assert!(ids.for_row(key(offset)).is_some_and(|(id, _)| id != 0));
        }
        assert_eq!(ids.for_row(key(u64::MAX)), None);
        ids.release(7);
        assert_eq!(ids.for_row(key(u64::MAX)), Some((7, false)));
    }
}
