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
    pub line: usize,
    /// From 1, in characters; 0 if it is not the route's text that is wrong.
    pub column: usize,
    /// What stands there, quoted, or `the end`.
    pub found: String,
    /// What is wrong and what would be right.
    pub expected: String,
    /// The line of the text.
    pub source_line: String,
    /// How many characters of it are meant.
    pub width: usize,
}

impl RouteError {
    /// `range` are the bytes of `text` that are meant.
    pub(super) fn at(
        route: &str,
        text: &str,
        range: Range<usize>,
        expected: impl Into<String>,
    ) -> Self {
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
            line: before.matches('\n').count() + 1,
            column: text[line_start..range.start].chars().count() + 1,
            found,
            expected: expected.into(),
            source_line: text[line_start..line_end].trim_end().to_owned(),
            width: meant.lines().next().unwrap_or("").chars().count().max(1),
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
            source_line: String::new(),
            width: 0,
        }
    }

    /// The line of the text with the place marked below it.
    pub fn marked(&self) -> String {
        let (gap, mark) = (" ".repeat(self.column.saturating_sub(1)), "^".repeat(self.width));
        format!("{}\n{gap}{mark}", self.source_line)
    }
}

impl fmt::Display for RouteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "route {}, ", quoted(&self.route))?;
        if self.line > 0 {
            write!(f, "line {}, column {}, ", self.line, self.column)?;
        }
        write!(f, "at {}: {}", self.found, self.expected)
    }
}

/// On one line, at most 60 characters.
fn quoted(text: &str) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    let more = if text.chars().nth(60).is_some() { "…" } else { "" };
    format!("`{}{more}`", text.chars().take(60).map(clean).collect::<String>())
}
