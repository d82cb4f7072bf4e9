//! Names whose case does not matter, made alike once, so that they can be looked up.

use std::cmp::Ordering;

/// The form that all spellings share.
pub(super) fn folded(name: &str) -> Box<str> {
    name.chars().flat_map(char::to_uppercase).collect::<String>().into()
}

/// How a folded name compares with another that is not folded yet; nothing is allocated.
pub(super) fn compare(folded: &str, name: &str) -> Ordering {
    match name.is_ascii() {
        true => folded.bytes().cmp(name.bytes().map(|byte| byte.to_ascii_uppercase())),
        false => folded.chars().cmp(name.chars().flat_map(char::to_uppercase)),
    }
}
