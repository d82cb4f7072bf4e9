//! Why a route cannot be put in force, with the place.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

/// One sentence when it is printed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub struct RouteError {
    /// Name of the route.
    pub route: String,
    /// From 1; 0 if it is not the route's text that is wrong.
    pub line: u32,
    /// From 1, in characters; 0 if it is not the route's text that is wrong.
    pub column: u32,
    /// What stands there, quoted, or `the end`.
    pub found: String,
    /// What is wrong and what would be right.
    pub expected: String,
    /// The line of the text.
    pub source_line: Box<str>,
    /// How many characters of it are meant.
    pub width: u32,
    /// What to write instead, if that can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<Box<str>>,
    /// What kind of mistake it is.
    #[serde(default)]
    pub kind: Mistake,
}

/// Of which kind a mistake is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mistake {
    /// Of the text, or of what stands beside it.
    #[default]
    Form,
    /// The words are right, but values that do not go together are compared, added, and so on.
    Types,
}

/// What is wrong with a text, and where: bytes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) at: Range<usize>,
    pub(super) expected: String,
    pub(super) suggestion: Option<String>,
    pub(super) kind: Mistake,
}

impl Fault {
    pub(super) fn new(at: Range<usize>, expected: impl Into<String>) -> Self {
        Fault { at, expected: expected.into(), suggestion: None, kind: Mistake::Form }
    }

    pub(super) fn types(at: Range<usize>, expected: impl Into<String>) -> Self {
        Fault { kind: Mistake::Types, ..Self::new(at, expected) }
    }

    /// What to write instead.
    pub(super) fn hint(self, suggestion: impl Into<String>) -> Self {
        Fault { suggestion: Some(suggestion.into()), ..self }
    }

    pub(super) fn hint_if(self, suggestion: Option<String>) -> Self {
        Fault { suggestion: suggestion.or(self.suggestion.clone()), ..self }
    }
}

impl RouteError {
    /// Of the text of the route `route`.
    pub(super) fn of(route: &str, text: &str, fault: Fault) -> Self {
        let Fault { at: range, expected, suggestion, kind } = fault;
        let before = &text[..range.start];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[line_start..].find('\n').map_or(text.len(), |at| line_start + at);
        let meant = &text[range.clone()];
        let found = match meant {
            "" if text[range.start..].trim().is_empty() => "the end".to_owned(),
            meant => quoted(meant),
        };
        RouteError {
            route: route.to_owned(),
            line: number(before.matches('\n').count() + 1),
            column: number(text[line_start..range.start].chars().count() + 1),
            found,
            expected,
            suggestion: suggestion.map(Into::into),
            kind,
            source_line: text[line_start..line_end].trim_end().into(),
            width: number(meant.lines().next().unwrap_or("").chars().count().max(1)),
        }
    }

    /// Of what stands beside the text: its name, its priority and the like.
    pub(super) fn beside(
        route: &str,
        found: impl fmt::Display,
        expected: impl Into<String>,
    ) -> Self {
        RouteError {
            route: route.to_owned(),
            line: 0,
            column: 0,
            found: quoted(&found.to_string()),
            expected: expected.into(),
            source_line: Box::default(),
            width: 0,
            suggestion: None,
            kind: Mistake::Form,
        }
    }

    /// The line of the text with the place marked below it.
    pub fn marked(&self) -> String {
        let before = self.source_line.chars().take(self.column.saturating_sub(1) as usize);
        let gap: String = before.map(blank).collect();
        format!("{}\n{gap}{}", self.source_line, "^".repeat(self.width as usize))
    }
}

/// A text has 32 KiB at most.
fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// As wide as the character is where it is shown.
fn blank(c: char) -> char {
    match c {
        '\t' => '\t',
        '\u{1100}'..='\u{115f}' | '\u{2e80}'..='\u{a4cf}' | '\u{ac00}'..='\u{d7a3}' => '\u{3000}',
        '\u{f900}'..='\u{faff}' | '\u{ff01}'..='\u{ff60}' => '\u{3000}',
        _ => ' ',
    }
}

impl fmt::Display for RouteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "route {}, ", quoted(&self.route))?;
        if self.line > 0 {
            write!(f, "line {}, column {}, ", self.line, self.column)?;
        }
        write!(f, "at {}: {}", self.found, self.expected)?;
        match &self.suggestion {
            Some(suggestion) => write!(f, "; {suggestion}"),
            None => Ok(()),
        }
    }
}

/// On one line, at most 60 characters.
fn quoted(text: &str) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    let more = if text.chars().nth(60).is_some() { "…" } else { "" };
    format!("`{}{more}`", text.chars().take(60).map(clean).collect::<String>())
}
