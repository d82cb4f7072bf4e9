//! `route replay`: what other routes would make of the messages that are stored.

use std::fmt::Write;
use std::time::Duration;

use serde_json::Value;

use super::files;
use crate::actors::clock::unix_time;
use crate::ctl::command::{Output, Replay};
use crate::ctl::device::Runtime;
use crate::ctl::error::CtlError;
use crate::ctl::output::{members, number, show, table, text_of};
use crate::domain::iso8601;
use crate::domain::route::case::EDGE;

pub(super) async fn replay(
    runtime: &Runtime,
    output: Output,
    args: &Replay,
) -> Result<(), CtlError> {
    files::table(&args.routes, EDGE)?; // tells what is wrong before anybody is asked
    let desired = files::desired(&args.routes)?;
    let now = unix_time();
    let from = ago(&args.from, now).map_err(CtlError::usage)?;
    let to = args.to.as_deref().map_or(Ok(Duration::ZERO), |to| ago(to, now));
    let to = to.map_err(CtlError::usage)?;
    if to > from {
        return Err(CtlError::usage("--to must be later than --from"));
    }
    let (from, to) = (from.as_secs(), to.as_secs());
    let target = format!("/routes/replay?from_age={from}&to_age={to}");
    let counts = runtime.act_with(&target, &desired).await?;
    show(output, &counts, text)
}

/// `90s`, `5m`, `2h`, `3d`, or a time: how long ago.
fn ago(text: &str, now: Duration) -> Result<Duration, String> {
    let unit = text.chars().next_back().and_then(|unit| match unit {
        's' => Some(1),
        'm' => Some(60),
        'h' => Some(3_600),
        'd' => Some(86_400),
        _ => None,
    });
    let count = text.get(..text.len().saturating_sub(1)).and_then(|it| it.parse::<u64>().ok());
    if let (Some(unit), Some(count)) = (unit, count) {
        return Ok(Duration::from_secs(count.saturating_mul(unit)));
    }
    match iso8601::parse(text) {
        Some(time) if time <= now => Ok(now - time),
        Some(_) => Err(format!("{text} is yet to come")),
        None => Err(format!("{text} is no time: write 2h, or 2026-01-31T12:00:00Z")),
    }
}

fn text(counts: &Value) -> String {
    let row = |line: &Value| {
        let (matched, wins) = (number(line, "matched"), number(line, "wins"));
        let (name, endpoint) = (text_of(line, "name").to_owned(), text_of(line, "endpoint").into());
        vec![name, endpoint, matched.to_string(), wins.to_string()]
    };
    let rows: Vec<_> = members(&counts["routes"]).map(row).collect();
    let mut text = table(&["ROUTE", "TO", "MATCHED", "WINS"], &rows);
    _ = writeln!(text, "of {} messages:", number(counts, "messages"));
    for (endpoint, count) in counts["endpoints"].as_object().into_iter().flatten() {
        _ = writeln!(text, "  {count} to {endpoint}");
    }
    _ = writeln!(text, "  {} to no route", number(counts, "unrouted"));
    if number(counts, "damaged") > 0 {
        _ = writeln!(text, "{} cannot be read", number(counts, "damaged"));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_are_relative_or_absolute() {
        let now = Duration::from_secs(1_767_225_600); // 2026-01-01
        let secs = |text: &str| ago(text, now).map(|ago| ago.as_secs());
        assert_eq!(secs("2h"), Ok(7_200));
        assert_eq!(secs("3d"), Ok(259_200));
        assert_eq!(secs("2025-12-31T23:00:00Z"), Ok(3_600));
        assert_eq!(secs("2026-01-01T01:00:00+02:00"), Ok(3_600));
        assert!(secs("2027-01-01T00:00:00Z").unwrap_err().contains("yet to come"));
        assert!(secs("soon").is_err() && secs("h").is_err() && secs("").is_err());
    }

    #[test]
    fn counts_are_shown_by_route_and_by_endpoint() {
        let line = json!({ "name": "up", "endpoint": "$upstream", "matched": 5, "wins": 3 });
        let counts = json!({ "messages": 7, "unrouted": 2, "damaged": 0, "routes": [line],
                             "endpoints": { "$upstream": 3 } });
        let expected = "\
ROUTE  TO         MATCHED  WINS
up     $upstream  5        3
of 7 messages:
  3 to $upstream
  2 to no route
";
        assert_eq!(text(&counts), expected);
    }
}
