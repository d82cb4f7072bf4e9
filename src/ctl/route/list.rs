//! `route list`, for people.

use std::fmt::Write;
use std::time::Duration;

use serde_json::Value;

use crate::ctl::output::{bytes, members, number, span, table, text_of};

/// Sources shown; `--output json` has all.
const SOURCES: usize = 10;

pub(super) fn text(routes: &Value) -> String {
    let head =
        ["ROUTE", "TO", "STATE", "MATCHED", "DELIVERED", "WAITING", "BYTES", "OLDEST", "DEAD"];
    let rows: Vec<_> = members(&routes["lines"]).map(row).collect();
    let mut text = table(&head, &rows);
    for line in members(&routes["lines"]) {
        if let Some(error) = line["error"].as_str() {
            _ = writeln!(text, "bad route: {error}");
        }
    }
    unrouted(&mut text, routes);
    text
}

fn row(line: &Value) -> Vec<String> {
    let (lag, dead) = (&line["lag"], &line["dead_letters"]);
    let state = match (text_of(line, "state"), text_of(line, "endpoint")) {
        ("bad", "") => "bad",
        ("bad", _) => "bad: last good form runs",
        (state, _) => state,
    };
    let oldest = match lag["oldest_seconds"].as_u64().map(Duration::from_secs) {
        None => "-".into(),
        Some(oldest) if lag["oldest_is_at_most"] == true => format!("≤ {}", span(oldest)),
        Some(oldest) => span(oldest),
    };
    let name = |name| match text_of(line, name) {
        "" => "-".to_owned(),
        text => text.to_owned(),
    };
    let count = |value, name| number(value, name).to_string();
    vec![
        name("name"),
        name("endpoint"),
        state.into(),
        count(line, "matched"),
        count(line, "delivered"),
        count(lag, "messages"),
        bytes(number(lag, "bytes")),
        oldest,
        count(dead, "messages"),
    ]
}

fn unrouted(text: &mut String, routes: &Value) {
    let total = number(routes, "unrouted");
    if total == 0 {
        return;
    }
    _ = writeln!(text, "{total} messages were taken by no route:");
    let mut sources: Vec<_> = members(&routes["unrouted_sources"]).collect();
    sources.sort_by_key(|source| std::cmp::Reverse(number(source, "count")));
    let rows: Vec<_> = sources.iter().take(SOURCES).map(|source| unrouted_row(source)).collect();
    let shown = table(&["FROM", "SOURCE", "MESSAGES", "LAST"], &rows);
    shown.lines().for_each(|line| _ = writeln!(text, "  {line}"));
    if sources.len() > SOURCES {
        _ = writeln!(text, "  and of {} other sources", sources.len() - SOURCES);
    }
}

fn unrouted_row(source: &Value) -> Vec<String> {
    let last = members(&source["last"]).last().map(|last| {
        let age = span(Duration::from_secs(number(last, "age_seconds")));
        let properties = last["properties"].as_object().into_iter().flatten();
        let properties: Vec<_> = properties
            .map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()))
            .collect();
        format!("{age} ago, {}, {}", bytes(number(last, "bytes")), properties.join(" "))
    });
    let last = last.unwrap_or_default();
    let (sender, place) = (text_of(source, "sender").into(), text_of(source, "source").into());
    vec![sender, place, number(source, "count").to_string(), last.trim_end_matches(", ").into()]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_tells_of_each_route_and_of_what_no_route_took() {
        let lag = |messages, seconds, is_at_most| {
            json!({ "messages": messages, "bytes": 2048, "oldest_seconds": seconds,
                    "oldest_is_at_most": is_at_most })
        };
        let routes = json!({
            "lines": [
                { "name": "up", "endpoint": "$upstream", "state": "active", "matched": 30,
                  "delivered": 20, "lag": lag(7, 300, false), "dead_letters": { "messages": 3 } },
                { "name": "rests", "endpoint": "gw/m/in", "state": "paused", "matched": 1,
                  "lag": lag(1, 9, true) },
                { "name": "broken", "endpoint": "", "state": "bad", "error": "route broken: no" },
            ],
            "unrouted": 5,
            "unrouted_sources": [
                { "sender": "gw/sensor", "source": "/messages/modules/sensor/outputs/o", "count": 5,
                  "last": [{ "age_seconds": 60, "bytes": 12, "properties": { "a": "1" } }] },
            ],
        });
        let expected = "\
ROUTE   TO         STATE   MATCHED  DELIVERED  WAITING  BYTES    OLDEST  DEAD
up      $upstream  active  30       20         7        2.0 KiB  5 min   3
rests   gw/m/in    paused  1        0          1        2.0 KiB  ≤ 9 s   0
broken  -          bad     0        0          0        0 B      -       0
bad route: route broken: no
5 messages were taken by no route:
  FROM       SOURCE                              MESSAGES  LAST
  gw/sensor  /messages/modules/sensor/outputs/o  5         60 s ago, 12 B, a=1
";
        assert_eq!(text(&routes), expected);
    }
}
