//! `deploy FILE`: shows what goes and comes, asks, applies, and waits until it runs.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::command::{Deploy, Output};
use super::device::{Runtime, segment};
use super::error::CtlError;
use super::manifest::{changes, desired, parse};
use super::output::{confirm, print, say, show, text_of};
use super::rest::Hub;
use crate::domain::agent::manifest::Manifest;
use crate::domain::agent::when::NEVER;
use crate::protocol::files::read_text;

/// `deploy`.
pub(super) async fn deploy(
    hub: &Hub,
    runtime: &Runtime,
    output: Output,
    args: &Deploy,
) -> Result<(), CtlError> {
    let text = read_text(&args.file).map_err(|e| CtlError::new("no manifest").because(e))?;
    let content = parse(&text)?;
    let device = match &args.device {
        Some(device) => device.clone(),
        None => {
            let status = runtime.get("/status").await;
            let status = status.map_err(|e| e.hint("or name the edge device with --device"))?;
            text_of(&status, "device").to_owned()
        }
    };
    let (lines, troubles) = what_changes(hub, &device, &content).await?;
    let shown = json!({ "device": device, "changes": lines });
    show(output, &shown, |_| match lines.as_slice() {
        [] => format!("{device}: nothing changes\n"),
        lines => format!("{device}:\n  {}\n", lines.join("\n  ")),
    })?;
    troubles.iter().for_each(|trouble| say(&format!("warning: {trouble}")));
    if !lines.is_empty() {
        if !args.yes && !confirm(&format!("deploy this to {device}?"))? {
            return Err(CtlError::new("not deployed"));
        }
        let target = format!("/devices/{}/applyConfigurationContent", segment(&device));
        hub.send("POST", &target, &json!({ "modulesContent": content })).await?;
        say(&format!("deployed to {device}"));
    }
    match args.wait {
        Some(limit) => wait(hub, &device, limit).await,
        None => Ok(()),
    }
}

fn twin(device: &str, module: &str) -> String {
    format!("/twins/{}/modules/{}", segment(device), segment(module))
}

async fn what_changes(
    hub: &Hub,
    device: &str,
    content: &Map<String, Value>,
) -> Result<(Vec<String>, Vec<String>), CtlError> {
    let (mut lines, mut troubles) = (Vec::new(), Vec::new());
    for (module, given) in content {
        let found = hub.find(&twin(device, module)).await?;
        let current = found.map(|twin| twin["properties"]["desired"].clone());
        let current = current.unwrap_or_else(|| json!({}));
        let new = desired(given, &current);
        lines.extend(changes(module, &current, &new));
        if module == "$edgeAgent" {
            troubles = self::troubles(&new);
        }
    }
    if lines.is_empty() && hub.find(&format!("/devices/{}", segment(device))).await?.is_none() {
        return Err(CtlError::new(format!("the hub does not know the device {device}")));
    }
    Ok((lines, troubles))
}

/// What the device will find wrong, and what it will ignore: it says so only afterwards.
fn troubles(desired: &Value) -> Vec<String> {
    let parent = Some("parent"); // whether there is one, the device knows
    let manifest = match Manifest::parse(desired, parent) {
        Ok(manifest) => manifest,
        Err(rejected) => return vec![rejected.to_string()],
    };
    let wrong = manifest.modules.values().filter_map(|module| module.as_ref().err());
    wrong.map(ToString::to_string).chain(manifest.warnings.clone()).collect()
}

