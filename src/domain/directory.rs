//! Who is online and how they are reached, and the durable sessions of those who are not.
//!
//! A seat is where an identity is reached now: its own connection, or the link of its edge. `H`
//! is what the shell reaches it by.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::features::Features;
use super::identity::Identity;
use super::row::Key;
use super::topic;

/// What of a session is on disk (spec sdk.md, trap 1).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// Filters and whether `QoS` 1 was granted.
    pub filters: Vec<(String, bool)>,
}

/// Where an identity is reached.
#[derive(Clone, Debug)]
pub struct Seat<H> {
    /// Number of the connection or link.
    pub epoch: u64,
    /// What it has asked for.
    pub features: Features,
    /// Behind an edge.
    pub is_behind_edge: bool,
    /// A clean session: ends with its connection.
    pub is_clean: bool,
    /// How.
    pub handle: H,
}

/// See the module documentation.
#[derive(Debug)]
pub struct Directory<H> {
    seats: BTreeMap<Identity, Seat<H>>,
    sessions: BTreeMap<Identity, Stored>,
    /// Publishes un-acked when the connection ended; not on disk.
    unacked: BTreeMap<Identity, Vec<(u16, Key)>>,
}

impl<H> Default for Directory<H> {
    fn default() -> Self {
        let (seats, sessions, unacked) = Default::default();
        Directory { seats, sessions, unacked }
    }
}

impl<H: Clone> Directory<H> {
    /// A session read from the store.
    pub fn restore(&mut self, identity: Identity, stored: Stored) {
        self.sessions.insert(identity, stored);
    }

    /// Seats a client on its own connection; answers the seat it had.
    pub fn open(
        &mut self,
        identity: &Identity,
        epoch: u64,
        is_clean: bool,
        handle: H,
    ) -> Option<Seat<H>> {
        let earlier = self.seats.get(identity);
        if earlier.is_some_and(|seat| seat.is_clean && !seat.is_behind_edge) {
            self.forget(identity); // it ends with its connection, and that ends now
        }
        let filters = self.sessions.get(identity).map(|stored| stored.filters.as_slice());
        let features = topic::features(filters.unwrap_or_default(), identity);
        let seat = Seat { epoch, features, is_behind_edge: false, is_clean, handle };
        self.seats.insert(identity.clone(), seat)
    }

    /// Forgets the stored session; answers whether there was one.
    pub fn forget(&mut self, identity: &Identity) -> bool {
        self.unacked.remove(identity);
        self.sessions.remove(identity).is_some()
    }

    /// The stored session.
    pub fn session(&self, identity: &Identity) -> Option<&Stored> {
        self.sessions.get(identity)
    }

    /// Takes what was un-acked when the last connection ended.
    pub fn take_unacked(&mut self, identity: &Identity) -> Vec<(u16, Key)> {
        self.unacked.remove(identity).unwrap_or_default()
    }

    /// The connection is gone. Answers whether the client is offline now: a late notice of an
    /// earlier connection changes nothing.
    pub fn closed(&mut self, identity: &Identity, epoch: u64, unacked: Vec<(u16, Key)>) -> bool {
        if self.seats.get(identity).is_none_or(|seat| seat.epoch != epoch) {
            return false;
        }
        let Some(seat) = self.seats.remove(identity) else { return false };
        if seat.is_clean {
            self.forget(identity);
        } else if self.sessions.contains_key(identity) {
            self.unacked.insert(identity.clone(), unacked);
        }
        true
    }

    /// The next connection has the seat already, and has not taken this up yet.
    pub fn hand_over(&mut self, identity: &Identity, unacked: Vec<(u16, Key)>) {
        if self.sessions.contains_key(identity) {
            self.unacked.insert(identity.clone(), unacked);
        }
    }

    /// Changes the filters of a session; answers the whole session and the features.
    pub fn subscribe(
        &mut self,
        identity: &Identity,
        add: &[(String, bool)],
        remove: &[String],
    ) -> (Stored, Features) {
        let stored = self.sessions.entry(identity.clone()).or_default();
        let is_gone = |filter: &String| {
            remove.contains(filter) || add.iter().any(|(added, _)| added == filter)
        };
        stored.filters.retain(|(filter, _)| !is_gone(filter));
        stored.filters.extend(add.iter().cloned());
        let features = topic::features(&stored.filters, identity);
        if let Some(seat) = self.seats.get_mut(identity) {
            seat.features = features;
        }
        (stored.clone(), features)
    }

