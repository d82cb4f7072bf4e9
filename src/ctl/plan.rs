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
    let content = parse(&text)?;
    let Some(given) = content.get("$edgeAgent") else {
        return Err(CtlError::new("the manifest has nothing for $edgeAgent: no module changes"));
    };
    let planned = runtime.act_with("/plan", given).await?;
    show(output, &planned, told)?;
    let is = |word: &str| members(&planned["modules"]).any(|it| it["change"] == word);
    Ok(ExitCode::from(match () {
        () if is("wrong") => 1,
        () if ["added", "changed", "removed"].into_iter().any(is) => 2,
        () => 0,
    }))
}

fn told(planned: &Value) -> String {
    let mut text = String::new();
    for module in members(&planned["modules"]) {
        let sign = match text_of(module, "change") {
            "added" => '+',
            "removed" => '-',
            "changed" => '~',
            "wrong" => '!',
            _ => '=',
        };
        let differences: Vec<_> =
            members(&module["differences"]).filter_map(Value::as_str).collect();
        let colon = if differences.is_empty() { "" } else { ": " };
        let (name, what) = (text_of(module, "name"), text_of(module, "change"));
        text.push_str(&format!("{sign} {name} {what}{colon}{}\n", differences.join(", ")));
    }
    for image in members(&planned["images"]) {
        let name = image[0].as_str().unwrap_or_default();
        let size = match image[1].as_u64() {
            Some(size) => format!("on this device, {}", bytes(size)),
            None => "to be pulled, size not known".into(),
        };
        text.push_str(&format!("image {name}: {size}\n"));
    }
    if text.is_empty() { "no modules, and none wanted\n".into() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_plan_is_told_line_by_line() {
        let planned = json!({
            "modules": [
                {"name": "a", "change": "changed", "differences": ["image i:1 -> i:2", "env K"]},
                {"name": "b", "change": "untouched", "differences": []},
            ],
            "images": [["i:2", null], ["j:1", 2048]],
        });
        assert_eq!(
            told(&planned),
            "~ a changed: image i:1 -> i:2, env K\n= b untouched\nimage i:2: to be pulled, size \
             not known\nimage j:1: on this device, 2.0 KiB\n"
        );
    }
}
