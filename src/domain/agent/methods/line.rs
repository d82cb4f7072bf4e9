//! Lines of a log: out of what an engine or our own log gives, and what is said in them (spec
//! edgeagent.md 6: an optional `<N>`, an optional time, text).

use std::time::Duration;

use serde_json::Value;

use crate::domain::iso8601;

/// Level of a line that names none: informational, as syslog counts.
pub const INFO: u8 = 6;
/// A longer line is given in pieces.
const LONGEST: usize = 64 * 1024;

/// One line as it was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// Standard error, not output.
    pub is_error: bool,
    /// When the engine got it.
    pub stamp: Option<String>,
    /// Without the end of the line.
    pub raw: String,
    /// What it says.
    pub said: Said,
}

/// What is said in a line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// 0 (emergency) to 7 (debug).
    pub level: u8,
    /// As written.
    pub time: Option<String>,
    /// The rest; of a line without one the whole line.
    pub text: String,
}

impl Said {
    /// `<6> 2019-02-14 16:15:35.243 -08:00 [INF] text`; all but the text may be missing.
    pub fn parse(line: &str) -> Self {
        let level = line.strip_prefix('<').and_then(|rest| rest.split_once('>'));
        let level = level.and_then(|(digit, rest)| match digit.as_bytes() {
            [digit @ b'0'..=b'9'] => Some((digit - b'0', rest)),
            _ => None,
        });
        let (level, rest) = level.unwrap_or((INFO, line));
        let rest = rest.trim_start();
        let timed = rest.get(..30).filter(|time| is_time(time)).map(|time| (time, &rest[30..]));
        let (time, text) = match timed {
            Some((time, after)) if after.is_empty() || after.starts_with(' ') => {
                (Some(time.to_owned()), after.trim_start())
            }
            _ => (None, rest),
        };
        let text = if text.is_empty() { line } else { text };
        Said { level, time, text: text.to_owned() }
    }

    /// A line of our own log, as `protocol/logging` writes it for people or as JSON.
    pub fn parse_own(line: &str) -> Self {
        if let Ok(Value::Object(fields)) = serde_json::from_str(line) {
            let text = |name: &str| fields.get(name).and_then(Value::as_str).map(str::to_owned);
            let level = level(&text("level").unwrap_or_default());
            return Said { level, time: text("timestamp"), text: line.to_owned() };
        }
        let Some((time, rest)) = line.split_once(' ').filter(|(it, _)| at(it).is_some()) else {
            return Said { level: INFO, time: None, text: line.to_owned() };
        };
        let rest = rest.trim_start();
        let word = rest.split(' ').next().unwrap_or_default();
        Said { level: level(word), time: Some(time.to_owned()), text: rest.to_owned() }
    }
}

fn level(word: &str) -> u8 {
    match word {
        "ERROR" => 3,
        "WARN" => 4,
        "DEBUG" | "TRACE" => 7,
        _ => INFO,
    }
}

/// Unix time of a stamp.
pub fn at(stamp: &str) -> Option<Duration> {
    (stamp.len() >= 20 && stamp.contains('T')).then(|| iso8601::parse(stamp)).flatten()
}

/// `2019-02-14 16:15:35.243 -08:00`.
fn is_time(text: &str) -> bool {
    const SHAPE: &[u8] = b"dddd-dd-dd dd:dd:dd.ddd sdd:dd";
    text.len() == SHAPE.len()
        && text.bytes().zip(SHAPE).all(|(byte, shape)| match shape {
            b'd' => byte.is_ascii_digit(),
            b's' => byte == b'+' || byte == b'-',
            shape => byte == *shape,
        })
}

/// Puts lines together out of pieces of one stream, each begun with a stamp by the engine.
#[derive(Debug, Default)]
pub struct Splitter {
    is_error: bool,
    stamp: Option<String>,
    open: Vec<u8>,
}

impl Splitter {
    /// Of standard error, or output.
    pub fn new(is_error: bool) -> Self {
        Splitter { is_error, ..Self::default() }
    }

