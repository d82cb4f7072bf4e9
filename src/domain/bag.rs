//! The property bag: all properties of a message, as they stand in its topic (spec sdk.md 1.4).
//!
//! `k=v` pairs joined by `&`, both percent-encoded. Kept as canonical text, decoded on the way
//! through: a message is stored and sent on without taking its properties apart.

mod canonical;

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, LazyLock};

use percent_encoding::{
    AsciiSet, NON_ALPHANUMERIC, PercentEncode, percent_decode_str, utf8_percent_encode,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What stays as it is: the unreserved characters of RFC 3986.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// See the module documentation.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Bag(Arc<str>);

/// Why a text is not a bag.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadBag {
    /// `=v`
    #[error("property without a name")]
    NoName,
    /// `k=v=w`
    #[error("property `{0}` has a second `=`: write it as %3D")]
    TwoValues(String),
    /// `%FF`
    #[error("property `{0}` is not UTF-8")]
    NotUtf8(String),
}

/// Percent-encodes a name or a value.
pub fn escape(text: &str) -> impl fmt::Display + '_ {
    escape_parts(text)
}

/// The same, in parts.
pub(super) fn escape_parts(text: &str) -> PercentEncode<'_> {
    utf8_percent_encode(text, ESCAPED)
}

impl Bag {
    /// The text after `events/` or the like. A leading `?` and a trailing `/` do not belong to it;
    /// `+` is a plus; a pair without `=` has no value; of equal names the last counts.
    pub fn parse(text: &str) -> Result<Self, BadBag> {
        let text = text.strip_prefix('?').unwrap_or(text);
        let text = text.strip_suffix('/').unwrap_or(text);
        if canonical::is_canonical(text) {
            return Ok(Self::from_stored(text));
        }
        Self::parse_any(text)
    }

    fn parse_any(text: &str) -> Result<Self, BadBag> {
        let mut pairs = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = match pair.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (pair, None),
            };
            if value.is_some_and(|value| value.contains('=')) {
                return Err(BadBag::TwoValues(name.to_owned()));
            }
            let decode = |part| percent_decode_str(part).decode_utf8();
            let not_utf8 = |_| BadBag::NotUtf8(name.to_owned());
            let name = decode(name).map_err(not_utf8)?;
            let value =
                value.map(decode).transpose().map_err(|_| BadBag::NotUtf8(name.to_string()))?;
            if name.is_empty() {
                return Err(BadBag::NoName);
            }
            pairs.push((name, value));
        }
        Ok(Self::of_decoded(&pairs))
    }

    /// Of decoded names and values. One without a name is left out; of equal names the last counts.
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, Option<&'a str>)>) -> Self {
        let pairs = pairs.into_iter().filter(|(name, _)| !name.is_empty());
        let pairs = pairs.map(|(name, value)| (name.into(), value.map(Cow::from)));
        Self::of_decoded(&pairs.collect::<Vec<_>>())
    }

    /// A set, not a search for each: a topic has room for many thousand names.
    fn of_decoded(pairs: &[(Cow<'_, str>, Option<Cow<'_, str>>)]) -> Self {
        let mut seen = HashSet::new();
        let is_last: Vec<bool> = pairs.iter().rev().map(|(name, _)| seen.insert(name)).collect();
        let mut text = String::new();
        for ((name, value), _) in pairs.iter().zip(is_last.iter().rev()).filter(|(_, last)| **last)
        {
            push(&mut text, name, value.as_deref());
        }
        Bag(text.into())
    }

    /// What `as_str` gave, back from a store that would have noticed a change.
    pub fn from_stored(text: &str) -> Self {
        if text.is_empty() { Bag::default() } else { Bag(text.into()) }
    }

    /// As it stands in a topic.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Length as it stands in a topic, in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// No properties.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Decoded names and values, in order.
    pub fn pairs(&self) -> impl Iterator<Item = (Cow<'_, str>, Option<Cow<'_, str>>)> {
        self.0.split('&').filter(|pair| !pair.is_empty()).map(|pair| match pair.split_once('=') {
            Some((name, value)) => (unescape(name), Some(unescape(value))),
            None => (unescape(pair), None),
        })
    }

    /// The value of a name: `Some(None)` if it is there without one.
    pub fn get(&self, name: &str) -> Option<Option<Cow<'_, str>>> {
        let mut pairs = canonical::pairs(&self.0);
        let (_, value) = pairs.find(|(other, _)| canonical::is_escaped(other, name))?;
        Some(value.map(unescape))
    }

    /// Like `get`, whatever the case.
    pub fn get_ignore_case(&self, name: &str) -> Option<Option<Cow<'_, str>>> {
        self.pairs().find(|(other, _)| eq_ignore_case(other, name)).map(|(_, value)| value)
    }

    /// The value of a name that is there with one.
    pub fn value(&self, name: &str) -> Option<Cow<'_, str>> {
        self.get(name).flatten()
    }

    /// Without these names.
    pub fn without(&self, names: &[&str]) -> Bag {
        let is_named = |pair| canonical::is_one_of(pair, names);
        if !canonical::pairs(&self.0).any(is_named) {
            return self.clone();
        }
        let mut text = String::with_capacity(self.0.len());
        self.append_without(names, &mut text);
        Bag::from_stored(&text)
    }

    /// With these at the end; they replace what has the same name.
    pub fn with(&self, added: &[(&str, &str)]) -> Bag {
        let names: Vec<_> = added.iter().map(|(name, _)| *name).collect();
        let mut text = String::with_capacity(self.0.len() + 32 * added.len());
        self.append_without(&names, &mut text);
        for (name, value) in added {
            push(&mut text, name, Some(value));
        }
        Bag::from_stored(&text)
    }

    /// Appends the text of all but these names to one that has no properties yet.
    pub fn append_without(&self, names: &[&str], text: &mut String) {
        let mut joint = "";
        for (name, value) in canonical::pairs(&self.0) {
            if canonical::is_one_of((name, value), names) {
                continue;
            }
            text.push_str(std::mem::replace(&mut joint, "&"));
            text.push_str(name);
            if let Some(value) = value {
                text.push('=');
                text.push_str(value);
            }
        }
    }
}

