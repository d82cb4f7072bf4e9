//! `route test`: users' own tests of their routes.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::files;
use crate::ctl::command::{Output, Test};
use crate::ctl::error::CtlError;
use crate::ctl::output::{members, say, show, text_of};
use crate::domain::route::case::{EDGE, Sample, Verdict, condition, end_to_end};
use crate::domain::route::{Route, system_names, wire_name};

/// Keys that a case may have, and those that are only for its reader.
const FREE: [&str; 5] = ["id", "kind", "note", "origin", "derived"];

pub(super) fn test(output: Output, args: &Test) -> Result<ExitCode, CtlError> {
    let file = files::read(&args.file)?;
    known(&file, &["messages", "cases", "meta"]).map_err(|why| bad(&args.file, &why))?;
    let Some(cases) = file["cases"].as_array().filter(|cases| !cases.is_empty()) else {
        return Err(bad(&args.file, "`cases` must be a list, and not empty"));
    };
    let others = match &args.routes {
        Some(routes) => files::table(routes, EDGE)?.routes().to_vec(),
        None => Vec::new(),
    };
    let judged = cases.iter().enumerate().map(|(at, case)| {
        let id = case["id"].as_str().map_or_else(|| format!("case {}", at + 1), str::to_owned);
        (id, judge(case, &file["messages"], args.routes.as_ref().map(|_| &others[..])))
    });
    let judged: Vec<_> = judged.collect();
    for name in unknown_names(&file) {
        let all: Vec<_> = system_names().collect();
        say(&format!("no message has a system property `{name}`; there are {}", all.join(", ")));
    }
    let failed: Vec<_> = judged.iter().filter_map(|(id, judged)| failure(id, judged)).collect();
    let answer = json!({
        "passed": judged.len() - failed.len(), "failed": failed.len(), "failures": failed,
    });
    show(output, &answer, text)?;
    Ok(ExitCode::from(u8::from(!failed.is_empty())))
}

fn bad(file: &std::path::Path, why: &str) -> CtlError {
    let error = CtlError::new(format!("{} is no file of cases", file.display())).because(why);
    error.hint(
        "it is {\"messages\": {…}, \"cases\": [{\"kind\": \"route_e2e\" or \"condition\", …}]}",
    )
}

fn failure(id: &str, judged: &Result<Verdict, String>) -> Option<Value> {
    match judged {
        Ok(Verdict::Passed) => None,
        Ok(Verdict::Failed { got, wanted }) => {
            Some(json!({ "id": id, "got": got, "wanted": wanted }))
        }
        Err(why) => Some(json!({ "id": id, "error": why })),
    }
}

fn text(answer: &Value) -> String {
    let mut text = String::new();
    for failure in members(&answer["failures"]) {
        let of = |key| text_of(failure, key);
        _ = match failure["error"].as_str() {
            Some(why) => writeln!(text, "{}: {why}", of("id")),
            None => writeln!(text, "{}: got {}, wanted {}", of("id"), of("got"), of("wanted")),
        };
    }
    _ = writeln!(text, "{} passed, {} failed", answer["passed"], answer["failed"]);
    text
}

fn judge(case: &Value, messages: &Value, others: Option<&[Route]>) -> Result<Verdict, String> {
    match text_of(case, "kind") {
        "route_e2e" => {
            let own = ["edge_device", "routes", "sender", "expect_endpoints"];
            known(case, &[&own[..], &["expect_sender_on_delivery"], &FREE].concat())?;
            let sender = &case["sender"];
            let body = ["body_text", "body_charset", "body_hex", "reported_property_update"];
            known(sender, &[&["device", "module", "output", "app", "sys"][..], &body].concat())?;
            properties(sender)?;
            if case["routes"].is_null() && others.is_none() {
                return Err("it has no `routes`, and there is no --routes FILE".to_owned());
            }
            end_to_end(case, others.unwrap_or_default())
        }
        "condition" => {
            let own = ["condition", "message", "expect", "body_query"];
            let errors = ["first_error_class", "first_error_line_col_start"];
            let more = ["first_error_line_col_end", "error_count"];
            known(case, &[&own[..], &errors, &more, &FREE].concat())?;
            let message = match &case["message"] {
                Value::String(name) => {
                    messages.get(name).ok_or(format!("there is no message `{name}`"))?
                }
                message => message,
            };
            known(message, &["source", "app", "sys", "body_text", "body_charset", "body_hex"])?;
            properties(message)?;
            let said = case["condition"].as_str().ok_or("`condition` must be a text")?;
            condition(said, &Sample::read(message)?, text_of(case, "expect"))
        }
        kind => Err(format!("`kind` is `{kind}`; it must be route_e2e or condition")),
    }
}

