//! Messages on a link that the parent does not take for now (link.md, refusal).
//!
//! So that nothing overtakes a refused message, everything more that its sender has on the way
//! with the same number of tries is refused alike.

use std::collections::BTreeMap;

use super::delivery::Answer;
use super::identity::Identity;

/// The try of each sender that was refused last.
#[derive(Debug, Default)]
pub struct Refusals(BTreeMap<Identity, (u64, u16)>);

impl Refusals {
    /// The status with which a message is refused, if it is. `attempt`: `$.try` of the link;
    /// `status`: what there is to say of this message by itself.
    ///
    /// A refusal for good concerns one message; those behind it overtake nothing.
    pub fn judge(&mut self, sender: &Identity, attempt: u64, status: Option<u16>) -> Option<u16> {
        if let Some((_, status)) = self.0.get(sender).filter(|(refused, _)| *refused == attempt) {
            return Some(*status);
        }
        match status {
            Some(status) if matches!(Answer::of_refusal(status), Answer::Throttled(_)) => {
                self.0.insert(sender.clone(), (attempt, status));
            }
            _ => drop(self.0.remove(sender)),
        }
        status
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_a_try_is_refused_alike_and_the_next_try_is_decided_anew() {
        let mut refusals = Refusals::default();
        let (one, two) = (Identity::parse("one").unwrap(), Identity::parse("two").unwrap());
        assert_eq!(refusals.judge(&one, 0, Some(429)), Some(429));
        assert_eq!(refusals.judge(&one, 0, None), Some(429), "it would overtake");
        assert_eq!(refusals.judge(&two, 0, None), None);
        assert_eq!(refusals.judge(&one, 1, None), None);
        assert_eq!(refusals.judge(&one, 1, Some(503)), Some(503));
        assert_eq!(refusals.judge(&one, 1, None), Some(503));
    }

    #[test]
    fn a_refusal_for_good_is_of_one_message() {
        let mut refusals = Refusals::default();
        let one = Identity::parse("one").unwrap();
        assert_eq!(refusals.judge(&one, 0, Some(400)), Some(400));
        assert_eq!(refusals.judge(&one, 0, None), None);
    }
}
