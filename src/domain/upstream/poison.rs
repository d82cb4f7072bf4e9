//! A parent that knows no refusals and closes instead (link.md, close): which message does it.

use crate::domain::identity::Identity;
use crate::domain::row::Key;

/// So many closes with the same oldest message, and again so many with it alone.
const CLOSES: u32 = 3;

/// See the module documentation.
#[derive(Debug, Default)]
pub struct Poison {
    suspect: Option<Key>,
    closes: u32,
}

/// What follows from a close.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go on as before.
    Nothing,
    /// Send one message at a time.
    OneAtATime,
    /// This is it: dead-letter it, and go on as before.
    GiveUp(Key, Identity),
}

impl Poison {
    /// The parent closed in good order; `oldest` had waited longest for its PUBACK. Anything
    /// else that ends a link (cut, silence, absence) is no word on a message.
    pub fn on_closed(&mut self, oldest: Option<(Key, Identity)>) -> Verdict {
        let Some((key, sender)) = oldest else { return Verdict::Nothing };
        if self.suspect != Some(key) {
            self.suspect = Some(key);
            self.closes = 0;
        }
        self.closes += 1;
        if self.closes >= 2 * CLOSES {
            *self = Poison::default();
            return Verdict::GiveUp(key, sender);
        }
        if self.is_narrow() { Verdict::OneAtATime } else { Verdict::Nothing }
    }

    /// The parent answered a message. True: it was the suspect, so go on as before.
    pub fn on_answered(&mut self, key: Key) -> bool {
        if self.suspect != Some(key) {
            return false;
        }
        let was_narrow = self.is_narrow();
        *self = Poison::default();
        was_narrow
    }

    fn is_narrow(&self) -> bool {
        self.closes >= CLOSES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::row::{Offset, Priority};

    fn oldest(offset: u64) -> (Key, Identity) {
        let key = Key { priority: Priority(5), offset: Offset(offset) };
        (key, Identity::parse("leaf").unwrap())
    }

    #[test]
    fn a_message_that_makes_the_parent_close_six_times_is_given_up() {
        let mut poison = Poison::default();
        let verdicts: Vec<_> = (0..6).map(|_| poison.on_closed(Some(oldest(1)))).collect();
        let (key, sender) = oldest(1);
        use Verdict::{GiveUp, Nothing, OneAtATime};
        let given_up = GiveUp(key, sender);
        assert_eq!(verdicts, [Nothing, Nothing, OneAtATime, OneAtATime, OneAtATime, given_up]);
        assert_eq!(poison.on_closed(Some(oldest(2))), Nothing);
    }

    #[test]
    fn another_oldest_message_or_an_answer_begins_the_count_anew() {
        let mut poison = Poison::default();
        for offset in [1, 1, 2, 2, 1, 1] {
            assert_eq!(poison.on_closed(Some(oldest(offset))), Verdict::Nothing);
        }
        assert_eq!(poison.on_closed(None), Verdict::Nothing, "nothing was sent");
        assert_eq!(poison.on_closed(Some(oldest(1))), Verdict::OneAtATime);
        assert!(!poison.on_answered(oldest(2).0));
        assert!(poison.on_answered(oldest(1).0));
        assert_eq!(poison.on_closed(Some(oldest(1))), Verdict::Nothing);
    }
}
