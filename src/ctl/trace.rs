//! `queue peek` and `trace`: what waits for a route, and the life of a message.

use std::fmt::Write;

use serde_json::Value;

use super::command::{Output, Peek};
use super::device::{Runtime, segment};
use super::error::CtlError;
use super::output::{body, bytes, distance, members, number, say, show, table, text_of};

/// Bytes of a body that are shown.
const BODY: usize = 1_024;

pub(super) async fn trace(runtime: &Runtime, output: Output, id: &str) -> Result<(), CtlError> {
    let life = runtime.get(&format!("/trace/{}", segment(id))).await?;
    show(output, &life, told)
}

pub(super) async fn peek(runtime: &Runtime, output: Output, args: &Peek) -> Result<(), CtlError> {
    let mut target = format!("/queue/peek?route={}&max={}", segment(&args.route), args.max);
    if args.body {
        _ = write!(target, "&body={BODY}");
    }
    let mut peeked = runtime.get(&target).await?;
    for item in peeked["items"].as_array_mut().into_iter().flatten() {
        if let Some(encoded) = item["body"].as_str() {
            let (decoded, kind) = body(encoded);
            (item["body"], item["body_encoding"]) = (decoded, kind.into());
        }
    }
    if let Some(passed) = peeked["passed"].as_u64() {
        say(&format!(
            "{passed} messages of other routes were passed; there may be more behind them"
        ));
    }
    show(output, &peeked, waiting)
}

fn waiting(peeked: &Value) -> String {
    let row = |item: &Value| {
        let place = &item["place"];
        vec![
            text_of(item, "id").into(),
            number(place, "offset").to_string(),
            to(place),
            text_of(item, "sender").into(),
            distance(text_of(item, "received")),
            bytes(number(place, "bytes")),
            state(place),
        ]
    };
    let rows: Vec<_> = members(&peeked["items"]).map(row).collect();
    let mut text = table(&["ID", "OFFSET", "TO", "FROM", "RECEIVED", "BYTES", "STATE"], &rows);
    for item in members(&peeked["items"]).filter(|item| !item["body_encoding"].is_null()) {
        _ = writeln!(text, "\n{}", text_of(item, "id"));
        for (name, value) in item["properties"].as_object().into_iter().flatten() {
            _ = writeln!(text, "property      {name}={}", value.as_str().unwrap_or_default());
        }
        let body = &item["body"];
        let body = body.as_str().map_or_else(|| body.to_string(), str::to_owned);
        _ = writeln!(text, "body          {}\n{body}", text_of(item, "body_encoding"));
    }
    text
}

fn to(place: &Value) -> String {
    match place["input"].as_str() {
        Some(input) => format!("{}/{input}", text_of(place, "endpoint")),
        None => text_of(place, "endpoint").into(),
    }
}

/// Where it has come to, in words.
fn state(place: &Value) -> String {
    let handed = match number(place, "handed_out") {
        0 | 1 => String::new(),
        times => format!(", {times} times"),
    };
    match text_of(place, "state") {
        "handed-out" => {
            format!("handed out to be sent {}{handed}", distance(text_of(place, "handed_out_last")))
        }
        "waiting" => "waits".into(),
        "paused" => "waits: its route is paused".into(),
        "dead-lettered" if !place["why"].is_null() => format!(
            "dead-lettered {}, tried {} times: {}",
            distance(text_of(place, "ended")),
            number(place, "tries"),
            text_of(place, "why")
        ),
        end => format!("{end} {}{handed}", distance(text_of(place, "ended"))),
    }
}

fn told(life: &Value) -> String {
    let mut text = String::new();
    _ = writeln!(text, "message       {}", text_of(life, "id"));
    if let Some(id) = life["message_id"].as_str() {
        _ = writeln!(text, "message id    {id}");
    }
    let size = bytes(number(life, "bytes"));
    let received = distance(text_of(life, "received"));
    _ = writeln!(text, "received      {received} from {}, {size}", text_of(life, "sender"));
    if life["is_unrouted"] == true {
        _ = writeln!(text, "unrouted      no route took it");
    }
    for place in members(&life["places"]) {
        let (route, offset) = (text_of(place, "route"), number(place, "offset"));
        _ = writeln!(
            text,
            "route         {route} to {}, priority {}, offset {offset}: {}",
            to(place),
            number(place, "priority"),
            state(place)
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_life_of_a_message_is_told_place_by_place() {
        let place = |state: &str| {
            json!({ "endpoint": "gw/m", "input": "in", "route": "r", "priority": 10, "offset": 7,
                    "state": state })
        };
        let mut dead = place("dead-lettered");
        (dead["why"], dead["tries"]) = ("404 gone".into(), 2.into());
        let life = json!({ "id": "ab-9", "message_id": "m1", "sender": "leaf", "bytes": 5,
                           "places": [place("waiting"), place("paused"), dead] });
        let expected = "\
message       ab-9
message id    m1
received      - from leaf, 5 B
route         r to gw/m/in, priority 10, offset 7: waits
route         r to gw/m/in, priority 10, offset 7: waits: its route is paused
route         r to gw/m/in, priority 10, offset 7: dead-lettered -, tried 2 times: 404 gone
";
        assert_eq!(told(&life), expected);
        let unrouted = json!({ "id": "ab-9", "sender": "leaf", "is_unrouted": true });
        assert!(told(&unrouted).ends_with("unrouted      no route took it\n"));
    }
}
