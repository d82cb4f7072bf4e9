//! `plan FILE`, `deploy FILE --dry-run`: what a deployment would do to this device.

use std::path::Path;
use std::process::ExitCode;

use serde_json::Value;

use super::command::Output;
use super::device::Runtime;
use super::error::CtlError;
use super::manifest::parse;
use super::output::{bytes, members, show, text_of};
use crate::protocol::files::read_text;

/// Exit status: 0 nothing, 2 changes, 1 something is wrong.
pub(super) async fn plan(
    runtime: &Runtime,
    output: Output,
    file: &Path,
) -> Result<ExitCode, CtlError> {
    let text = read_text(file).map_err(|e| CtlError::new("no manifest").because(e))?;
    let content = Value::Object(parse(&text)?);
    let planned = runtime.act_with("/plan", &content).await?;
    show(output, &planned, told)?;
    let is = |word: &str| SECTIONS.iter().any(|section| count(&planned[section], word) > 0);
    Ok(ExitCode::from(match () {
        () if is("wrong") => 1,
        () if ["added", "changed", "removed"].into_iter().any(is) => 2,
        () => 0,
    }))
}

const SECTIONS: [&str; 3] = ["modules", "routes", "properties"];

fn count(changes: &Value, word: &str) -> usize {
    members(changes).filter(|it| it["change"] == word).count()
}

fn told(planned: &Value) -> String {
    let mut text = String::new();
    for module in members(&planned["modules"]) {
        let what = match (text_of(module, "change"), module["image"].is_string()) {
            ("changed", true) => "changed, its container is made anew",
            ("changed", false) => "changed in place",
            (change, _) => change,
        };
        text.push_str(&line("", module, what));
    }
    for route in members(&planned["routes"]) {
        text.push_str(&line("route ", route, text_of(route, "change")));
    }
    for one in members(&planned["properties"]).filter(|it| it["change"] != "untouched") {
        text.push_str(&line("desired properties of ", one, text_of(one, "change")));
    }
    for image in members(&planned["images"]) {
        let name = image[0].as_str().unwrap_or_default();
        let mut of_it = members(&planned["modules"]).filter(|it| it["image"] == image[0]);
        let is_pulled = !of_it.all(|module| module["is_never_pulled"] == true);
        let size = match image[1].as_u64() {
            Some(size) => format!("on this device, {}", bytes(size)),
            None if is_pulled => "to be pulled, size not known".into(),
            None => "not on this device, and never pulled (imagePullPolicy)".into(),
        };
        text.push_str(&format!("image {name}: {size}\n"));
    }
    for note in members(&planned["notes"]).filter_map(Value::as_str) {
        text.push_str(&format!("note: {note}\n"));
    }
    text + &summary(planned) + "\n"
}

fn line(what: &str, one: &Value, change: &str) -> String {
    let sign = match text_of(one, "change") {
        "added" => '+',
        "removed" => '-',
        "changed" => '~',
        "wrong" => '!',
        _ => '=',
    };
    let differences: Vec<_> = members(&one["differences"]).filter_map(Value::as_str).collect();
    let colon = if differences.is_empty() { "" } else { ": " };
    format!("{sign} {what}{} {change}{colon}{}\n", text_of(one, "name"), differences.join(", "))
}

/// How many of each.
fn summary(planned: &Value) -> String {
    let of = |section: &str, words: &[&str]| -> Vec<String> {
        let counts = words.iter().map(|word| (word, count(&planned[section], word)));
        counts.filter(|(_, n)| *n > 0).map(|(word, n)| format!("{n} {word}")).collect()
    };
    let all = ["wrong", "added", "changed", "removed", "untouched"];
    let parts = [
        ("modules", of("modules", &all)),
        ("routes", of("routes", &all)),
        ("desired properties", of("properties", &["changed"])),
    ];
    let parts = parts.iter().filter(|(_, counts)| !counts.is_empty());
    let parts: Vec<_> =
        parts.map(|(what, counts)| format!("{what}: {}", counts.join(", "))).collect();
    match parts.is_empty() {
        true => "no modules and no routes, and none wanted".into(),
        false => parts.join("; "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_plan_is_told_line_by_line() {
        let planned = json!({
            "modules": [
                {"name": "a", "change": "changed", "image": "i:2",
                    "differences": ["image i:1 -> i:2", "env K"]},
                {"name": "b", "change": "untouched", "differences": []},
                {"name": "c", "change": "changed", "image": null,
                    "differences": ["restartPolicy never -> always"]},
            ],
            "routes": [{"name": "r", "change": "added",
                "differences": ["FROM /messages/* INTO $upstream"]}],
            "properties": [
                {"name": "$edgeHub", "change": "untouched", "differences": []},
                {"name": "c", "change": "changed", "differences": ["limit added"]},
            ],
            "images": [["i:2", null], ["j:1", 2048]],
            "notes": ["a: speaks AMQP"],
        });
        assert_eq!(
            told(&planned),
            "~ a changed, its container is made anew: image i:1 -> i:2, env K\n= b untouched\n\
             ~ c changed in place: restartPolicy never -> always\n\
             + route r added: FROM /messages/* INTO $upstream\n\
             ~ desired properties of c changed: limit added\n\
             image i:2: to be pulled, size not known\nimage j:1: on this device, 2.0 KiB\n\
             note: a: speaks AMQP\n\
             modules: 2 changed, 1 untouched; routes: 1 added; desired properties: 1 changed\n"
        );
        let none = json!({"modules": [], "images": []});
        assert_eq!(told(&none), "no modules and no routes, and none wanted\n");
    }
}