    /// Seats an identity behind an edge, unless it sits on another connection of its own.
    pub fn attach(&mut self, identity: Identity, features: Features, epoch: u64, handle: H) {
        if let Some(seat) = self.seats.get_mut(&identity).filter(|seat| seat.epoch == epoch) {
            seat.features = features; // the link itself, or once more
        } else if self.seats.get(&identity).is_none_or(|seat| seat.is_behind_edge) {
            let seat = Seat { epoch, features, is_behind_edge: true, is_clean: true, handle };
            self.seats.insert(identity, seat);
        }
    }

    /// Takes away one identity of a link, or all of them; answers who is offline now.
    pub fn detach(&mut self, identity: Option<&Identity>, epoch: u64) -> Vec<Identity> {
        let of_link = self.seats.iter().filter(|(who, seat)| {
            seat.is_behind_edge && seat.epoch == epoch && identity.is_none_or(|one| one == *who)
        });
        let gone: Vec<_> = of_link.map(|(who, _)| who.clone()).collect();
        for who in &gone {
            self.seats.remove(who);
        }
        gone
    }

    /// Where an identity is reached.
    pub fn seat(&self, identity: &Identity) -> Option<&Seat<H>> {
        self.seats.get(identity)
    }

    /// Everybody who is online.
    pub fn online(&self) -> impl Iterator<Item = (&Identity, &Seat<H>)> {
        self.seats.iter()
    }

    /// How many sessions are kept.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who() -> Identity {
        Identity::parse("d").unwrap()
    }

    #[test]
    fn a_session_outlives_its_connection_and_a_late_farewell_changes_nothing() {
        let mut directory = Directory::default();
        assert!(directory.open(&who(), 1, false, "one").is_none());
        let filter = ("$iothub/methods/POST/#".to_owned(), true);
        let (_, features) = directory.subscribe(&who(), std::slice::from_ref(&filter), &[]);
        assert!(features.methods);
        assert_eq!(directory.open(&who(), 2, false, "two").unwrap().handle, "one");
        assert!(!directory.closed(&who(), 1, vec![]), "the earlier connection");
        assert_eq!(directory.seat(&who()).unwrap().handle, "two");
        assert!(directory.closed(&who(), 2, vec![]));
        assert_eq!(directory.session(&who()).unwrap().filters, std::slice::from_ref(&filter));
        directory.open(&who(), 3, false, "three");
        assert!(directory.seat(&who()).unwrap().features.methods);
        assert!(!directory.subscribe(&who(), &[], &[filter.0]).1.methods);
    }

    #[test]
    fn a_clean_session_is_not_resumed_by_the_connection_that_takes_over() {
        let mut directory = Directory::default();
        directory.open(&who(), 1, true, "clean");
        let filter = ("$iothub/methods/POST/#".to_owned(), true);
        directory.subscribe(&who(), std::slice::from_ref(&filter), &[]);
        directory.open(&who(), 2, false, "durable");
        assert!(directory.session(&who()).is_none());
        assert!(!directory.seat(&who()).unwrap().features.methods);
        directory.subscribe(&who(), &[filter], &[]);
        let key = Key { priority: crate::domain::row::Priority(1), offset: Default::default() };
        directory.open(&who(), 3, false, "next");
        directory.hand_over(&who(), vec![(7, key)]);
        assert_eq!(directory.take_unacked(&who()), [(7, key)], "a takeover goes on with its ids");
    }

    #[test]
    fn the_end_of_a_link_takes_away_only_those_who_are_still_on_it() {
        let mut directory = Directory::default();
        let (one, two) = (Identity::parse("d/1").unwrap(), Identity::parse("d/2").unwrap());
        directory.attach(one.clone(), Features::default(), 1, "old");
        directory.attach(two.clone(), Features::default(), 1, "old");
        directory.attach(two.clone(), Features::default(), 2, "new");
        assert_eq!(directory.detach(None, 1), [one]);
        assert_eq!(directory.seat(&two).unwrap().handle, "new");
    }
}
