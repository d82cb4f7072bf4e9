//! Data on standard output, messages on standard error.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::command::Output;
use super::error::CtlError;
use crate::actors::clock::unix_time;
use crate::domain::iso8601;

/// Writes data. A reader that has gone away (`| head`) is no error: there is nothing left to do.
pub(super) fn print(text: &str) -> Result<(), CtlError> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        written => written.map_err(|e| CtlError::new("cannot write the answer").because(e)),
    }
}

/// JSON as it is for programs; for people as `text` makes it.
pub(super) fn show(
    output: Output,
    value: &Value,
    text: impl FnOnce(&Value) -> String,
) -> Result<(), CtlError> {
    match output {
        Output::Json => print(&format!("{}\n", pretty(value))),
        Output::Text => print(&text(value)),
    }
}

/// JSON on several lines.
pub(super) fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

/// A message.
pub(super) fn say(message: &str) {
    _ = writeln!(io::stderr().lock(), "{message}");
}

/// Asks yes or no; without a terminal it is an error to need an answer.
pub(super) fn confirm(question: &str) -> Result<bool, CtlError> {
    if !io::stdin().is_terminal() {
        let error = CtlError::usage("there is no terminal to ask on");
        return Err(error.hint("give --yes to do it without asking"));
    }
    _ = write!(io::stderr().lock(), "{question} [y/N] ");
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(|e| CtlError::new("no answer").because(e))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Columns of text, as wide as they need to be; the last one is not padded.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([head[column].chars().count()]).max().unwrap_or_default()
    };
    let widths: Vec<_> = (0..head.len()).map(width).collect();
    let head: Vec<_> = head.iter().map(|&cell| cell.to_owned()).collect();
    let mut text = String::new();
    for row in [&head].into_iter().chain(rows) {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// The text of a member, or nothing.
pub(super) fn text_of<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

/// The members of a list.
pub(super) fn members(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// A number, or nothing of it.
pub(super) fn number(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or_default()
}

/// A body in base64: as JSON, as text, or as it is, if it is neither; and which of them.
pub(super) fn body(encoded: &str) -> (Value, &'static str) {
    let Ok(bytes) = STANDARD.decode(encoded) else { return (encoded.into(), "base64") };
    if let Ok(json) = serde_json::from_slice(&bytes) {
        return (json, "json");
    }
    match String::from_utf8(bytes) {
        Ok(text) => (text.into(), "text"),
        Err(_) => (encoded.into(), "base64"),
    }
}

/// How long ago, or ahead, an ISO-8601 time is, in words.
pub(super) fn distance(time: &str) -> String {
    let Some(time) = iso8601::parse(time) else { return "-".into() };
    let now = unix_time();
    if time > now {
        format!("in {}", span(time - now))
    } else {
        format!("{} ago", span(now - time))
    }
}

/// How far ahead a time is; what is due is done at this moment.
pub(super) fn ahead(time: &str) -> String {
    match iso8601::parse(time) {
        Some(at) if at <= unix_time() => "now".into(),
        _ => distance(time),
    }
}

/// A span of time, roughly.
pub(super) fn span(time: Duration) -> String {
    match time.as_secs() {
        s @ 0..=119 => format!("{s} s"),
        s @ 120..=7199 => format!("{} min", s / 60),
        s @ 7200..=172_799 => format!("{} h", s / 3600),
        s => format!("{} days", s / 86_400),
    }
}

/// Bytes, roughly.
#[expect(clippy::cast_precision_loss, reason = "roughly")]
pub(super) fn bytes(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
        _ => format!("{:.1} GiB", bytes as f64 / 1_073_741_824.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_need_to_be() {
        let rows = [vec!["é".to_owned(), "b".into()], vec!["long".into(), String::new()]];
        assert_eq!(table(&["A", "LAST"], &rows), "A     LAST\né     b\nlong\n");
    }

    #[test]
    fn spans_and_sizes_are_rough() {
        let spans = [90, 300, 10_000, 200_000].map(|s| span(Duration::from_secs(s)));
        assert_eq!(spans, ["90 s", "5 min", "2 h", "2 days"]);
        assert_eq!([bytes(5), bytes(1536), bytes(3 << 20)], ["5 B", "1.5 KiB", "3.0 MiB"]);
    }
}