fn known(object: &Value, keys: &[&str]) -> Result<(), String> {
    let object = object.as_object().ok_or_else(|| format!("`{object}` is no object"))?;
    match object.keys().find(|key| !keys.contains(&key.as_str())) {
        Some(key) => Err(format!("unknown key `{key}`; there are {}", keys.join(", "))),
        None => Ok(()),
    }
}

/// What is not a text would silently not be there.
fn properties(message: &Value) -> Result<(), String> {
    for part in ["app", "sys"] {
        for (name, value) in message[part].as_object().into_iter().flatten() {
            if !value.is_string() && !value.is_null() {
                return Err(format!("`{part}.{name}` must be a text, or null"));
            }
        }
    }
    Ok(())
}

/// Names of system properties that no message can have: they are left out.
fn unknown_names(file: &Value) -> BTreeSet<&str> {
    let named = file["messages"].as_object().into_iter().flatten().map(|(_, message)| message);
    let own = members(&file["cases"]).flat_map(|case| [&case["message"], &case["sender"]]);
    let system = named.chain(own).filter_map(|message| message.get("sys")?.as_object());
    let is_sender = |name: &str| ["connectionDeviceId", "connectionModuleId"].contains(&name);
    let names = system.flatten().map(|(name, _)| name.as_str());
    names.filter(|name| wire_name(name).is_none() && !is_sender(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_pass_or_tell_what_was_got_and_wanted_and_bad_ones_fail() {
        let route = |routes: Value, module: &str, wanted: Value| {
            json!({ "kind": "route_e2e", "edge_device": "gw", "routes": routes,
                    "sender": { "device": "gw", "module": module, "output": "o" },
                    "expect_endpoints": wanted })
        };
        let to = json!(["FROM /messages/modules/s/* INTO BrokeredEndpoint('/modules/m/inputs/i')"]);
        let own = json!({ "a": { "route": "FROM /* INTO $upstream", "priority": 1 } });
        let messages = json!({ "hot": { "source": "/messages", "app": { "t": "31" } } });
        let asks = |message: &str, wanted: &str| {
            json!({ "kind": "condition", "condition": "as_number(t) > 30", "message": message,
                    "expect": wanted })
        };
        let failed = |got: &str, wanted: &str| {
            Ok(Verdict::Failed { got: got.into(), wanted: wanted.into() })
        };
        let table = [
            (route(to.clone(), "s", json!(["gw/m/i"])), Ok(Verdict::Passed)),
            (route(own.clone(), "s", json!(["iothub"])), Ok(Verdict::Passed)),
            (route(to.clone(), "x", json!(["$upstream"])), failed("no endpoint", "$upstream")),
            (asks("hot", "true"), Ok(Verdict::Passed)),
            (asks("hot", "false"), failed("true", "false")),
            (asks("cold", "true"), Err("there is no message `cold`".to_owned())),
            (asks("hot", "yes"), Err("`expect` must be one of".to_owned())),
            (json!({ "kind": "x" }), Err("`kind` is `x`".to_owned())),
            (json!({ "kind": "condition", "expects": 1 }), Err("unknown key `expects`".into())),
            (route(Value::Null, "s", json!([])), Err("it has no `routes`".to_owned())),
            (route(json!(["FROM"]), "s", json!([])), Err("route `r0`".to_owned())),
        ];
        for (case, wanted) in table {
            match (judge(&case, &messages, None), wanted) {
                (Err(why), Err(part)) => assert!(why.contains(&part), "{case}: {why}"),
                (got, wanted) => assert_eq!(got, wanted, "{case}"),
            }
        }
        let sender = json!({ "device": "leaf", "sys": { "sender": "", "contentType": "" } });
        let cases = json!({ "messages": { "m": { "sys": { "sys1": "" } } },
                            "cases": [{ "kind": "route_e2e", "sender": sender }] });
        assert_eq!(unknown_names(&cases), BTreeSet::from(["sender", "sys1"]));
        let number = json!({ "kind": "route_e2e", "sender": { "app": { "temp": 31 } } });
        assert!(judge(&number, &messages, Some(&[])).unwrap_err().contains("must be a text"));
    }
}
