//! What the client has of its desired properties: which it surely has, and which it has if what
//! is under way reaches it.
//!
//! A telling may be lost with the client's connection, or with this process. So until the client
//! has taken it, what is known of the client is an *envelope*: a document in which null stands
//! for "one value or another, or none". The difference of an envelope to a document turns each
//! of the documents that it stands for into that one.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{EdgeTwin, Telling};
use crate::domain::twin::diff_object;

/// The desired properties that the client surely has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) enum Told {
    /// It never asked for any.
    #[default]
    Never,
    /// Those that are in the twin now.
    Current,
    /// One of these: an envelope.
    Earlier(Map<String, Value>),
}

impl EdgeTwin {
    /// Something that changes the desired properties from `before` is to be told: as `patch`, if
    /// the client has `before`, or will have it.
    pub(super) fn tell(
        &mut self,
        before: &Map<String, Value>,
        patch: Map<String, Value>,
    ) -> Telling {
        let mut is_near = self.under_way.is_some();
        if self.told == Told::Current {
            (self.told, is_near) = (Told::Earlier(before.clone()), true);
        }
        let now = &self.desired.properties;
        let (told, patch) = match &self.told {
            Told::Earlier(earlier) if !is_near => {
                (Told::Earlier(envelope(earlier, now)), diff_object(earlier, now))
            }
            Told::Earlier(earlier) => (Told::Earlier(envelope(earlier, now)), patch),
            Told::Never | Told::Current => (Told::Never, patch),
        };
        self.launch(told, patch)
    }

    /// What the client lacks, whatever it has of what was told; `None` if that is nothing.
    pub fn tell_all(&mut self) -> Option<Telling> {
        let Told::Earlier(earlier) = &self.told else { return None };
        let patch = diff_object(earlier, &self.desired.properties);
        if patch.is_empty() {
            (self.told, self.under_way) = (Told::Current, None);
            return None;
        }
        let told = Told::Earlier(envelope(earlier, &self.desired.properties));
        Some(self.launch(told, patch))
    }

    fn launch(&mut self, told: Told, patch: Map<String, Value>) -> Telling {
        let before = std::mem::replace(&mut self.told, told);
        let was_near = self.under_way.is_some();
        self.tellings += 1;
        self.under_way = Some((self.tellings, self.desired.version));
        let (number, version) = (self.tellings, self.desired.version);
        Telling { number, version, patch, before, was_near }
    }

    /// The client has taken what was told with this version. Answers whether that is news.
    pub fn on_taken(&mut self, version: u64) -> bool {
        let is_last = self.under_way.is_some_and(|(_, under_way)| under_way == version);
        if is_last {
            (self.told, self.under_way) = (Told::Current, None);
        }
        is_last
    }

    /// A telling was not even sent. Answers whether all is to be told again: a later one was sent,
    /// which needs it.
    pub fn on_not_told(&mut self, telling: Telling) -> bool {
        match self.under_way.filter(|_| self.is_due(&telling)) {
            Some((number, _)) if number == telling.number => {
                self.under_way = None;
                if !telling.was_near {
                    self.told = telling.before; // else what was under way is in doubt too
                }
                false
            }
            Some(_) => {
                self.under_way = None;
                true
            }
            None => false,
        }
    }

    /// Whether it is still to be sent.
    pub fn is_due(&self, telling: &Telling) -> bool {
        telling.number > self.void
    }

    /// The client is on a new connection: what was under way may have been lost.
    pub fn on_connected(&mut self) {
        (self.under_way, self.void) = (None, self.tellings);
    }

    /// The client has asked for patches: what it does not have already, it gets as one. With the
    /// parent's twin read in time it has that; else what is kept of it; else nothing yet. Answers
    /// what it has missed since it was last told, if that is known, and whether anything changed.
    pub fn on_watched(&mut self) -> (Option<Telling>, bool) {
        match self.told {
            Told::Never if self.is_known => {
                self.told = Told::Current;
                (None, true)
            }
            Told::Never => {
                self.told = Told::Earlier(Map::new());
                (None, true)
            }
            Told::Earlier(_) if self.is_known && self.under_way.is_none() => {
                (self.tell_all(), true)
            }
            Told::Current | Told::Earlier(_) => (None, false),
        }
    }

    /// The client read the twin as it is now.
    pub fn on_read(&mut self) {
        (self.told, self.under_way, self.void) = (Told::Current, None, self.tellings);
    }
}

/// Stands for both: where they differ there is null, or an object in which all is in doubt.
fn envelope(one: &Map<String, Value>, other: &Map<String, Value>) -> Map<String, Value> {
    let names = one.keys().chain(other.keys().filter(|name| !one.contains_key(*name)));
    let entry = |name: &String| (name.clone(), join(one.get(name), other.get(name)));
    names.map(entry).collect()
}

fn join(one: Option<&Value>, other: Option<&Value>) -> Value {
    match (one, other) {
        (Some(Value::Object(one)), Some(Value::Object(other))) => {
            Value::Object(envelope(one, other))
        }
        (Some(one), Some(other)) if one == other => one.clone(),
        (Some(Value::Object(object)), _) | (_, Some(Value::Object(object))) => in_doubt(object),
        _ => Value::Null,
    }
}

/// The object, or something else, or nothing. Null if it is empty, or it would be taken for known.
fn in_doubt(object: &Map<String, Value>) -> Value {
    if object.is_empty() {
        return Value::Null;
    }
    let all = object.iter().map(|(name, value)| {
        let value = value.as_object().map_or(Value::Null, in_doubt);
        (name.clone(), value)
    });
    Value::Object(all.collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::document;
    use super::*;
    use crate::domain::twin::merge_object;

    proptest! {
        #[test]
        fn the_difference_to_an_envelope_turns_each_that_it_stands_for_into_the_document(
            documents in prop::collection::vec(document(), 1..5),
            wanted in document(),
        ) {
            let mut documents = documents.into_iter();
            let first = documents.next().unwrap();
            let (mut whole, mut all) = (first.clone(), vec![first]);
            for next in documents {
                whole = envelope(&whole, &next);
                all.push(next);
            }
            let patch = diff_object(&whole, &wanted);
            for mut document in all {
                merge_object(&mut document, &patch);
                prop_assert_eq!(&document, &wanted);
            }
        }
    }
}
