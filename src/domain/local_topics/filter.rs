//! Which topics are local, and how filters lie to one another. The crates' own matchers panic on
//! topics that begin with a letter outside ASCII; these know of bytes nothing.

use crate::domain::topic;

/// Longest topic or filter.
pub const MAX_LENGTH: usize = 1024;
/// Most levels of one.
pub const MAX_LEVELS: usize = 32;

/// Why a topic or a filter cannot be a local one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadLocal {
    /// Reserved.
    #[error("topics that begin with `$` or `devices/` are IoT Hub's")]
    Reserved,
    /// Too long.
    #[error("local topics have at most {MAX_LENGTH} bytes and {MAX_LEVELS} levels")]
    TooLong,
    /// Empty, or with the character U+0000.
    #[error("a topic has at least one character, and none of them is U+0000")]
    Malformed,
    /// Of a filter only.
    #[error("`#` stands alone and last in a filter, `+` alone between slashes")]
    BadWildcard,
}

/// Whether this is none of IoT Hub's topics or filters: those never become local ones.
pub fn is_local(text: &str) -> bool {
    let first = text.split('/').next().unwrap_or_default();
    !text.starts_with('$') && first != "devices"
}

/// Whether a topic may be published to.
pub fn check(topic: &str) -> Result<(), BadLocal> {
    if topic.is_empty() || topic.contains('\0') {
        Err(BadLocal::Malformed)
    } else if !is_local(topic) {
        Err(BadLocal::Reserved)
    } else if topic.len() > MAX_LENGTH || topic.split('/').count() > MAX_LEVELS {
        Err(BadLocal::TooLong)
    } else {
        Ok(())
    }
}

/// Whether a filter may be subscribed to.
pub fn check_filter(filter: &str) -> Result<(), BadLocal> {
    check(filter)?;
    if topic::is_filter(filter) { Ok(()) } else { Err(BadLocal::BadWildcard) }
}

/// `+/#` is `#`: every topic has a first level.
fn levels(filter: &str) -> std::str::Split<'_, char> {
    if filter == "+/#" { "#".split('/') } else { filter.split('/') }
}

/// Whether every topic of `narrow` is one of `wide`.
pub fn covers(wide: &str, narrow: &str) -> bool {
    let mut narrow = levels(narrow);
    for wanted in levels(wide) {
        match (wanted, narrow.next()) {
            ("#", _) => return true,
            (_, Some("#")) => return false,
            ("+", Some(_)) => {}
            (wanted, Some(level)) if wanted == level => {}
            _ => return false,
        }
    }
    narrow.next().is_none()
}

/// Whether there is a topic that is both filters'.
pub fn overlap(one: &str, other: &str) -> bool {
    let (mut one, mut other) = (levels(one), levels(other));
    loop {
        match (one.next(), other.next()) {
            (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
            (Some("+"), Some(_)) | (Some(_), Some("+")) => {}
            (Some(a), Some(b)) if a == b => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn iot_hubs_topics_are_kept_out_and_unicode_is_not() {
        let is_ok = |topic: &str| check(topic).is_ok();
        for good in ["a", "édge/a", "/", "日本/温度", "a b/c", "device/x", "+x"] {
            assert!(is_ok(good), "{good}");
        }
        for bad in ["", "$SYS/x", "$iothub/twin/GET/", "devices/d/messages/events/", "devices"] {
            assert!(!is_ok(bad), "{bad}");
        }
        assert_eq!(check("a\0"), Err(BadLocal::Malformed));
        assert_eq!(check(&"x".repeat(MAX_LENGTH + 1)), Err(BadLocal::TooLong));
        assert_eq!(check(&"/".repeat(MAX_LEVELS)), Err(BadLocal::TooLong));
        assert!(is_ok(&"/".repeat(MAX_LEVELS - 1)));
        assert_eq!(check_filter("a+/b"), Err(BadLocal::BadWildcard));
        assert_eq!(check_filter("+/#"), Ok(()));
    }

    #[test]
    fn filters_cover_and_overlap() {
        let covered = [("a/#", "a"), ("#", "+/b"), ("+/+", "a/+"), ("+/#", "#"), ("é/+", "é/ü")];
        for (wide, narrow) in covered {
            assert!(covers(wide, narrow) && overlap(wide, narrow), "{wide} {narrow}");
        }
        let apart = [("a/+", "a/#"), ("a", "#"), ("a/b", "a/+"), ("+", "+/+"), ("a/+/#", "a/#")];
        for (wide, narrow) in apart {
            assert!(!covers(wide, narrow), "{wide} {narrow}");
        }
        for (one, other) in [("a/+", "+/b"), ("a/#", "+"), ("#", "b"), ("+/x/#", "a/#")] {
            assert!(overlap(one, other) && overlap(other, one), "{one} {other}");
        }
        for (one, other) in [("a/+", "b/#"), ("a", "a/+"), ("+/x", "+/y/#")] {
            assert!(!overlap(one, other) && !overlap(other, one), "{one} {other}");
        }
    }

    /// All topics of up to four levels over the letters of the filters and one that is not
    /// theirs.
    fn all_topics() -> Vec<String> {
        let mut all: Vec<String> = ["a", "é", "z"].map(str::to_owned).into();
        let mut last = all.clone();
        for _ in 1..4 {
            let longer = |topic: &String| ["a", "é", "z"].map(|level| format!("{topic}/{level}"));
            last = last.iter().flat_map(longer).collect();
            all.extend(last.iter().cloned());
        }
        all
    }

    fn a_filter() -> impl Strategy<Value = String> {
        let level = prop::sample::select(vec!["a", "é", "+"]);
        let levels = prop::collection::vec(level, 0..4);
        (levels, any::<bool>()).prop_map(|(mut levels, is_open)| {
            if is_open || levels.is_empty() {
                levels.push("#");
            }
            levels.join("/")
        })
    }

    proptest! {
        #[test]
        fn covering_and_overlapping_are_what_they_are_topic_by_topic(
            one in a_filter(), other in a_filter()
        ) {
            let has = |filter: &str, topic: &String| topic::matches(filter, topic);
            let topics = all_topics();
            let mut of_other = topics.iter().filter(|topic| has(&other, topic));
            prop_assert_eq!(covers(&one, &other), of_other.all(|topic| has(&one, topic)));
            let is_both = |topic: &String| has(&one, topic) && has(&other, topic);
            prop_assert_eq!(overlap(&one, &other), topics.iter().any(is_both));
        }
    }
}
