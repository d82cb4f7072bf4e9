//! Messages on a link that the parent does not take (link.md, refusal).
//!
//! So that nothing overtakes a refused message, everything more that its sender has on the way
//! with the same number of tries is refused alike.

use std::collections::BTreeMap;

use super::identity::Identity;

/// Whose messages are refused.
#[derive(Debug, Default)]
pub struct Refusals {
    /// On request, in test builds.
    faults: BTreeMap<Identity, u16>,
    /// The try of each sender that was refused last.
    refused: BTreeMap<Identity, (u64, u16)>,
}

impl Refusals {
    /// From now on messages of `sender` are refused with `status`; `None`: taken.
    pub fn set(&mut self, sender: Identity, status: Option<u16>) {
        match status {
            Some(status) => self.faults.insert(sender, status),
            None => self.faults.remove(&sender),
        };
    }

    /// The status with which a message is refused, if it is. `attempt`: `$.try` of the link.
    pub fn refuse(&mut self, sender: &Identity, attempt: Option<u64>) -> Option<u16> {
        let attempt = attempt?; // clients of our own know no refusals
        let before = self.refused.get(sender).filter(|(refused, _)| *refused == attempt);
        if let Some((_, status)) = before {
            return Some(*status);
        }
        match self.faults.get(sender) {
            Some(status) => {
                self.refused.insert(sender.clone(), (attempt, *status));
                Some(*status)
            }
            None => {
                self.refused.remove(sender);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_a_try_is_refused_alike_and_the_next_try_is_decided_anew() {
        let mut refusals = Refusals::default();
        let (one, two) = (Identity::parse("one").unwrap(), Identity::parse("two").unwrap());
        refusals.set(one.clone(), Some(429));
        assert_eq!(refusals.refuse(&one, Some(0)), Some(429));
        refusals.set(one.clone(), None);
        assert_eq!(refusals.refuse(&one, Some(0)), Some(429), "it would overtake");
        assert_eq!(refusals.refuse(&one, Some(1)), None);
        assert_eq!(refusals.refuse(&two, Some(0)), None);
        refusals.set(two.clone(), Some(400));
        assert_eq!(refusals.refuse(&two, None), None, "not on a link");
    }
}
