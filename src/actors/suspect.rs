//! A stored message whose handling panics would do so again after every restart. Twice is enough:
//! then it is a dead letter, and the others go on.
//!
//! What is known lives as long as the process: a panic ends an actor, not this.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::domain::row::{Endpoint, Key};

/// Panics after which a message is given up.
const ENOUGH: u32 = 2;
/// Messages remembered.
const MOST: usize = 10_000;
/// What the operator reads.
pub(crate) const WHY: &str = "its handling panicked twice";

thread_local! {
    static PANICS: RefCell<BTreeMap<(String, Key), u32>> = const { RefCell::new(BTreeMap::new()) };
}

/// Counts a panic of what it guards.
struct Guard<'g>(&'g Endpoint, Key);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            PANICS.with_borrow_mut(|panics| {
                if panics.len() < MOST {
                    *panics.entry((self.0.0.to_string(), self.1)).or_default() += 1;
                }
            });
        }
    }
}

/// Handles a message of an endpoint. `None`: it was not handled, as that panicked too often.
pub(crate) fn handle<T>(endpoint: &Endpoint, key: Key, work: impl FnOnce() -> T) -> Option<T> {
    let times = PANICS.with_borrow(|panics| match panics.is_empty() {
        true => 0,
        false => panics.get(&(endpoint.0.to_string(), key)).copied().unwrap_or_default(),
    });
    if times >= ENOUGH {
        tracing::error!(endpoint = &*endpoint.0, ?key, "a message is given up: {WHY}");
        return None;
    }
    let _guard = Guard(endpoint, key);
    #[cfg(feature = "faults")]
    on_purpose(key);
    Some(work())
}

/// In test builds a message can be told to be a bad one, by its offset.
#[cfg(feature = "faults")]
fn on_purpose(key: Key) {
    let bad = std::env::var("EDGE_RUNTIME_PANIC_AT_OFFSET").ok().and_then(|at| at.parse().ok());
    assert!(bad != Some(key.offset.0), "on purpose: the message at {}", key.offset.0);
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::domain::row::{Offset, Priority};

    #[test]
    fn a_message_that_panicked_twice_is_not_handled_again_and_others_are() {
        let (up, other) = (Endpoint::upstream(), Endpoint("d/m".into()));
        let key = |offset| Key { priority: Priority(10), offset: Offset(offset) };
        for _ in 0..2 {
            let panicked = catch_unwind(AssertUnwindSafe(|| handle(&up, key(1), || panic!("bad"))));
            assert!(panicked.is_err());
        }
        assert_eq!(handle(&up, key(1), || ()), None);
        assert_eq!(handle(&up, key(2), || 7), Some(7));
        assert_eq!(handle(&other, key(1), || 7), Some(7));
        let once = catch_unwind(AssertUnwindSafe(|| handle(&up, key(3), || panic!("bad"))));
        assert!(once.is_err());
        assert_eq!(handle(&up, key(3), || 7), Some(7));
    }
}
