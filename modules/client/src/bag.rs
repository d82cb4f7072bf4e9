//! The property bag at the end of a topic: `k=v&k=v`, both percent-encoded.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// Everything but the unreserved characters of RFC 3986: a space is `%20`, never `+`.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Percent-encodes one name or value.
pub(crate) fn escape(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

/// Undoes [`escape`]; what is not UTF-8 becomes the replacement character.
pub(crate) fn unescape(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// Writes pairs in the order given.
pub(crate) fn encode<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut bag = String::new();
    for (name, value) in pairs {
        if !bag.is_empty() {
            bag.push('&');
        }
        bag.push_str(&escape(name));
        bag.push('=');
        bag.push_str(&escape(value));
    }
    bag
}

/// Reads pairs; a name without `=` has the empty value; one trailing slash is ignored.
pub(crate) fn decode(bag: &str) -> impl Iterator<Item = (String, String)> {
    bag.strip_suffix('/').unwrap_or(bag).split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (unescape(name), unescape(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pairs: &[(&str, &str)], text: &str) {
        assert_eq!(encode(pairs.iter().copied()), text);
        let back: Vec<_> = decode(text).collect();
        let want: Vec<_> = pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        assert_eq!(back, want);
    }

    #[test]
    fn a_bag_is_written_and_read_back() {
        check(&[], "");
        check(&[("$.on", "output1")], "%24.on=output1");
        check(&[("a b", "x/y&z=1"), ("ü", "+")], "a%20b=x%2Fy%26z%3D1&%C3%BC=%2B");
    }

    #[test]
    fn a_plus_is_a_plus_and_a_bare_name_has_an_empty_value() {
        let pairs: Vec<_> = decode("a=1+2&b&/").collect();
        assert_eq!(pairs, [("a".into(), "1+2".into()), ("b".into(), String::new())]);
    }
}
