//! `list`, `logs`, `restart`, `why`, `module env`: modules of this device.

use std::io::{IsTerminal, stdout};
use std::time::Duration;

use futures_util::stream::StreamExt;
use serde_json::Value;

use super::command::Output;
use super::device::{Runtime, segment};
use super::error::CtlError;
use super::output::{ahead, distance, print, say, show, table, text_of};

/// `list [-w]`.
pub(super) async fn list(runtime: &Runtime, output: Output, watch: bool) -> Result<(), CtlError> {
    if !watch {
        return show(output, &runtime.get("/modules").await?, text);
    }
    loop {
        let shown = match runtime.get("/modules").await {
            Ok(modules) if output == Output::Json => format!("{modules}\n"),
            Ok(modules) => text(&modules),
            Err(e) => format!("{e}\n"),
        };
        let clear = if stdout().is_terminal() { "\x1b[H\x1b[2J" } else { "" };
        print(&format!("{clear}{shown}"))?;
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

fn text(status: &Value) -> String {
    let modules = status["modules"].as_array().map(Vec::as_slice).unwrap_or_default();
    let rows: Vec<_> = modules.iter().map(row).collect();
    let mut text = table(&["MODULE", "STATUS", "SINCE", "RESTARTS", "WHY", "IMAGE"], &rows);
    let engine = text_of(status, "engine");
    if !["", "ready"].contains(&engine) {
        text.push_str(&format!("containers: {engine}\n"));
    }
    text
}

fn row(module: &Value) -> Vec<String> {
    let since = module["since"].as_str().map_or("-".into(), distance);
    let restarts = module["restarts"].as_u64().unwrap_or_default().to_string();
    let why = match (text_of(module, "why"), module["next_attempt"].as_str()) {
        ("", None) => "-".into(),
        (why, None) => why.to_owned(),
        ("", Some(next)) => format!("next attempt {}", ahead(next)),
        (why, Some(next)) => format!("{why}; next attempt {}", ahead(next)),
    };
    let name = |name| text_of(module, name).to_owned();
    vec![name("name"), name("status"), since, restarts, why, name("image")]
}

/// `logs MODULE [-f] [--tail N] [--since TIME] [--until TIME]`.
pub(super) async fn logs(runtime: &Runtime, module: &str, query: &str) -> Result<(), CtlError> {
    let target = format!("/modules/{}/logs?{query}", segment(module));
    let mut lines = runtime.follow(&target).await?;
    while let Some(chunk) = lines.next().await {
        let chunk = chunk.map_err(|e| CtlError::new("the log broke off").because(e))?;
        print(&String::from_utf8_lossy(&chunk))?;
    }
    Ok(())
}

/// `restart MODULE`.
pub(super) async fn restart(runtime: &Runtime, module: &str) -> Result<(), CtlError> {
    runtime.post(&format!("/modules/{}/restart", segment(module))).await?;
    say(&format!("restarted {module}"));
    Ok(())
}

/// `why MODULE`.
pub(super) async fn why(runtime: &Runtime, output: Output, module: &str) -> Result<(), CtlError> {
    let why = runtime.get(&format!("/why/{}", segment(module))).await?;
    show(output, &why, explain)
}

fn explain(why: &Value) -> String {
    let module = &why["module"];
    let mut text = format!("{} is {}", text_of(module, "name"), text_of(module, "status"));
    if let Some(since) = module["since"].as_str() {
        text.push_str(&format!(", since {since} ({})", distance(since)));
    }
    text.push('\n');
    let mut line = |name: &str, value: String| {
        if !value.is_empty() && value != "null" {
            text.push_str(&format!("  {name:<14}{value}\n"));
        }
    };
    line("why", text_of(module, "why").into());
    let next = module["next_attempt"].as_str();
    line("next attempt", next.map(ahead).unwrap_or_default());
    line("restarts", module["restarts"].to_string());
    line("last exit", module["exit_code"].to_string());
    line("image", text_of(module, "image").into());
    for difference in module["differences"].as_array().into_iter().flatten() {
        line("not in sync", difference.as_str().unwrap_or_default().into());
    }
    for note in module["notes"].as_array().into_iter().flatten() {
        line("note", note.as_str().unwrap_or_default().into());
    }
    let lines: Vec<_> = why["last_lines"].as_array().into_iter().flatten().collect();
    if !lines.is_empty() {
        text.push_str("last lines:\n");
        let lines = lines.iter().filter_map(|line| line.as_str());
        lines.for_each(|line| text.push_str(&format!("  {line}\n")));
    }
    text
}

/// `module env MODULE`. What may go wrong next is said beside it.
pub(super) async fn env(runtime: &Runtime, output: Output, module: &str) -> Result<(), CtlError> {
    let answer = runtime.get(&format!("/modules/{}/environment", segment(module))).await?;
    show(output, &answer["environment"], variables)?;
    if text_of(&answer, "status") == "running" {
        say(&format!(
            "{module} runs in its container, too, and the two would take each other's connection: \
             stop that first (edgectl hub twin set DEVICE '$edgeAgent' \
             modules.{module}.status=stopped, and =running afterwards)"
        ));
    }
    let gateway = text_of(&answer["environment"], "IOTEDGE_GATEWAYHOSTNAME").to_owned();
    if tokio::net::lookup_host((gateway.as_str(), 0)).await.is_err() {
        say(&format!("{gateway} is not found from here: add it to /etc/hosts"));
    }
    Ok(())
}

/// As `env` and the files of debuggers take it.
fn variables(environment: &Value) -> String {
    let all = environment.as_object().into_iter().flatten();
    all.map(|(name, value)| format!("{name}={}\n", value.as_str().unwrap_or_default())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_module_is_shown_with_why_and_when_it_is_tried_again() {
        let modules = json!({ "engine": "cannot be reached", "modules": [
            { "name": "edgeHub", "status": "running", "restarts": 0, "why": "", "image": "" },
            { "name": "sensor", "status": "backoff", "restarts": 3, "why": "exited with 137",
              "next_attempt": "2001-01-01T00:00:00Z", "image": "sensor:1", "since": null },
        ]});
        let text = text(&modules);
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].starts_with("MODULE   STATUS   SINCE  RESTARTS  WHY"));
        let sensor = "sensor   backoff  -      3         exited with 137; next attempt now ";
        assert!(lines[2].starts_with(sensor) && lines[2].ends_with("sensor:1"), "{text}");
        assert_eq!(lines[3], "containers: cannot be reached");
    }

    #[test]
    fn variables_are_printed_as_env_takes_them() {
        let environment = json!({ "IOTEDGE_MODULEID": "m", "IOTEDGE_DEVICEID": "gw" });
        assert_eq!(variables(&environment), "IOTEDGE_MODULEID=m\nIOTEDGE_DEVICEID=gw\n");
    }

    #[test]
    fn why_tells_what_is_known_and_no_more() {
        let why = json!({ "module": { "name": "m", "status": "failed", "why": "exited with 1",
            "restarts": 2, "exit_code": 1, "image": "i", "next_attempt": null,
            "differences": ["status is failed, running is desired"] }, "last_lines": ["oh", "no"] });
        assert_eq!(
            explain(&why),
            "m is failed\n  why           exited with 1\n  restarts      2\n  last exit     1\n  \
             image         i\n  not in sync   status is failed, running is desired\nlast \
             lines:\n  oh\n  no\n"
        );
    }
}
