//! `status`: how this device stands, and whether actual is as desired.

use std::fmt::Write;
use std::time::Duration;

use serde_json::Value;

use super::command::Output;
use super::device::Runtime;
use super::error::CtlError;
use super::output::{bytes, distance, members, number, show, span, table, text_of};

/// Answers whether it is in sync.
pub(super) async fn status(runtime: &Runtime, output: Output) -> Result<bool, CtlError> {
    let status = runtime.get("/status").await?;
    show(output, &status, text)?;
    Ok(status["in_sync"].as_bool().unwrap_or_default())
}

/// Reported patches that the hub refused.
pub(super) async fn refused(runtime: &Runtime, output: Output) -> Result<(), CtlError> {
    show(output, &runtime.get("/twins/refused").await?, refusals)
}

fn refusals(answer: &Value) -> String {
    let row = |refused: &Value| {
        let why = format!("{} {}", number(refused, "status"), text_of(refused, "why"));
        let patch: String = refused["patch"].to_string().chars().take(60).collect();
        vec![text_of(refused, "time").into(), text_of(refused, "identity").into(), why, patch]
    };
    let rows: Vec<_> = members(&answer["refused"]).map(row).collect();
    table(&["TIME", "CLIENT", "WHY", "PATCH"], &rows)
}

fn text(status: &Value) -> String {
    let mut text = String::new();
    let name = |name| text_of(status, name);
    let ready = if status["is_ready"] == true { "ready" } else { "NOT READY" };
    let (device, version, gateway) = (name("device"), name("version"), name("gateway_hostname"));
    _ = writeln!(text, "device        {device}, for clients {gateway}; version {version}: {ready}");
    for part in members(&status["parts"]).filter(|part| part["is_ready"] == false) {
        _ = writeln!(text, "              {}: {}", text_of(part, "name"), text_of(part, "why"));
    }
    link(&mut text, &status["link"]);
    let queue = &status["queue"];
    if queue.is_object() {
        place(&mut text, queue);
        fill(queue).into_iter().for_each(|fill| _ = writeln!(text, "              {fill}"));
        let rows: Vec<_> = members(&queue["endpoints"]).map(endpoint).collect();
        let owed = table(&["ENDPOINT", "MESSAGES", "BYTES", "OLDEST"], &rows);
        owed.lines().for_each(|line| _ = writeln!(text, "              {line}"));
        _ = writeln!(text, "conservation: {}", conservation(queue));
    }
    if let Some(clients) = status["clients"].as_array() {
        let behind = clients.iter().filter(|client| client["is_behind_edge"] == true).count();
        let names: Vec<_> = clients.iter().take(8).map(|c| text_of(c, "identity")).collect();
        let more = if clients.len() > names.len() { ", …" } else { "" };
        let behind = if behind > 0 { format!(" ({behind} behind edges)") } else { String::new() };
        let names = format!("{}{more}", names.join(", "));
        _ = writeln!(text, "clients       {} online{behind}: {names}", clients.len());
    }
    let twins = &status["twins"];
    if twins.is_object() {
        let (pending, refused) = (number(twins, "pending_patches"), number(twins, "dead_letters"));
        let count = number(twins, "twins");
        _ = writeln!(
            text,
            "twins         {count}; reported patches not sent yet: {pending}, refused: {refused}{}",
            if refused > 0 { " (edgectl refused)" } else { "" }
        );
    }
    certificates(&mut text, &status["certificates"]);
    deployment(&mut text, status);
    members(&status["warnings"])
        .filter_map(Value::as_str)
        .for_each(|warning| _ = writeln!(text, "warning       {warning}"));
    text
}

/// Where the queue lies, and where it is going.
fn place(text: &mut String, queue: &Value) {
    let (used, at) = (bytes(number(queue, "used_bytes")), text_of(queue, "place"));
    _ = writeln!(text, "queue         {used} on disk, in {at} (store {})", text_of(queue, "store"));
    let moving = &queue["moving"];
    if moving.is_object() {
        let (done, all) = (number(moving, "done_bytes"), number(moving, "all_bytes"));
        let (to, done, all) = (text_of(moving, "to"), bytes(done), bytes(all));
        _ = writeln!(text, "              is being moved to {to}: {done} of {all} in this pass");
    }
}

