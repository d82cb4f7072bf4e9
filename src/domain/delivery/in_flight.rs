//! The rows that take up slots of the window, from their sending to the commit of their end.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::identity::Identity;
use crate::domain::row::{Key, Offset, Row};

#[derive(Debug, Default)]
pub(super) struct InFlight {
    flights: BTreeMap<Key, Flight>,
    /// Ends that were committed while the store was reading: its answer may still show the rows.
    ended: BTreeSet<Key>,
}

#[derive(Debug, PartialEq, Eq)]
enum Flight {
    /// Not answered yet.
    Sent(Identity),
    /// Answered; its end is not committed yet, so the store still shows it.
    Ending,
}

impl InFlight {
    pub(super) fn len(&self) -> usize {
        self.flights.len()
    }

    pub(super) fn contains(&self, key: Key) -> bool {
        self.flights.contains_key(&key) || self.ended.contains(&key)
    }

    pub(super) fn on_sent(&mut self, row: &Row) {
        self.flights.insert(row.key, Flight::Sent(row.sender.clone()));
    }

    /// Who sent the row at `key`, if it is not answered yet.
    pub(super) fn sender_of(&self, key: Key) -> Option<Identity> {
        match self.flights.get(&key) {
            Some(Flight::Sent(sender)) => Some(sender.clone()),
            _ => None,
        }
    }

    /// Whether answers to rows of `sender` are still due.
    pub(super) fn has_sent(&self, sender: &Identity) -> bool {
        self.flights.values().any(|flight| matches!(flight, Flight::Sent(who) if who == sender))
    }

    pub(super) fn on_answered(&mut self, key: Key) {
        self.flights.insert(key, Flight::Ending);
    }

    pub(super) fn on_ended(&mut self, key: Key) {
        self.flights.remove(&key);
        self.ended.insert(key);
    }

    /// The store is not reading: what has ended will not be seen any more.
    pub(super) fn forget_ended(&mut self) {
        self.ended.clear();
    }

    pub(super) fn remove(&mut self, key: Key) {
        self.flights.remove(&key);
    }

    /// Removes all that is not answered, and tells the first offset of it.
    pub(super) fn take_back(&mut self) -> Option<Offset> {
        let is_sent = |flight: &Flight| matches!(flight, Flight::Sent(_));
        let sent = self.flights.iter().filter(|(_, flight)| is_sent(flight));
        let first = sent.map(|(key, _)| key.offset).min();
        self.flights.retain(|_, flight| !is_sent(flight));
        first
    }
}
