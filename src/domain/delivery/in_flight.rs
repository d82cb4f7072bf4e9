//! The rows that take up slots of the window, from their sending to the commit of their end.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::identity::Identity;
use crate::domain::row::{Key, Offset, Row};

#[derive(Debug, Default)]
pub(super) struct InFlight {
    flights: BTreeMap<Key, Flight>,
    /// How many rows of a sender are not answered yet.
    senders: BTreeMap<Identity, usize>,
    bytes: usize,
    sent: u64,
    /// Ends that were committed while the store was reading: its answer may still show the rows.
    ended: BTreeSet<Key>,
}

#[derive(Debug, PartialEq, Eq)]
struct Flight {
    sender: Identity,
    bytes: usize,
    /// Rows sent before this one.
    order: u64,
    /// Answered; its end is not committed yet, so the store still shows it.
    is_ending: bool,
}

/// A row that is not answered yet.
pub(super) struct Sent {
    pub(super) sender: Identity,
    pub(super) bytes: usize,
}

impl InFlight {
    pub(super) fn len(&self) -> usize {
        self.flights.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn contains(&self, key: Key) -> bool {
        self.flights.contains_key(&key) || self.ended.contains(&key)
    }

    pub(super) fn on_sent(&mut self, row: &Row, bytes: usize) {
        self.insert(row.key, row.sender.clone(), bytes, false);
        *self.senders.entry(row.sender.clone()).or_default() += 1;
    }

    /// The row at `key` ends without having been sent.
    pub(super) fn on_given_up(&mut self, key: Key, sender: Identity) {
        self.insert(key, sender, 0, true);
    }

    fn insert(&mut self, key: Key, sender: Identity, bytes: usize, is_ending: bool) {
        let flight = Flight { sender, bytes, order: self.sent, is_ending };
        let before = self.flights.insert(key, flight);
        debug_assert!(before.is_none(), "a row is in flight once");
        self.sent += 1;
        self.bytes += bytes;
    }

    /// The row at `key`, if it is not answered yet.
    pub(super) fn sent(&self, key: Key) -> Option<Sent> {
        let flight = self.flights.get(&key).filter(|flight| !flight.is_ending)?;
        Some(Sent { sender: flight.sender.clone(), bytes: flight.bytes })
    }

    /// Whether answers to rows of `sender` are still due.
    pub(super) fn has_sent(&self, sender: &Identity) -> bool {
        self.senders.contains_key(sender)
    }

    /// The row that has waited longest for its answer, and its sender.
    pub(super) fn oldest(&self) -> Option<(Key, Identity)> {
        let sent = self.flights.iter().filter(|(_, flight)| !flight.is_ending);
        let oldest = sent.min_by_key(|(_, flight)| flight.order);
        oldest.map(|(key, flight)| (*key, flight.sender.clone()))
    }

    /// The lowest offset in flight, or of which the end is not committed.
    pub(super) fn lowest(&self) -> Option<Offset> {
        let mut lowest: Option<Offset> = None;
        let mut from = self.flights.first_key_value().map(|(key, _)| *key);
        while let Some(key) = from {
            lowest = lowest.into_iter().chain([key.offset]).min();
            let last = Key { priority: key.priority, offset: Offset(u64::MAX) };
            from = self.flights.range(last..).next().map(|(key, _)| *key);
        }
        lowest
    }

    pub(super) fn on_answered(&mut self, key: Key) {
        if let Some(flight) = self.flights.get_mut(&key).filter(|flight| !flight.is_ending) {
            flight.is_ending = true;
            let sender = flight.sender.clone();
            self.forget_sender(&sender);
        }
    }

    pub(super) fn on_ended(&mut self, key: Key) {
        self.remove(key);
        self.ended.insert(key);
    }

    /// The store is not reading: what has ended will not be seen any more.
    pub(super) fn forget_ended(&mut self) {
        self.ended.clear();
    }

    pub(super) fn remove(&mut self, key: Key) {
        let Some(flight) = self.flights.remove(&key) else { return };
        self.bytes -= flight.bytes;
        if !flight.is_ending {
            self.forget_sender(&flight.sender);
        }
    }

    fn forget_sender(&mut self, sender: &Identity) {
        if let Some(count) = self.senders.get_mut(sender) {
            *count -= 1;
            if *count == 0 {
                self.senders.remove(sender);
            }
        }
    }

    /// Removes all that is not answered, and tells what it was.
    pub(super) fn take_back(&mut self) -> Vec<(Key, Identity)> {
        let sent: Vec<_> = self.flights.extract_if(.., |_, flight| !flight.is_ending).collect();
        self.senders.clear();
        self.bytes -= sent.iter().map(|(_, flight)| flight.bytes).sum::<usize>();
        sent.into_iter().map(|(key, flight)| (key, flight.sender)).collect()
    }
}
