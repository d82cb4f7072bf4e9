//! The canonical text of a bag, taken apart without decoding it: each name and value has one form.

use super::escape_parts;

/// Properties of a text of more than these are not looked at one by one with all others.
const FEW: usize = 8;

/// Names and values as they stand in the text.
pub(super) fn pairs(text: &str) -> impl Iterator<Item = Pair<'_>> {
    text.split('&').filter(|pair| !pair.is_empty()).map(|pair| match pair.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (pair, None),
    })
}

type Pair<'t> = (&'t str, Option<&'t str>);

/// Whether this is how `plain` is written.
pub(super) fn is_escaped(escaped: &str, plain: &str) -> bool {
    let mut rest = Some(escaped);
    for part in escape_parts(plain) {
        rest = rest.and_then(|rest| rest.strip_prefix(part));
    }
    rest == Some("")
}

/// Whether the pair has one of these names.
pub(super) fn is_one_of((name, _): Pair<'_>, names: &[&str]) -> bool {
    names.iter().any(|plain| is_escaped(name, plain))
}

/// Whether a text is surely canonical; of one that is not at sight it is not said.
pub(super) fn is_canonical(text: &str) -> bool {
    if text.is_empty() {
        return true;
    }
    let mut names = [""; FEW];
    for (index, pair) in text.split('&').enumerate() {
        let (name, value) = match pair.split_once('=') {
            Some((name, value)) => (name, value),
            None => (pair, ""),
        };
        if index == FEW || name.is_empty() || !is_plain(name) || !is_plain(value) {
            return false;
        }
        if names[..index].contains(&name) {
            return false;
        }
        names[index] = name;
    }
    true
}

/// Unreserved characters, and others of ASCII as `%` and two digits.
fn is_plain(text: &str) -> bool {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let is_fine = match byte {
            b'%' => match (digit(bytes.next()), digit(bytes.next())) {
                (Some(high), Some(low)) => high < 8 && !is_unreserved(high << 4 | low),
                _ => false,
            },
            byte => is_unreserved(byte),
        };
        if !is_fine {
            return false;
        }
    }
    true
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~')
}

fn digit(byte: Option<u8>) -> Option<u8> {
    match byte? {
        digit @ b'0'..=b'9' => Some(digit - b'0'),
        digit @ b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}
