//! Values with a unit, and what both programs set alike.

use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error};

/// A number of bytes, or `"16 MiB"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl Size {
    /// For what lies in memory.
    pub fn bytes(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// A number of seconds, or `"7 d"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Age(pub Duration);

/// Bytes of `12`, `12 KiB`, `1.5 GiB`, `12 MB`.
pub(super) fn parse_size(text: &str) -> Option<u64> {
    let units = [("", 0, 0), ("b", 0, 0), ("kb", 1, 0), ("mb", 2, 0), ("gb", 3, 0), ("tb", 4, 0)];
    let binary = [("kib", 0, 1), ("mib", 0, 2), ("gib", 0, 3), ("tib", 0, 4)];
    let (number, unit) = split(text)?;
    let mut all = units.iter().chain(&binary);
    let (_, decimal, binary) = all.find(|(name, ..)| *name == unit)?;
    whole(number * 1000_f64.powi(*decimal) * 1024_f64.powi(*binary))
}

/// Of `90`, `90 s`, `5 min`, `12 h`, `7 d`.
pub(super) fn parse_age(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    let seconds = match unit.as_str() {
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return None,
    };
    whole(number * seconds).map(Duration::from_secs)
}

fn split(text: &str) -> Option<(f64, String)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    Some((text[..end].parse().ok()?, text[end..].trim().to_ascii_lowercase()))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked before")]
fn whole(number: f64) -> Option<u64> {
    (0.0..1e18).contains(&number).then_some(number as u64)
}

#[derive(serde::Deserialize)]
#[serde(untagged)]
enum NumberOrText {
    Number(u64),
    Text(String),
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match NumberOrText::deserialize(from)? {
            NumberOrText::Number(bytes) => Ok(Size(bytes)),
            NumberOrText::Text(text) => {
                parse_size(&text).map(Size).ok_or_else(|| Error::custom("not a size"))
            }
        }
    }
}

impl<'de> Deserialize<'de> for Age {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match NumberOrText::deserialize(from)? {
            NumberOrText::Number(seconds) => Ok(Age(Duration::from_secs(seconds))),
            NumberOrText::Text(text) => {
                parse_age(&text).map(Age).ok_or_else(|| Error::custom("not an age"))
            }
        }
    }
}

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
pub struct Log {
    /// A level, or directives as `warn,edge_runtime=debug`.
    pub level: String,
    /// For people or for programs.
    pub format: LogFormat,
}

/// See [`Log`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One line for people.
    Text,
    /// One JSON object a line.
    Json,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_ages_may_have_units() {
        let sizes = [("12", 12), ("16 MiB", 16 << 20), ("1.5GiB", 3 << 29), ("2 kB", 2000)];
        for (text, bytes) in sizes {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
        let ages = [("90", 90), ("5 min", 300), ("7d", 604_800), ("1.5 h", 5400)];
        for (text, seconds) in ages {
            assert_eq!(parse_age(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!([parse_size("MiB"), parse_size("1 MiBs"), parse_size("")], [None; 3]);
        assert_eq!([parse_age("-1"), parse_age("1 w"), parse_age("1e3")], [None; 3]);
    }
}
