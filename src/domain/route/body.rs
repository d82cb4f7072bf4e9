//! The values of a JSON body: read in one pass, only those that some condition uses; the rest is
//! checked and skipped.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::path::BodyPath;
use super::value::Value;

/// The places that are looked for, as a tree; node 0 is the whole body.
#[derive(Clone, Debug)]
pub(super) struct Places {
    nodes: Vec<Node>,
    count: usize,
}

#[derive(Clone, Debug, Default)]
struct Node {
    named: Vec<(Box<str>, usize)>,
    indexed: Vec<(usize, usize)>,
    /// Whose value is wanted.
    place: Option<usize>,
}

impl Default for Places {
    fn default() -> Self {
        Places { nodes: vec![Node::default()], count: 0 }
    }
}

impl Places {
    /// Its number.
    pub(super) fn note(&mut self, path: &BodyPath) -> usize {
        let mut at = 0;
        for step in path.steps() {
            at = match self.named(at, &step.name) {
                Some(below) => below,
                None => {
                    let below = self.grow();
                    self.nodes[at].named.push((step.name.as_str().into(), below));
                    below
                }
            };
            let Some(index) = step.index else { continue };
            at = match self.indexed(at, index) {
                Some(below) => below,
                None => {
                    let below = self.grow();
                    self.nodes[at].indexed.push((index, below));
                    below
                }
            };
        }
        *self.nodes[at].place.get_or_insert_with(|| {
            self.count += 1;
            self.count - 1
        })
    }

    fn grow(&mut self) -> usize {
        self.nodes.push(Node::default());
        self.nodes.len() - 1
    }

    fn named(&self, at: usize, name: &str) -> Option<usize> {
        let named = &self.nodes[at].named;
        named.iter().find(|(other, _)| **other == *name).map(|(_, below)| *below)
    }

    fn indexed(&self, at: usize, index: usize) -> Option<usize> {
        let indexed = &self.nodes[at].indexed;
        indexed.iter().find(|(other, _)| *other == index).map(|(_, below)| *below)
    }

    /// The values at all places; `None` if the text is no JSON object.
    pub(super) fn read<'de>(&self, text: &'de str) -> Option<Vec<Value<'de>>> {
        let mut found = vec![Value::Missing; self.count];
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if !text.trim_start().starts_with('{') {
            return None;
        }
        let mut json = serde_json::Deserializer::from_str(text);
        Seed { places: self, at: 0, found: &mut found }.deserialize(&mut json).ok()?;
        json.end().ok()?;
        Some(found)
    }

    /// Of all places at a node and below.
    fn forget(&self, at: usize, found: &mut [Value<'_>]) {
        let node = &self.nodes[at];
        if let Some(place) = node.place {
            found[place] = Value::Missing;
        }
        let below =
            node.named.iter().map(|(_, at)| at).chain(node.indexed.iter().map(|(_, at)| at));
        below.for_each(|at| self.forget(*at, found));
    }
}

struct Seed<'s, 'de> {
    places: &'s Places,
    at: usize,
    found: &'s mut [Value<'de>],
}

impl<'de> Seed<'_, 'de> {
    fn put<E>(self, value: Value<'de>) -> Result<(), E> {
        if let Some(place) = self.places.nodes[self.at].place {
            self.found[place] = value;
        }
        Ok(())
    }

    fn below(&mut self, at: usize) -> Seed<'_, 'de> {
        // Of a name that is there twice the last counts, whole.
        self.places.forget(at, self.found);
        Seed { places: self.places, at, found: self.found }
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E: Error>(self, is_true: bool) -> Result<(), E> {
        self.put(Value::Bool(is_true))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<(), E> {
        self.put(Value::Number(number as f64))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        self.put(Value::Number(number as f64))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        self.put(Value::number(number))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<(), E> {
        self.put(Value::text(text))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.put(Value::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.put(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut all: A) -> Result<(), A::Error> {
        for index in 0.. {
            let is_there = match self.places.indexed(self.at, index) {
                Some(at) => all.next_element_seed(self.below(at))?.is_some(),
                None => all.next_element::<IgnoredAny>()?.is_some(),
            };
            if !is_there {
                break;
            }
        }
        self.put(Value::Undefined)
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut all: A) -> Result<(), A::Error> {
        let (places, at) = (self.places, self.at);
        while let Some(below) = all.next_key_seed(Key { places, at })? {
            match below {
                Some(at) => all.next_value_seed(self.below(at))?,
                None => all.next_value::<IgnoredAny>().map(|_| ())?,
            }
        }
        self.put(Value::Undefined)
    }
}

/// The node below that a name leads to.
struct Key<'s> {
    places: &'s Places,
    at: usize,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Option<usize>, D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Option<usize>, E> {
        Ok(self.places.named(self.at, name))
    }
}

/// A body as text, if its encoding is one that is known; of one and the same many conditions may ask.
pub(super) fn decoded<'m>(encoding: &str, body: &'m [u8]) -> Option<Cow<'m, str>> {
    let is = |name: &str| encoding.eq_ignore_ascii_case(name);
    if is("utf-8") {
        std::str::from_utf8(body).ok().map(Cow::Borrowed)
    } else if is("utf-16") {
        let (of, body): (fn([u8; 2]) -> u16, _) = match body {
            [0xfe, 0xff, body @ ..] => (u16::from_be_bytes, body),
            body => (u16::from_le_bytes, body),
        };
        let (units, []) = body.as_chunks::<2>() else { return None };
        let units = char::decode_utf16(units.iter().map(|unit| of(*unit)));
        units.collect::<Result<String, _>>().ok().map(Cow::Owned)
    } else if is("utf-32") {
        let (of, body): (fn([u8; 4]) -> u32, _) = match body {
            [0, 0, 0xfe, 0xff, body @ ..] => (u32::from_be_bytes, body),
            body => (u32::from_le_bytes, body),
        };
        let (units, []) = body.as_chunks::<4>() else { return None };
        let text: Option<String> = units.iter().map(|unit| char::from_u32(of(*unit))).collect();
        text.map(Cow::Owned)
    } else {
        None
    }
}