fn certificates(text: &mut String, certificates: &Value) {
    let one = |it: &Value| {
        let (name, ends) = (text_of(it, "name"), text_of(it, "ends"));
        let renewal = match (it["trouble"].as_str(), it["renewed_from"].as_str()) {
            (Some(why), _) => format!(" (CANNOT BE RENEWED: {why})"),
            (None, Some(from)) => format!(" (renewed from {from} on)"),
            (None, None) => " (your own: renew it yourself)".into(),
        };
        format!("{name} until {ends}{renewal}")
    };
    let all: Vec<_> = members(certificates).map(one).collect();
    if !all.is_empty() {
        _ = writeln!(text, "certificates  {}", all.join(", "));
    }
}

fn link(text: &mut String, link: &Value) {
    if !link.is_object() {
        return;
    }
    let (state, parent) = (text_of(link, "state"), text_of(link, "parent"));
    let since = span(Duration::from_secs(number(link, "since_seconds")));
    if state == "connected" {
        let (attached, sent) = (number(link, "attached"), number(link, "in_flight"));
        _ = writeln!(
            text,
            "link          connected to {parent} for {since}; {attached} identities, {sent} \
             messages in flight"
        );
        return;
    }
    let attempts = number(link, "attempts");
    _ = write!(text, "link          {state} to {parent} for {since}, {attempts} attempts");
    if let Some(next) = link["next_attempt_seconds"].as_u64() {
        _ = write!(text, ", the next in {next} s");
    }
    let why = link["why"].as_str().map(|why| format!("\n              {why}"));
    _ = writeln!(text, "{}", why.unwrap_or_default());
}

fn deployment(text: &mut String, status: &Value) {
    let version = status["agent"]["desired_version"].as_u64();
    let version = version.map(|v| format!(" with version {v}")).unwrap_or_default();
    if status["in_sync"] == true {
        _ = writeln!(text, "deployment    in sync{version}");
        return;
    }
    _ = writeln!(text, "deployment    NOT IN SYNC{version}");
    for difference in members(&status["differences"]) {
        let since = difference["since"].as_str().map(|t| format!(" (began {})", distance(t)));
        let (module, what) = (text_of(difference, "module"), text_of(difference, "what"));
        _ = writeln!(text, "              {module}: {what}{}", since.unwrap_or_default());
    }
}

fn endpoint(endpoint: &Value) -> Vec<String> {
    let oldest = endpoint["oldest_seconds"].as_u64();
    let oldest = oldest.map_or("-".into(), |seconds| span(Duration::from_secs(seconds)));
    let messages = number(endpoint, "messages").to_string();
    vec![text_of(endpoint, "endpoint").into(), messages, bytes(number(endpoint, "bytes")), oldest]
}

/// How much of its budget it takes and what follows, if there is one, or it is full.
fn fill(queue: &Value) -> Option<String> {
    let (level, policy) = (text_of(queue, "fill"), text_of(queue, "full_policy"));
    let part = queue["max_bytes"].as_u64().map(|max| {
        let percent = u128::from(number(queue, "used_bytes")) * 100 / u128::from(max.max(1));
        format!("{percent} % of {}", bytes(max))
    });
    let follows = match (level, policy) {
        ("full", "reject-new") => Some("FULL, new messages wait".to_owned()),
        ("full", _) => Some("FULL, stored messages are evicted for new ones".to_owned()),
        ("high", _) => Some("above 80 % of what is for new messages".to_owned()),
        _ => None,
    };
    let refused = match number(queue, "refused") {
        0 => None,
        count => Some(format!("{count} messages with QoS 0 refused so far")),
    };
    let words: Vec<_> = part.into_iter().chain(follows).chain(refused).collect();
    Some(words.join(", ")).filter(|words| !words.is_empty())
}

