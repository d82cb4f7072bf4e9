//! `route check`: all that is wrong with the routes of a file.

use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use super::files::desired;
use crate::ctl::command::Output;
use crate::ctl::error::CtlError;
use crate::ctl::output::show;
use crate::domain::route::RouteSet;

pub(super) fn check(output: Output, file: &Path) -> Result<ExitCode, CtlError> {
    // Whose modules they are does not matter for whether they are good.
    let set = RouteSet::parse(&desired(file)?, "edge");
    let errors: Vec<_> = set.bad.iter().map(|bad| &bad.error).collect();
    let answer = json!({
        "good": set.good.iter().map(|route| &*route.name).collect::<Vec<_>>(),
        "error": set.schema_error,
        "errors": errors,
    });
    show(output, &answer, |_| text(&set))?;
    let is_good = set.schema_error.is_none() && set.bad.is_empty();
    Ok(ExitCode::from(u8::from(!is_good)))
}

fn text(set: &RouteSet) -> String {
    let mut text = String::new();
    for bad in &set.bad {
        _ = writeln!(text, "{}", bad.error);
        if bad.error.line > 0 {
            bad.error.marked().lines().for_each(|line| _ = writeln!(text, "    {line}"));
        }
    }
    _ = match &set.schema_error {
        Some(error) => writeln!(text, "no route can be used: {error}"),
        None => writeln!(text, "{} good, {} bad", set.good.len(), set.bad.len()),
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_is_shown_with_its_place_and_what_to_write() {
        let desired = json!({ "schemaVersion": "1.1", "routes": {
            "good": "FROM /* INTO $upstream",
            "eq": "FROM /messages/*\n WHERE a == 'b' INTO $upstream",
            "far": { "route": "FROM /* INTO $upstream", "priority": 10 },
        }});
        let text = text(&RouteSet::parse(&desired, "edge"));
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].starts_with("route `eq`, line 2, column 11, at `=`: "), "{text}");
        assert_eq!(lines[1], "     WHERE a == 'b' INTO $upstream");
        assert_eq!(lines[2], "              ^");
        assert!(lines[3].starts_with("route `far`, at `10`: `priority` must"), "{text}");
        assert_eq!(lines[4], "1 good, 2 bad");
        assert!(lines[0].ends_with("write `=` for `==`"), "{text}");
    }
}
