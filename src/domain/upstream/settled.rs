//! Cloud-to-device messages that clients have taken: the last of each.
//!
//! A settlement that is on its way when the link is lost, or comes while there is none, does not
//! reach the parent. It gives that message again, with the same lock (link.md), and is told then;
//! the client does not get it twice.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::domain::devicebound::UNSETTLED;
use crate::domain::identity::Identity;

/// The parent has given a message again long before.
const KEPT: Duration = Duration::from_secs(600);

/// Locks, and when the client took the message: as many as a parent has out at once.
#[derive(Debug, Default)]
pub struct Settled(BTreeMap<Identity, VecDeque<(String, Instant)>>);

impl Settled {
    /// The client took the message.
    pub fn on_settled(&mut self, who: &Identity, lock: &str, now: Instant) {
        let taken = self.0.entry(who.clone()).or_default();
        taken.retain(|(kept, since)| kept != lock && now.duration_since(*since) < KEPT);
        if taken.len() >= UNSETTLED {
            taken.pop_front();
        }
        taken.push_back((lock.to_owned(), now));
    }

    /// Whether the client has this message already.
    pub fn has(&self, who: &Identity, lock: &str, now: Instant) -> bool {
        let is_it =
            |(kept, since): &(String, Instant)| kept == lock && now.duration_since(*since) < KEPT;
        self.0.get(who).is_some_and(|taken| taken.iter().any(is_it))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "some instant to count from")]
    fn start() -> Instant {
        Instant::now()
    }

    fn id(text: &str) -> Identity {
        Identity::parse(text).unwrap()
    }

    #[test]
    fn no_more_is_kept_than_a_parent_can_give_again_nor_for_ever() {
        let (mut settled, now) = (Settled::default(), start());
        for lock in 0..=UNSETTLED {
            settled.on_settled(&id("leaf"), &lock.to_string(), now);
        }
        assert!(!settled.has(&id("leaf"), "0", now));
        assert!(settled.has(&id("leaf"), "1", now));
        assert!(!settled.has(&id("other"), "1", now));
        settled.on_settled(&id("leaf"), "1", now + KEPT / 2);
        assert!(settled.has(&id("leaf"), "1", now + KEPT));
        assert!(!settled.has(&id("leaf"), "2", now + KEPT));
    }
}
