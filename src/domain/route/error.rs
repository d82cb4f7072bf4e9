//! Why the text of a route is not a route, with the place.

/// See the module documentation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("route `{route}`, line {line}, column {column}, at {found}: {expected}")]
pub struct RouteError {
    /// Name of the route.
    pub route: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
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
        range: std::ops::Range<usize>,
        expected: impl Into<String>,
    ) -> Self {
        let before = &text[..range.start];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[line_start..].find('\n').map_or(text.len(), |at| line_start + at);
        let meant = &text[range.clone()];
        let found = match meant {
            "" if text[range.start..].trim().is_empty() => "the end".to_owned(),
            meant => format!("`{}`", meant.chars().take(60).collect::<String>()),
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

    /// The line of the text with the place marked below it.
    pub fn marked(&self) -> String {
        let (gap, mark) = (" ".repeat(self.column - 1), "^".repeat(self.width));
        format!("{}\n{gap}{mark}", self.source_line)
    }
}