/// Until the edge says that all is as desired, or that it will not be.
async fn wait(hub: &Hub, device: &str, limit: Duration) -> Result<(), CtlError> {
    let mut told = Vec::new();
    let mut missing = Vec::new();
    let waiting = async {
        loop {
            let (agent, edge_hub) = (
                hub.get(&twin(device, "$edgeAgent")).await?,
                hub.get(&twin(device, "$edgeHub")).await?,
            );
            missing = pending(&agent, &edge_hub);
            if missing.is_empty() {
                return Ok(());
            }
            if missing.iter().all(|one| one.is_final) {
                let error = CtlError::new(format!("{device} cannot run as desired"));
                return Err(error.because(listed(&missing)).hint(HINT));
            }
            if missing != told {
                say(&format!("waiting: {}", listed(&missing)));
                told.clone_from(&missing);
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    match tokio::time::timeout(limit, waiting).await {
        Ok(Ok(())) => print(&format!("{device} runs as desired\n")),
        Ok(Err(e)) => Err(e),
        Err(_) => {
            let what = format!("{device} does not run as desired after {} s", limit.as_secs());
            Err(CtlError::new(what).because(listed(&missing)).hint(HINT))
        }
    }
}

const HINT: &str = "`edgectl why MODULE` on the device tells more; the deployment stays";

/// Something that is not as desired.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Missing {
    what: String,
    /// Waiting does not help: the deployment itself is wrong.
    is_final: bool,
}

fn listed(missing: &[Missing]) -> String {
    missing.iter().map(|one| one.what.as_str()).collect::<Vec<_>>().join("; ")
}

/// What is not as desired yet, by the twins that the edge reports to.
fn pending(agent: &Value, edge_hub: &Value) -> Vec<Missing> {
    let mut missing = Vec::new();
    let mut add = |what: String, is_final| missing.push(Missing { what, is_final });
    for (name, twin) in [("agent", agent), ("hub", edge_hub)] {
        let (desired, reported) = (&twin["properties"]["desired"], &twin["properties"]["reported"]);
        let (version, seen) = (&desired["$version"], &reported["lastDesiredVersion"]);
        let is_empty = desired.as_object().is_none_or(|d| d.keys().all(|key| key.starts_with('$')));
        let status = &reported["lastDesiredStatus"];
        if is_empty {
            continue;
        }
        if seen != version {
            add(format!("{name}: version {version} not acted upon yet"), false);
        } else if status["code"] != 200 {
            let why = text_of(status, "description");
            let what = format!("{name}: {} {why}", status["code"]).trim_end().to_owned();
            add(what, status["code"] == 400);
        }
    }
    let wanted = agent["properties"]["desired"]["modules"].as_object();
    let reported = &agent["properties"]["reported"]["modules"];
    for (name, module) in wanted.into_iter().flatten() {
        let wants = module["status"].as_str().unwrap_or("running");
        let is = reported[name]["runtimeStatus"].as_str().unwrap_or("not there yet");
        let is_right = match wants {
            "stopped" => is == "not there yet",
            _ => is == "stopped" && is_done(module, &reported[name]),
        };
        if is != wants && !is_right {
            let why = text_of(&reported[name], "statusDescription");
            let why = if why.is_empty() { String::new() } else { format!(" ({why})") };
            add(format!("{name} is {is}{why}"), is == "failed");
        }
    }
    for (name, module) in reported.as_object().into_iter().flatten() {
        if !module.is_null() && wanted.is_some_and(|wanted| !wanted.contains_key(name)) {
            add(format!("{name} is still there"), false);
        }
    }
    missing
}

/// Whether it has ended well, and its policy does not start it again.
fn is_done(desired: &Value, reported: &Value) -> bool {
    let policy = desired["restartPolicy"].as_str().unwrap_or_default();
    let ended = text_of(reported, "lastExitTimeUtc");
    let has_ended = !ended.is_empty() && ended != NEVER;
    !policy.eq_ignore_ascii_case("always") && has_ended && reported["exitCode"] == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_or_ignored_is_told_before_it_is_deployed() {
        let module = |policy: &str| json!({ "type": "docker", "status": "running", policy: "never", "settings": { "image": "$upstream:1/i" } });
        let bad = json!({ "type": "docker", "settings": { "image": "i" } });
        let all = json!({ "a": module("restartPolicy"), "b": module("resartPolicy"), "c": bad });
        let desired = json!({
            "schemaVersion": "1.1", "runtime": { "type": "docker" }, "systemModules": {}, "modules": all,
        });
        let all = troubles(&desired);
        assert!(all.len() == 2 && all[0].starts_with("modules.c.status"), "{all:?}");
        assert!(all[1].contains("did you mean restartPolicy?"), "{all:?}");
        assert!(troubles(&json!({ "schemaVersion": "2.0" }))[0].contains("2.0"));
    }

    fn twin(desired: Value, reported: Value) -> Value {
        json!({ "properties": { "desired": desired, "reported": reported } })
    }

    #[test]
    fn what_is_waited_for_is_named() {
        let module = |status: &str| json!({ "status": status });
        let desired = json!({ "$version": 4, "modules": {
            "a": module("running"), "b": module("running"), "c": module("stopped"), "d": {} }});
        let is = |status: &str| json!({ "runtimeStatus": status, "statusDescription": "no image" });
        let mut agent = twin(
            desired,
            json!({ "lastDesiredVersion": 3, "modules": {
            "a": is("running"), "b": is("backoff"), "c": is("stopped"), "d": is("running"),
            "old": is("running"), "gone": null }}),
        );
        let edge_hub = twin(
            json!({ "$version": 1, "routes": {} }),
            json!({ "lastDesiredVersion": 1,
            "lastDesiredStatus": { "code": 400, "description": "route r: no" } }),
        );
        assert_eq!(
            listed(&pending(&agent, &edge_hub)),
            "agent: version 4 not acted upon yet; hub: 400 route r: no; b is backoff (no image); \
             old is still there"
        );
        let reported = &mut agent["properties"]["reported"];
        reported["lastDesiredVersion"] = 4.into();
        reported["lastDesiredStatus"] = json!({ "code": 200 });
        reported["modules"]["b"] = is("running");
        reported["modules"]["old"] = Value::Null;
        assert!(pending(&agent, &twin(json!({ "$version": 1 }), json!({}))).is_empty());
        // What is left then is wrong in the deployment itself.
        assert!(pending(&agent, &edge_hub).iter().all(|one| one.is_final));
        // A job that is done, where its policy takes that for an end.
        let mut done = is("stopped");
        done["exitCode"] = 0.into();
        for (policy, ended, is_done) in [
            ("on-failure", "2026-11-26T06:00:00Z", true),
            ("never", "2026-11-26T06:00:00Z", true),
            ("on-failure", NEVER, false),
            ("Always", "2026-11-26T06:00:00Z", false),
        ] {
            done["lastExitTimeUtc"] = ended.into();
            agent["properties"]["reported"]["modules"]["b"] = done.clone();
            agent["properties"]["desired"]["modules"]["b"]["restartPolicy"] = policy.into();
            let missing = pending(&agent, &twin(json!({ "$version": 1 }), json!({})));
            assert_eq!(missing.is_empty(), is_done, "{policy} {ended}: {missing:?}");
        }
        agent["properties"]["reported"]["modules"]["b"] = is("failed");
        let missing = pending(&agent, &edge_hub);
        assert!(missing.len() == 2 && missing.iter().all(|one| one.is_final), "{missing:?}");
    }
}
