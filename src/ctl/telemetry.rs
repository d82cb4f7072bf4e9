//! `telemetry [-f]`: what reached the hub.

use futures_util::stream::StreamExt;
use serde_json::{Value, json};

use super::command::{Output, Telemetry};
use super::error::CtlError;
use super::output::{self, print, text_of};
use super::rest::Hub;

const PAGE: u64 = 500;

/// Prints a line for each message.
pub(super) async fn telemetry(hub: &Hub, output: Output, args: &Telemetry) -> Result<(), CtlError> {
    let line = |item: &Value| match &args.device {
        Some(device) if text_of(item, "deviceId") != device => String::new(),
        _ if output == Output::Json => format!("{}\n", decoded(item)),
        _ => text(item),
    };
    if args.follow {
        let since = match args.since {
            Some(since) => since,
            None => next(&hub.get(&format!("/telemetry?since={}", u64::MAX >> 1)).await?)?,
        };
        let mut items = hub.follow(&format!("/telemetry/stream?since={since}")).await?;
        let mut rest = Vec::new();
        while let Some(chunk) = items.next().await {
            rest.extend(chunk.map_err(|e| CtlError::new("the telemetry broke off").because(e))?);
            while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
                let item: Vec<_> = rest.drain(..=end).collect();
                if let Ok(item) = serde_json::from_slice(&item) {
                    print(&line(&item))?;
                }
            }
        }
        return Err(CtlError::new("the hub ended the stream").hint("try again, with --since"));
    }
    let mut since = args.since.unwrap_or_default();
    loop {
        let page = hub.get(&format!("/telemetry?since={since}&max={PAGE}")).await?;
        let items = page["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        print(&items.iter().map(line).collect::<String>())?;
        since = next(&page)?;
        if items.is_empty() {
            return Ok(());
        }
    }
}

fn next(page: &Value) -> Result<u64, CtlError> {
    page["next"].as_u64().ok_or_else(|| CtlError::new("this hub has no telemetry to read"))
}

fn body(item: &Value) -> Value {
    output::body(text_of(item, "body")).0
}

fn decoded(item: &Value) -> Value {
    let mut decoded = item.clone();
    decoded["body"] = body(item);
    decoded
}

fn text(item: &Value) -> String {
    let sender = match item["moduleId"].as_str() {
        Some(module) => format!("{}/{module}", text_of(item, "deviceId")),
        None => text_of(item, "deviceId").to_owned(),
    };
    let body = match body(item) {
        Value::String(text) => text,
        json => json.to_string(),
    };
    let properties = match &item["applicationProperties"] {
        properties if *properties == json!({}) || properties.is_null() => String::new(),
        properties => format!("  {properties}"),
    };
    let (offset, time) = (&item["offset"], text_of(item, "enqueuedTime"));
    format!("{offset} {time} {sender}  {body}{properties}\n")
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    #[test]
    fn bodies_are_shown_as_json_text_or_base64() {
        let item = |bytes: &[u8]| {
            json!({ "offset": 3, "enqueuedTime": "T", "deviceId": "gw", "moduleId": "m",
                    "applicationProperties": {}, "body": STANDARD.encode(bytes) })
        };
        assert_eq!(text(&item(br#"{"t": 21.5}"#)), "3 T gw/m  {\"t\":21.5}\n");
        assert_eq!(text(&item(b"hello")), "3 T gw/m  hello\n");
        assert_eq!(text(&item(&[0xff])), "3 T gw/m  /w==\n");
        assert_eq!(decoded(&item(b"[1]"))["body"], json!([1]));
        let mut device = item(b"1");
        device["moduleId"] = Value::Null;
        device["applicationProperties"] = json!({ "a": "b" });
        assert_eq!(text(&device), "3 T gw  1  {\"a\":\"b\"}\n");
    }
}
