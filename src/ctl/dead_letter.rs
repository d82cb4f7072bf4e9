//! `dead-letter …`: messages that an endpoint refused for good.

use std::fmt::Write;
use std::time::Duration;

use serde_json::Value;

use super::command::{DeadLetter, Letters, OfEndpoint, Output};
use super::device::{Runtime, segment};
use super::error::CtlError;
use super::output::{body, bytes, confirm, number, pretty, print, say, show, span, table, text_of};

/// As many as the service gives in one answer.
const PAGE: usize = 1_000;

pub(super) async fn run(
    runtime: &Runtime,
    output: Output,
    command: DeadLetter,
) -> Result<(), CtlError> {
    match command {
        DeadLetter::List(of) => list(runtime, output, &of).await,
        DeadLetter::Peek { offset, endpoint } => {
            let target = format!("/dead-letters/{offset}?endpoint={}", segment(&endpoint));
            let mut letter = runtime.get(&target).await?;
            if let Some(encoded) = letter["body"].as_str() {
                let (decoded, kind) = body(encoded);
                letter["body"] = decoded;
                letter["body_encoding"] = kind.into();
            }
            show(output, &letter, whole)
        }
        DeadLetter::Replay(which) => {
            let done = runtime.act(&target("replay", &which)).await?;
            show(output, &done, |done| format!("{} replayed\n", count(done)))
        }
        DeadLetter::Drop(which) => {
            let endpoint = &which.endpoint;
            let what = match (&which.route, which.offsets.len()) {
                (Some(route), _) => format!("all dead letters of {route} to {endpoint}"),
                (None, 0) => format!("all dead letters of {endpoint}"),
                (None, n) => format!("{n} dead letters of {endpoint}"),
            };
            if !which.yes && !confirm(&format!("drop {what}, for good?"))? {
                say("nothing is dropped");
                return Ok(());
            }
            let done = runtime.act(&target("drop", &which)).await?;
            show(output, &done, |done| format!("{} dropped\n", count(done)))
        }
    }
}

fn count(done: &Value) -> String {
    format!("{} dead letters ({})", number(done, "messages"), bytes(number(done, "bytes")))
}

fn target(what: &str, which: &Letters) -> String {
    let mut target = format!("/dead-letters/{what}?endpoint={}", segment(&which.endpoint));
    if let Some(route) = &which.route {
        target.push_str(&format!("&route={}", segment(route)));
    }
    if !which.offsets.is_empty() {
        let offsets: Vec<_> = which.offsets.iter().map(u64::to_string).collect();
        target.push_str(&format!("&offsets={}", offsets.join(",")));
    }
    target
}

/// Page by page: in text they are printed as they come.
async fn list(runtime: &Runtime, output: Output, of: &OfEndpoint) -> Result<(), CtlError> {
    let mut target = format!("/dead-letters?endpoint={}&max={PAGE}", segment(&of.endpoint));
    if let Some(route) = &of.route {
        target.push_str(&format!("&route={}", segment(route)));
    }
    let (mut after, mut all) = (0, Vec::new());
    loop {
        let page = runtime.get(&format!("{target}&after={after}")).await?;
        let items = page["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        after = items.last().map_or(after, |last| number(last, "offset"));
        all.extend_from_slice(items);
        if items.len() < PAGE {
            break;
        }
    }
    match output {
        Output::Json => print(&format!("{}\n", pretty(&all.into()))),
        Output::Text => print(&text(&all)),
    }
}

fn text(letters: &[Value]) -> String {
    let row = |letter: &Value| {
        let age = span(Duration::from_secs(number(letter, "age_seconds")));
        vec![
            number(letter, "offset").to_string(),
            text_of(letter, "route").into(),
            text_of(letter, "sender").into(),
            format!("{age} ago"),
            number(letter, "tries").to_string(),
            bytes(number(letter, "bytes")),
            text_of(letter, "why").into(),
            text_of(letter, "id").into(),
        ]
    };
    let rows: Vec<_> = letters.iter().map(row).collect();
    table(&["OFFSET", "ROUTE", "FROM", "REFUSED", "TRIES", "BYTES", "WHY", "ID"], &rows)
}

fn whole(letter: &Value) -> String {
    let of = |name| text_of(letter, name);
    let mut text = String::new();
    _ = writeln!(text, "dead letter   {} of {}", number(letter, "offset"), of("endpoint"));
    _ = writeln!(text, "id            {}", of("id"));
    _ = writeln!(text, "route         {}, priority {}", of("route"), number(letter, "priority"));
    _ = writeln!(text, "from          {}", of("sender"));
    _ = writeln!(text, "refused       {}, tried {} times", of("time"), number(letter, "tries"));
    _ = writeln!(text, "why           {}", of("why"));
    for (name, value) in letter["properties"].as_object().into_iter().flatten() {
        _ = writeln!(text, "property      {name}={}", value.as_str().unwrap_or_default());
    }
    match &letter["body"] {
        Value::Null if letter["body_encoding"].is_null() => {
            _ = writeln!(text, "body          damaged");
        }
        Value::String(body) => _ = writeln!(text, "body          {}\n{body}", of("body_encoding")),
        json => _ = writeln!(text, "body          json\n{}", pretty(json)),
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn letter() -> Value {
        json!({ "id": "ab-9", "offset": 7, "endpoint": "$upstream", "route": "up", "priority": 10,
                "sender": "leaf", "time": "T", "age_seconds": 300, "tries": 2, "bytes": 9,
                "why": "400 no", "properties": { "a": "1" } })
    }

    #[test]
    fn a_dead_letter_tells_what_it_is_and_why_it_was_refused() {
        let expected = "\
OFFSET  ROUTE  FROM  REFUSED    TRIES  BYTES  WHY     ID
7       up     leaf  5 min ago  2      9 B    400 no  ab-9
";
        assert_eq!(text(&[letter()]), expected);
        let mut letter = letter();
        (letter["body"], letter["body_encoding"]) = (json!({ "t": 1 }), "json".into());
        let expected = "\
dead letter   7 of $upstream
id            ab-9
route         up, priority 10
from          leaf
refused       T, tried 2 times
why           400 no
property      a=1
body          json
{
  \"t\": 1
}
";
        assert_eq!(whole(&letter), expected);
        (letter["body"], letter["body_encoding"]) = ("/w==".into(), "base64".into());
        assert!(whole(&letter).ends_with("body          base64\n/w==\n"));
    }

    #[test]
    fn what_is_meant_is_said_in_the_address() {
        let which = Letters {
            offsets: vec![1, 2],
            route: None,
            all: false,
            endpoint: "gw/m".into(),
            yes: true,
        };
        assert_eq!(target("drop", &which), "/dead-letters/drop?endpoint=gw%2Fm&offsets=1,2");
    }
}
