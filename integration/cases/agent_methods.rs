//! Cases of the direct methods of `$edgeAgent`: requests, and the lines of logs.

#![expect(clippy::disallowed_methods, reason = "some instant to count from")]

use std::time::{Duration, Instant};

use edge_runtime::domain::agent::methods::line::{Line, Said};
use edge_runtime::domain::agent::methods::logs::LogsAsked;
use edge_runtime::domain::agent::methods::since::since;
use edge_runtime::domain::agent::methods::tasks::Tasks;
use edge_runtime::domain::agent::methods::{Asked, Refused};
use serde_json::{Value, json};

use super::{Verdict, equal, text};

const NOW: Duration = Duration::from_secs(1_700_000_000);

pub(super) fn judge(area: &str, given: &Value, expect: &Value) -> Verdict {
    match area {
        "request.schema_version" => {
            let payload = json!({
                "schemaVersion": given["schemaVersion"], "id": "m", "correlationId": "c",
                "items": { "id": "all" }, "sasUrl": "https://h/c?sig=s",
            });
            let asked = parse(text(given, "method"), &payload);
            equal(&status(&asked), &expect["http_status"].as_i64())
        }
        "request.dispatch" if given.get("handler_throws").is_some() => {
            Verdict::Otherwise("methods-are-values")
        }
        "request.dispatch" if given.get("registered").is_some() => {
            let asked = parse("PiNg", &Value::Null);
            equal(&status(&asked), &expect["status"].as_i64())
        }
        "request.dispatch" => {
            let asked = parse(text(given, "method"), &json!({}));
            equal(&status(&asked), &expect["status"].as_i64())
        }
        "request.ping" => {
            let payload = given["payload"].as_str().unwrap_or("null");
            let asked = Asked::parse("ping", payload.as_bytes(), NOW);
            equal(&status(&asked), &expect["status"].as_i64())
        }
        "request.restart_module" => {
            let asked = Asked::parse("RestartModule", text(given, "payload").as_bytes(), NOW);
            let modules = given["modules"].as_array().cloned().unwrap_or_default();
            let status = match &asked {
                Ok(Asked::RestartModule(id)) if !modules.contains(&json!(id)) => Some(500),
                asked => status(asked),
            };
            equal(&status, &expect["status"].as_i64())
        }
        "request.logs_defaults" => defaults(given, expect),
        "request.task_status" => task_status(given, expect),
        "logs.parse_line" if given.get("line").is_some() => {
            let said = Said::parse(text(given, "line"));
            let ours = json!({ "level": said.level, "timestamp": said.time, "text": said.text });
            equal(&ours, expect)
        }
        "logs.parse_line" => Verdict::Otherwise("the-engines-client-splits-streams"),
        "logs.filter" => filter(given, expect),
        "logs.needs_processing" => Verdict::Otherwise("lines-are-always-read"),
        "logs.match_ids" => {
            let asked = logs(json!({ "items": { "id": given["regex"] } }));
            let matched = asked.map(|it| names(&it, given).into_iter().map(|it| it.0).collect());
            equal(&matched, &serde_json::from_value::<Vec<String>>(expect["matched"].clone()).ok())
        }
        "logs.map_items" => {
            let ids = given["item_ids"].as_array().into_iter().flatten().enumerate();
            let items = ids.map(|(n, id)| json!({ "id": id, "filter": { "tail": n } }));
            let asked = logs(json!({ "items": items.collect::<Vec<_>>() }));
            let map = asked.map(|asked| names(&asked, given).into_iter().collect::<Value>());
            equal(&map, &Some(expect["module_to_item"].clone()))
        }
        "logs.parse_since" => {
            let at = since(text(given, "text"), NOW);
            let wanted = match (expect["unix"].as_u64(), expect["ago_s"].as_u64()) {
                (Some(at), _) => Some(Duration::from_secs(at)),
                (None, Some(ago)) => Some(NOW - Duration::from_secs(ago)),
                (None, None) => None,
            };
            equal(&at.ok(), &wanted)
        }
        area => Verdict::Fail(format!("area `{area}` is not known here")),
    }
}

fn parse(method: &str, payload: &Value) -> Result<Asked, Refused> {
    Asked::parse(method, payload.to_string().as_bytes(), NOW)
}

fn status(asked: &Result<Asked, Refused>) -> Option<i64> {
    Some(asked.as_ref().map_or_else(|refused| refused.status.into(), |_| 200))
}

fn logs(mut payload: Value) -> Option<LogsAsked> {
    payload["schemaVersion"] = json!("1.0");
    match parse("GetModuleLogs", &payload) {
        Ok(Asked::GetModuleLogs(asked)) => Some(asked),
        _ => None,
    }
}

/// The modules that are named, and the tail that each has.
fn names(asked: &LogsAsked, given: &Value) -> Vec<(String, Value)> {
    let modules = given["modules"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let named = asked.of(modules);
    named.into_iter().map(|(name, filter)| (name.to_owned(), json!(filter.tail))).collect()
}

fn defaults(given: &Value, expect: &Value) -> Verdict {
    let asked = logs(json!({
        "items": { "id": "all" }, "encoding": given["encoding"], "contentType": given["contentType"],
    }));
    let Some(asked) = asked else { return Verdict::Fail("it is refused".into()) };
    let encoding = if asked.is_gzip { "gzip" } else { "none" };
    let kind = if asked.is_json { "json" } else { "text" };
    match given["contentType"].is_null() && text(expect, "encoding") == encoding {
        true => Verdict::Otherwise("defaults-as-documented"),
        false => equal(&(encoding, kind), &(text(expect, "encoding"), text(expect, "contentType"))),
    }
}

fn task_status(given: &Value, expect: &Value) -> Verdict {
    if given.get("task").is_none() {
        let asked = parse("GetTaskStatus", given);
        let wanted = match text(expect, "error") {
            "InvalidSchemaVersion" => 500,
            "ArgumentException" => 400,
            _ => 200,
        };
        return equal(&status(&asked), &Some(wanted));
    }
    let (mut tasks, now) = (Tasks::default(), Instant::now());
    let task = text(given, "task");
    if !task.contains("unknown") {
        tasks.on_begun("t", now);
    }
    match task {
        "running" => tasks.on_started("t"),
        "threw" | "failed" => tasks.on_ended("t", Err("why".into()), now),
        "completed" | "done" | "finished" => tasks.on_ended("t", Ok(String::new()), now),
        "cancelled" | "canceled" => return Verdict::Otherwise("tasks-are-not-cancelled"),
        _ => {}
    }
    equal(&tasks.status("t", now).0.as_str(), &text(expect, "status"))
}

fn filter(given: &Value, expect: &Value) -> Verdict {
    let filter = json!({ "loglevel": given["loglevel"], "regex": given["regex"] });
    let asked = logs(json!({ "items": { "id": "all", "filter": filter } }));
    let Some(asked) = asked else { return Verdict::Fail("it is refused".into()) };
    let kept = |(n, line): (usize, &Value)| {
        let level = line[0].as_u64().unwrap_or_default() as u8;
        let text = line[1].as_str().unwrap_or_default().to_owned();
        let line = Line { said: Said { level, time: None, text }, ..Line::default() };
        asked.items[0].filter.takes(&line).then_some(n)
    };
    let lines = given["lines"].as_array().into_iter().flatten();
    let kept = json!(lines.enumerate().filter_map(kept).collect::<Vec<_>>());
    match !given["loglevel"].is_null() && kept != expect["kept"] {
        true => Verdict::Otherwise("levels-and-worse"),
        false => equal(&kept, &expect["kept"]),
    }
}