    /// The lines that this piece ends.
    pub fn push(&mut self, piece: &[u8]) -> Vec<Line> {
        let mut lines = Vec::new();
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            let (stamp, part) = stamped(part);
            if self.open.is_empty() && self.stamp.is_none() {
                self.stamp = stamp;
            }
            self.open.extend_from_slice(part);
            if self.open.ends_with(b"\n") || self.open.len() > LONGEST {
                lines.extend(self.finish());
            }
        }
        lines
    }

    /// What is there of a line without an end.
    pub fn finish(&mut self) -> Option<Line> {
        let (open, stamp) = (std::mem::take(&mut self.open), self.stamp.take());
        if open.is_empty() {
            return None;
        }
        let raw = String::from_utf8_lossy(&open);
        let raw = raw.trim_end_matches(['\r', '\n']).to_owned();
        Some(Line { is_error: self.is_error, stamp, said: Said::parse(&raw), raw })
    }
}

fn stamped(part: &[u8]) -> (Option<String>, &[u8]) {
    let end = part.iter().take(40).position(|byte| *byte == b' ');
    let stamp = end.and_then(|end| Some((end, std::str::from_utf8(&part[..end]).ok()?)));
    match stamp.filter(|(_, stamp)| at(stamp).is_some()) {
        Some((end, stamp)) => (Some(stamp.to_owned()), &part[end + 1..]),
        None => (None, part),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(level: u8, time: Option<&str>, text: &str) -> Said {
        Said { level, time: time.map(str::to_owned), text: text.into() }
    }

    #[test]
    fn level_and_time_stand_before_the_text_or_are_missing() {
        let time = "2019-02-14 16:15:35.243 -08:00";
        for (line, expected) in [
            (format!("<6> {time} [INF] x"), said(6, Some(time), "[INF] x")),
            (format!("{time} [INF] x"), said(6, Some(time), "[INF] x")),
            (format!("<3>{time} x"), said(3, Some(time), "x")),
            ("<4> x".into(), said(4, None, "x")),
            (
                "<6> 2019-02-14 16:15:35.243 [INF] x".into(),
                said(6, None, "2019-02-14 16:15:35.243 [INF] x"),
            ),
            (
                "2 2019-02-14 16:15:35 [INF] x".into(),
                said(6, None, "2 2019-02-14 16:15:35 [INF] x"),
            ),
            ("<12> x".into(), said(6, None, "<12> x")),
            (format!("<3> {time} "), said(3, Some(time), &format!("<3> {time} "))),
            ("".into(), said(6, None, "")),
        ] {
            assert_eq!(Said::parse(&line), expected, "{line}");
        }
    }

    #[test]
    fn our_own_lines_have_their_level_as_a_word() {
        let line = "2026-01-01T00:00:00.123456Z  WARN edge_runtime::x: mind the step";
        let own = Said::parse_own(line);
        let text = "WARN edge_runtime::x: mind the step";
        assert_eq!(own, said(4, Some("2026-01-01T00:00:00.123456Z"), text));
        let json = r#"{"timestamp":"2026-01-01T00:00:00Z","level":"ERROR","message":"m"}"#;
        assert_eq!(Said::parse_own(json), said(3, Some("2026-01-01T00:00:00Z"), json));
        assert_eq!(Said::parse_own("(3 lines left out)"), said(6, None, "(3 lines left out)"));
    }

    #[test]
    fn lines_are_put_together_out_of_pieces_with_and_without_stamps() {
        let mut out = Splitter::new(false);
        assert!(out.push(b"2026-01-01T00:00:00.1Z half ").is_empty());
        let lines =
            out.push(b"2026-01-01T00:00:00.2Z a line\r\n2026-01-01T00:00:01Z <3> next\nrest");
        let (first, next) = (&lines[0], &lines[1]);
        assert_eq!(
            (first.raw.as_str(), first.stamp.as_deref()),
            ("half a line", Some("2026-01-01T00:00:00.1Z"))
        );
        assert_eq!((next.said.text.as_str(), next.said.level), ("next", 3));
        assert_eq!(out.finish().unwrap().raw, "rest");
        assert_eq!(out.finish(), None);
        let long = vec![b'x'; LONGEST + 1];
        assert_eq!(Splitter::new(true).push(&long).len(), 1, "and no more is held");
        assert_eq!(Splitter::new(false).push(b"\n\n").len(), 2);
    }
}
