//! Keeps the doors of the process: how many sockets may be open, how many of those who have not
//! logged in may stand there, whose TLS hand-shake is next, and what of their failures is said.
//!
//! One for all listeners; it outlives them. Accepting never waits for anybody: who cannot be
//! had is closed at once.
//!
//! next: `greeting.rs`

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};

use crate::actors::clock;
use crate::domain::door::{Arrival, Offences, Place, Seen, Strangers, Turns};
use crate::domain::identity::Identity;
use crate::protocol::sockets::{Seat, Seats};

/// Sockets that have not logged in, at the same time. A hand-shake takes 20 KiB.
const STRANGERS: usize = 1_024;
/// TLS hand-shakes that are calculated before others get their turn: some milliseconds.
const AT_ONCE: usize = 4;
/// Open files that are left to the runtime itself: a quarter, but at least and at most so many.
const OWN_FILES: (usize, usize) = (64, 512);
/// CONNECT packets above 8 KiB that are read at the same time; one has 96 KiB at most.
const LARGE_CONNECTS: usize = 40;
/// How often what was left out of the log is told.
const SWEEP: Duration = Duration::from_secs(5);

/// See the module documentation. Cheap to clone.
#[derive(Clone)]
pub struct Doorkeeper(Arc<Inner>);

struct Inner {
    seats: Seats,
    large_connects: AtomicUsize,
    state: Mutex<State>,
}

struct State {
    strangers: Strangers,
    waiting: HashMap<u64, Arc<Notify>>,
    turns: Turns<oneshot::Sender<()>>,
    is_turning: bool,
    by_place: Offences<Place>,
    by_identity: Offences<Identity>,
    is_sweeping: bool,
}

/// The stay of a stranger; ends when it is dropped.
pub struct Visit {
    keeper: Doorkeeper,
    place: Place,
    number: u64,
    evicted: Arc<Notify>,
}

impl Doorkeeper {
    /// For a process that may have so many files open.
    pub fn new(open_files: usize) -> Self {
        let (least, most) = OWN_FILES;
        let seats = open_files.saturating_sub((open_files / 4).clamp(least, most));
        let state = State {
            strangers: Strangers::new(STRANGERS),
            waiting: HashMap::new(),
            turns: Turns::default(),
            is_turning: false,
            by_place: Offences::default(),
            by_identity: Offences::default(),
            is_sweeping: false,
        };
        let (seats, large_connects) = (Seats::new(seats), AtomicUsize::new(0));
        Doorkeeper(Arc::new(Inner { seats, large_connects, state: Mutex::new(state) }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing is left half done by a panic in here.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody has come. `None`: there is no room, it is to be closed.
    pub fn enter(&self, address: IpAddr) -> Option<(Seat, Visit)> {
        let place = Place::from(address);
        let Some(seat) = self.0.seats.take() else {
            if self.offence(place, None).is_said() {
                let most = self.0.seats.most();
                tracing::warn!(%place, most, "turned away: no more sockets may be open");
            }
            return None;
        };
        let mut state = self.state();
        let (number, goes) = match state.strangers.arrive(place, clock::now()) {
            Arrival::Enters(number) => (Some(number), None),
            Arrival::EntersInsteadOf(number, goes) => (Some(number), state.waiting.remove(&goes)),
            Arrival::TurnedAway => (None, None),
        };
        if let Some(goes) = goes {
            goes.notify_one();
        }
        let Some(number) = number else {
            drop(state);
            if self.offence(place, None).is_said() {
                tracing::warn!(%place, most = STRANGERS, "turned away: too many log in at once");
            }
            return None;
        };
        let evicted = Arc::new(Notify::new());
        state.waiting.insert(number, Arc::clone(&evicted));
        Some((seat, Visit { keeper: self.clone(), place, number, evicted }))
    }

    /// Something went wrong at the door, of whoever is there.
    fn offence(&self, place: Place, identity: Option<&Identity>) -> Seen {
        let mut state = self.state();
        let now = clock::now();
        let of_place = state.by_place.count(&place, now);
        let of_identity = identity.map(|identity| state.by_identity.count(identity, now));
        if !std::mem::replace(&mut state.is_sweeping, true) {
            actix::spawn(self.clone().sweep());
        }
        of_identity.map_or(of_place, |of_identity| of_identity.max(of_place))
    }

    /// Tells what was left out of the log, for as long as there is something to be counted.
    async fn sweep(self) {
        loop {
            tokio::time::sleep(SWEEP).await;
            let mut state = self.state();
            let now = clock::now();
            let places = state.by_place.sweep(now);
            let _ = state.by_identity.sweep(now); // they are among those of the places
            state.is_sweeping = !(state.by_place.is_empty() && state.by_identity.is_empty());
            let is_over = !state.is_sweeping;
            drop(state);
            for (place, left_out) in places {
                let place = place.map_or("others".to_owned(), |place| place.to_string());
                tracing::warn!(
                    target: "audit",
                    place,
                    left_out,
                    "more log-ins failed than are in the log"
                );
            }
            if is_over {
                return;
            }
        }
    }

    /// Lets some go on in each round of the process's loop, so that clients which are in are
    /// served between hand-shakes.
    async fn turn(self) {
        loop {
            for _ in 0..AT_ONCE {
                let mut state = self.state();
                match state.turns.take() {
                    Some(next) => drop(next.send(())), // who has gone needs no turn
                    None => {
                        state.is_turning = false;
                        return;
                    }
                }
            }
            tokio::task::yield_now().await;
        }
    }
}

impl Visit {
    /// Waits for its turn to shake hands.
    pub async fn turn(&self) {
        let (go, wait) = oneshot::channel();
        {
            let mut state = self.keeper.state();
            state.turns.push(self.place, go);
            if !std::mem::replace(&mut state.is_turning, true) {
                actix::spawn(self.keeper.clone().turn());
            }
        }
        let _ = wait.await; // nobody takes turns any more: then it is everybody's
    }

    /// Another takes its place.
    pub fn evicted(&self) -> impl Future<Output = ()> + use<> {
        let evicted = Arc::clone(&self.evicted);
        async move { evicted.notified().await }
    }

    /// It did something that it should not; answers whether the log has it, or enough of the like.
    pub fn offence(&self) -> bool {
        self.keeper.offence(self.place, None).is_said()
    }

    /// Room for a large CONNECT, until it is dropped.
    pub fn room(&self) -> Option<Room> {
        let left = &self.keeper.0.large_connects;
        let room = Room(self.keeper.clone());
        (left.fetch_add(1, Ordering::Relaxed) < LARGE_CONNECTS).then_some(room)
    }

    /// It may not come in; answers how long that is kept from it, and whether the log has it.
    pub fn refused(&self, identity: Option<&Identity>) -> (Duration, bool) {
        let seen = self.keeper.offence(self.place, identity);
        self.keeper.state().strangers.refuse(self.number);
        (seen.hold(), seen.is_said())
    }

    /// Where it comes from.
    pub fn place(&self) -> Place {
        self.place
    }
}

/// See [`Visit::room`].
pub struct Room(Doorkeeper);

impl Drop for Room {
    fn drop(&mut self) {
        self.0.0.large_connects.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let mut state = self.keeper.state();
        state.strangers.leave(self.number);
        state.waiting.remove(&self.number);
    }
}