fn push(text: &mut String, name: &str, value: Option<&str>) {
    use std::fmt::Write;
    if !text.is_empty() {
        text.push('&');
    }
    let written = match value {
        Some(value) => write!(text, "{}={}", escape(name), escape(value)),
        None => write!(text, "{}", escape(name)),
    };
    written.expect("a string takes everything");
}

/// Whether two names differ in case at most.
pub fn eq_ignore_case(a: &str, b: &str) -> bool {
    if a.is_ascii() && b.is_ascii() {
        return a.eq_ignore_ascii_case(b);
    }
    a.chars().flat_map(char::to_uppercase).eq(b.chars().flat_map(char::to_uppercase))
}

fn unescape(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8().expect("checked when the bag was made")
}

impl Default for Bag {
    fn default() -> Self {
        static EMPTY: LazyLock<Arc<str>> = LazyLock::new(|| "".into());
        Bag(Arc::clone(&EMPTY))
    }
}

impl fmt::Debug for Bag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Bag {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bag {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Bag::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, canonical: &str) {
        assert_eq!(Bag::parse(text).unwrap().as_str(), canonical, "{text}");
    }

    #[test]
    fn a_bag_is_kept_in_canonical_form() {
        check("", "");
        check("a=b&%24.ct=application%2fjson/", "a=b&%24.ct=application%2Fjson");
        check("?a=1+2&flag&empty=", "a=1%2B2&flag&empty=");
        check("a=1&b=2&a=3", "b=2&a=3");
        check("k%20%C3%BC=v%2F1", "k%20%C3%BC=v%2F1");
    }

    #[test]
    fn what_is_not_a_bag_is_named() {
        assert_eq!(Bag::parse("=v"), Err(BadBag::NoName));
        assert_eq!(Bag::parse("a=b=c"), Err(BadBag::TwoValues("a".into())));
        assert_eq!(Bag::parse("a=%FF"), Err(BadBag::NotUtf8("a".into())));
    }

    #[test]
    fn properties_are_found_added_and_left_out() {
        let bag = Bag::parse("%24.on=out&Level=info&flag").unwrap();
        assert_eq!(bag.value("$.on").as_deref(), Some("out"));
        assert_eq!(bag.get_ignore_case("level"), Some(Some("info".into())));
        assert_eq!((bag.get("flag"), bag.get("none")), (Some(None), None));
        assert_eq!(bag.without(&["$.on"]).as_str(), "Level=info&flag");
        assert_eq!(bag.with(&[("Level", "a b")]).as_str(), "%24.on=out&flag&Level=a%20b");
    }

    #[test]
    fn a_bag_made_of_any_pairs_can_be_read_again() {
        let pairs = [("", Some("v")), ("a", Some("1")), ("b", None), ("a", Some("2"))];
        let bag = Bag::from_pairs(pairs);
        assert_eq!(bag.as_str(), "b&a=2");
        assert_eq!(Bag::parse(bag.as_str()), Ok(bag));
    }

    proptest! {
        #[test]
        fn what_is_put_in_comes_out(pairs in prop::collection::btree_map(".{1,9}", prop::option::of(".{0,9}"), 0..5)) {
            let pairs: Vec<_> = pairs.iter().map(|(k, v)| (k.as_str(), v.as_deref())).collect();
            let bag = Bag::from_pairs(pairs.iter().copied());
            let again = Bag::parse(bag.as_str()).unwrap();
            prop_assert_eq!(&again, &bag);
            let out: Vec<_> = again.pairs().map(|(k, v)| (k.into_owned(), v.map(Cow::into_owned))).collect();
            let put: Vec<_> = pairs.iter().map(|(k, v)| ((*k).to_owned(), v.map(str::to_owned))).collect();
            prop_assert_eq!(out, put);
        }

        #[test]
        fn what_is_canonical_at_sight_would_not_have_been_changed(
            text in "([ab$%=&/~]|%24|%2f|%2F|%41|%C3%BC){0,12}",
        ) {
            let slow = Bag::parse_any(&text);
            if canonical::is_canonical(&text) {
                prop_assert_eq!(slow.as_ref().map(Bag::as_str), Ok(text.as_str()));
            }
            if let Ok(bag) = slow {
                let names = ["a", "$", "b", "ü", "$a", "/"];
                for name in names {
                    let found = bag.pairs().find(|(other, _)| other == name);
                    prop_assert_eq!(bag.get(name), found.map(|(_, value)| value));
                }
                let kept = bag.pairs().filter(|(name, _)| !names[..3].contains(&&**name));
                let kept: Vec<_> = kept.map(|(k, v)| (k.into_owned(), v.map(Cow::into_owned))).collect();
                let kept = Bag::from_pairs(kept.iter().map(|(k, v)| (k.as_str(), v.as_deref())));
                prop_assert_eq!(bag.without(&names[..3]), kept);
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,60}") {
            if let Ok(bag) = Bag::parse(&text) {
                let _ = bag.pairs().count();
            }
        }
    }
}
