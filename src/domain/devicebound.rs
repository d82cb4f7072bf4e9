//! The cloud-to-device messages that wait for one device: which may be given, and which end.
//!
//! At most [`UNSETTLED`] are out at a time: those at the head. One that is out and not settled
//! for [`LOCK`] on a live connection was delivered in vain; after [`TRIES`] of that it ends.
//!
//! next: `localhub/devicebound/`, the shell.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::delivery::Position;
use super::row::{Key, Offset, Priority};

/// Most messages that are out and not settled.
pub const UNSETTLED: usize = 10;
/// Deliveries in vain until a message is dead-lettered.
pub const TRIES: u32 = 10;
/// How long one may be out.
pub const LOCK: Duration = Duration::from_secs(60);
/// Most messages that wait for one device.
pub const DEPTH: usize = 10_000;

/// What is kept in memory of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Unix time after which it ends.
    pub expires: Option<Duration>,
    /// Deliveries in vain.
    pub tries: u32,
    /// When it was given out last.
    given: Option<Instant>,
}

impl Waiting {
    fn is_overdue(&self, now: Instant) -> bool {
        self.given.is_some_and(|given| now.duration_since(given) >= LOCK)
    }
}

/// See the module documentation.
#[derive(Debug, Default)]
pub struct Mailbox(BTreeMap<Offset, Waiting>);

/// What a look at the clock brings.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Overdue {
    /// May be given again, with these counts.
    pub again: Vec<(Offset, u32)>,
    /// Were delivered in vain too often.
    pub exhausted: Vec<Offset>,
}

/// The key of a message: its lock token is the offset.
pub fn key(offset: Offset) -> Key {
    Key { priority: Priority::DEFAULT, offset }
}

impl Mailbox {
    /// Takes a message in, behind those that wait.
    pub fn add(&mut self, offset: Offset, expires: Option<Duration>, tries: u32) {
        self.0.insert(offset, Waiting { expires, tries, given: None });
    }

    /// Messages that wait or are out.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One message.
    pub fn get(&self, offset: Offset) -> Option<&Waiting> {
        self.0.get(&offset)
    }

    /// Those whose time is over at `now` (Unix time); they are not in here any more.
    pub fn expire(&mut self, now: Duration) -> Vec<Offset> {
        let is_over = |waiting: &Waiting| waiting.expires.is_some_and(|at| at <= now);
        let over = self.0.iter().filter(|(_, waiting)| is_over(waiting));
        let over: Vec<Offset> = over.map(|(offset, _)| *offset).collect();
        self.0.retain(|_, waiting| !is_over(waiting));
        over
    }

    /// Up to `max` messages to give now, of those at the head that `from` has not passed. Whoever
    /// asks anew from the beginning gets what was out again.
    pub fn give(&mut self, from: &Position, max: usize, now: Instant) -> Vec<Offset> {
        let head = self.0.iter_mut().take(UNSETTLED);
        let wanted = head.filter(|(offset, _)| from.is_before(key(**offset))).take(max);
        let give = |(offset, waiting): (&Offset, &mut Waiting)| {
            waiting.given = Some(now);
            *offset
        };
        wanted.map(give).collect()
    }

    /// Ends a message; answers whether it was here.
    pub fn end(&mut self, offset: Offset) -> Option<Waiting> {
        self.0.remove(&offset)
    }

    /// Whether any has been out for too long.
    pub fn has_overdue(&self, now: Instant) -> bool {
        self.0.values().any(|waiting| waiting.is_overdue(now))
    }

    /// Those that have been out for too long. They count only if the device is there: it had
    /// them, and did not settle.
    pub fn overdue(&mut self, is_connected: bool, now: Instant) -> Overdue {
        let mut overdue = Overdue::default();
        for (offset, waiting) in &mut self.0 {
            if !waiting.is_overdue(now) {
                continue;
            }
            waiting.given = None;
            if is_connected {
                waiting.tries += 1;
                if waiting.tries >= TRIES {
                    overdue.exhausted.push(*offset);
                } else {
                    overdue.again.push((*offset, waiting.tries));
                }
            }
        }
        self.0.retain(|offset, _| !overdue.exhausted.contains(offset));
        overdue
    }

    /// Empties it.
    pub fn purge(&mut self) -> Vec<Offset> {
        std::mem::take(&mut self.0).into_keys().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "any instant does")]
    fn start() -> Instant {
        Instant::now()
    }

    fn mailbox(count: u64) -> Mailbox {
        let mut mailbox = Mailbox::default();
        (1..=count).for_each(|offset| mailbox.add(Offset(offset), None, 0));
        mailbox
    }

    fn offsets(given: &[Offset]) -> Vec<u64> {
        given.iter().map(|offset| offset.0).collect()
    }

    #[test]
    fn the_head_is_given_in_order_and_the_rest_when_it_is_settled() {
        let (mut mailbox, now) = (mailbox(12), start());
        let mut position = Position::default();
        let given = mailbox.give(&position, 32, now);
        assert_eq!(offsets(&given), (1..=10).collect::<Vec<_>>());
        given.iter().for_each(|offset| position.pass(key(*offset)));
        assert_eq!(mailbox.give(&position, 32, now), []);
        mailbox.end(Offset(3)).unwrap();
        assert_eq!(offsets(&mailbox.give(&position, 32, now)), [11]);
        let anew = mailbox.give(&Position::default(), 2, now);
        assert_eq!(offsets(&anew), [1, 2], "a new connection gets what is not settled again");
    }

    #[test]
    fn a_message_that_is_not_settled_counts_on_a_live_connection_only_and_ends_after_ten() {
        let mut mailbox = mailbox(1);
        let mut now = start();
        for tries in 1..TRIES {
            mailbox.give(&Position::default(), 1, now);
            assert_eq!(mailbox.overdue(true, now + LOCK / 2), Overdue::default());
            now += LOCK;
            assert_eq!(mailbox.overdue(true, now).again, [(Offset(1), tries)]);
            mailbox.give(&Position::default(), 1, now);
            now += LOCK;
            assert_eq!(mailbox.overdue(false, now), Overdue::default(), "nobody had it");
        }
        mailbox.give(&Position::default(), 1, now);
        assert_eq!(mailbox.overdue(true, now + LOCK).exhausted, [Offset(1)]);
        assert!(mailbox.is_empty());
    }

    #[test]
    fn what_has_expired_is_not_given() {
        let mut mailbox = mailbox(1);
        mailbox.add(Offset(2), Some(Duration::from_secs(100)), 0);
        assert_eq!(mailbox.expire(Duration::from_secs(99)), []);
        assert_eq!(mailbox.expire(Duration::from_secs(100)), [Offset(2)]);
        assert_eq!(mailbox.purge(), [Offset(1)]);
    }
}
