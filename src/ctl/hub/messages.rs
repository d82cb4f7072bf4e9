//! `hub method` and `hub c2d send`.

use std::time::Duration;

use serde_json::{Value, json};

use super::{identity, target};
use crate::ctl::command::{Method, Output};
use crate::ctl::error::CtlError;
use crate::ctl::output::{pretty, say, show};
use crate::ctl::rest::Hub;
use crate::protocol::http_client::ClientRequest;

/// `hub method`: its answer on standard output; a status of 400 and more is a failure.
pub(super) async fn method(hub: &Hub, output: Output, args: Method) -> Result<(), CtlError> {
    let identity = identity(&args.target, args.module.as_deref())?;
    let payload = args.payload.as_deref().unwrap_or("null");
    let payload: Value = serde_json::from_str(payload).map_err(|e| {
        let error = CtlError::usage("the payload is not JSON").because(e);
        error.hint("a text is JSON in double quotes: '\"text\"'")
    })?;
    let body = json!({
        "methodName": args.name,
        "payload": payload,
        "responseTimeoutInSeconds": args.timeout,
        "connectTimeoutInSeconds": args.connect_timeout,
    });
    let request = ClientRequest::new("POST", format!("{}/methods", target("twins", &identity)));
    let deadline = Duration::from_secs(args.timeout + args.connect_timeout + 20);
    let answer = hub.call(request.with_json(&body), deadline).await?;
    show(output, &answer, |answer| format!("{}\n", pretty(&answer["payload"])))?;
    match answer["status"].as_i64() {
        Some(status) if status >= 400 => {
            Err(CtlError::new(format!("{identity} answered {} with status {status}", args.name)))
        }
        _ => Ok(()),
    }
}

/// `hub c2d send`.
pub(super) async fn send(
    hub: &Hub,
    device: &str,
    body: String,
    properties: &[String],
    system: [(&str, Option<String>); 3],
) -> Result<(), CtlError> {
    let identity = identity(device, None)?;
    let path = format!("{}/messages/devicebound", target("devices", &identity));
    let mut request = ClientRequest::new("POST", path);
    for (name, value) in system {
        if let Some(value) = value {
            request = request.with_header(name, value);
        }
    }
    for property in properties {
        let wrong = || CtlError::usage(format!("`{property}` is not of the form name=value"));
        let (name, value) = property.split_once('=').ok_or_else(wrong)?;
        request = request.with_header(&format!("iothub-app-{name}"), value);
    }
    request.body = body.into();
    hub.call(request, Duration::from_secs(20)).await?;
    say(&format!("queued for {device}"));
    Ok(())
}