/// in = out + stored + named ends, as the queue counts.
fn conservation(queue: &Value) -> String {
    let sum = |name| members(&queue["routes"]).map(|route| number(route, name)).sum::<u64>();
    let received = sum("received");
    let ends = ["delivered", "expired", "dead_lettered", "evicted", "discarded", "quarantined"];
    let parts = ["stored"].into_iter().chain(ends).map(|name| (name, sum(name)));
    let parts: Vec<_> = parts.filter(|(name, n)| *n > 0 || *name == "delivered").collect();
    let total: u64 = parts.iter().map(|(_, count)| count).sum();
    let shown: Vec<_> = parts.iter().map(|(n, c)| format!("{c} {}", n.replace('_', "-"))).collect();
    let verdict = if total == received { "holds" } else { "BROKEN" };
    let (taken, unrouted) = (number(queue, "messages_in"), number(queue, "unrouted"));
    let resent = number(queue, "resent");
    format!(
        "{received} routed = {}: {verdict} ({taken} messages in, {unrouted} unrouted, {resent} second copies)",
        shown.join(" + ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_device_that_is_offline_says_why_and_what_waits() {
        let status = json!({
            "device": "gw", "version": "1", "gateway_hostname": "gw.local", "is_ready": true,
            "in_sync": false, "warnings": ["mind the step"],
            "parts": [{ "name": "link", "is_ready": false, "why": "refused" }],
            "link": { "state": "waiting", "parent": "hub:8883", "why": "connection refused",
                      "attempts": 3, "next_attempt_seconds": 9, "since_seconds": 300 },
            "queue": { "used_bytes": 4096, "place": "/data/queue", "store": "0af3",
                "moving": { "to": "/usb/queue", "done_bytes": 1024, "all_bytes": 4096 },
                "messages_in": 12, "unrouted": 2, "resent": 1,
                "endpoints": [{ "endpoint": "$upstream", "messages": 3, "bytes": 2048, "oldest_seconds": 60 }],
                "routes": [{ "received": 10, "stored": 3, "delivered": 6, "dead_lettered": 1 }] },
            "clients": [{ "identity": "gw/sensor" }, { "identity": "far", "is_behind_edge": true }],
            "twins": { "twins": 4, "pending_patches": 1, "dead_letters": 0 },
            "certificates": [{ "name": "server", "ends": "2027-01-01T00:00:00Z",
                "renewed_from": "2026-12-01T00:00:00Z" }],
            "agent": { "desired_version": 7 },
            "differences": [{ "module": "sensor", "what": "is backoff", "since": null }],
        });
        let expected = "\
device        gw, for clients gw.local; version 1: ready
              link: refused
link          waiting to hub:8883 for 5 min, 3 attempts, the next in 9 s
              connection refused
queue         4.0 KiB on disk, in /data/queue (store 0af3)
              is being moved to /usb/queue: 1.0 KiB of 4.0 KiB in this pass
              ENDPOINT   MESSAGES  BYTES    OLDEST
              $upstream  3         2.0 KiB  60 s
conservation: 10 routed = 3 stored + 6 delivered + 1 dead-lettered: holds (12 messages in, 2 unrouted, 1 second copies)
clients       2 online (1 behind edges): gw/sensor, far
twins         4; reported patches not sent yet: 1, refused: 0
certificates  server until 2027-01-01T00:00:00Z (renewed from 2026-12-01T00:00:00Z on)
deployment    NOT IN SYNC with version 7
              sensor: is backoff
warning       mind the step
";
        assert_eq!(text(&status), expected);
    }

    #[test]
    fn refused_patches_are_listed_with_whose_they_are_and_why() {
        let answer = json!({ "refused": [{
            "identity": "gw/filter", "time": "2026-11-25T20:00:00Z", "status": 400,
            "why": "properties of 140000 bytes are above the limit", "patch": { "x": 1 },
        }] });
        let expected = "\
TIME                  CLIENT     WHY                                                 PATCH
2026-11-25T20:00:00Z  gw/filter  400 properties of 140000 bytes are above the limit  {\"x\":1}
";
        assert_eq!(refusals(&answer), expected);
    }

    #[test]
    fn a_queue_says_how_full_it_is_and_what_follows() {
        let mut queue = json!({ "used_bytes": 9 << 20, "max_bytes": 10 << 20, "fill": "full",
                                "full_policy": "reject-new", "refused": 3 });
        let text =
            "90 % of 10.0 MiB, FULL, new messages wait, 3 messages with QoS 0 refused so far";
        assert_eq!(fill(&queue).unwrap(), text);
        assert_eq!(fill(&json!({ "used_bytes": 7, "fill": "normal" })), None);
        queue["full_policy"] = "drop-oldest".into();
        assert!(fill(&queue).unwrap().contains("stored messages are evicted for new ones"));
    }

    #[test]
    fn an_account_that_does_not_add_up_is_said_to_be_broken() {
        let queue = json!({ "routes": [{ "received": 10, "delivered": 9 }] });
        assert!(conservation(&queue).starts_with("10 routed = 9 delivered: BROKEN"));
    }
}
