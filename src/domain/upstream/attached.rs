//! Who is attached on the link, with which features. All are attached anew on each connection.

use std::collections::BTreeMap;

use crate::domain::features::Features;
use crate::domain::identity::Identity;

/// See the module documentation.
#[derive(Debug, Default)]
pub struct Attached {
    /// Who is online here.
    wanted: BTreeMap<Identity, Features>,
    /// The request that last told the parent, if it is not answered yet.
    telling: BTreeMap<Identity, u64>,
}

impl Attached {
    /// Somebody came, changed its features, or left. False: the parent knows, or will soon.
    pub fn on_presence(&mut self, identity: &Identity, features: Option<Features>) -> bool {
        match features {
            Some(features) => {
                let old = self.wanted.insert(identity.clone(), features);
                old.is_none_or(|old| wire(old) != wire(features))
            }
            None => self.wanted.remove(identity).is_some(),
        }
    }

    /// What the parent is to be told of `identity`; `None`: that it left.
    pub fn features(&self, identity: &Identity) -> Option<Features> {
        self.wanted.get(identity).copied()
    }

    /// The parent is told by this request. Answers the one before that is not answered yet: it
    /// must not be asked again, since it would undo what this one says.
    pub fn on_telling(&mut self, identity: &Identity, rid: u64) -> Option<u64> {
        self.telling.insert(identity.clone(), rid)
    }

    /// The request that is under way for `identity`.
    pub fn telling(&self, identity: &Identity) -> Option<u64> {
        self.telling.get(identity).copied()
    }

    /// The parent answered.
    pub fn on_told(&mut self, identity: &Identity, rid: u64) {
        if self.telling.get(identity) == Some(&rid) {
            self.telling.remove(identity);
        }
    }

    /// The link is gone: nobody is attached.
    pub fn on_lost(&mut self) {
        self.telling.clear();
    }

    /// All who are to be attached on a new connection.
    pub fn all(&self) -> impl Iterator<Item = &Identity> {
        self.wanted.keys()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.wanted.len()
    }

    /// None.
    pub fn is_empty(&self) -> bool {
        self.wanted.is_empty()
    }
}

/// What stands on the link: inputs are a matter of the edge alone.
fn wire(features: Features) -> Features {
    Features { inputs: false, ..features }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_is_told_of_what_has_changed_for_it_and_no_more() {
        let mut attached = Attached::default();
        let leaf = Identity::parse("leaf").unwrap();
        let features = |c2d, inputs| Features { c2d, inputs, ..Features::default() };
        assert!(attached.on_presence(&leaf, Some(features(false, false))), "it came");
        assert!(!attached.on_presence(&leaf, Some(features(false, true))), "inputs are ours");
        assert!(attached.on_presence(&leaf, Some(features(true, true))));
        assert!(attached.on_presence(&leaf, None));
        assert!(!attached.on_presence(&leaf, None), "it was gone");
    }

    #[test]
    fn a_later_word_on_an_identity_replaces_an_earlier_one_that_is_not_answered() {
        let mut attached = Attached::default();
        let leaf = Identity::parse("leaf").unwrap();
        assert_eq!(attached.on_telling(&leaf, 1), None);
        assert_eq!(attached.on_telling(&leaf, 2), Some(1));
        attached.on_told(&leaf, 1);
        assert_eq!(attached.telling(&leaf), Some(2));
        attached.on_told(&leaf, 2);
        assert_eq!(attached.on_telling(&leaf, 3), None);
    }
}
