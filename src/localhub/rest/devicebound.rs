//! Cloud-to-device messages: sent, purged, and what became of them.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Answer, Rest, ask, identity};
use crate::domain::bag::Bag;
use crate::domain::iso8601;
use crate::domain::service_error::ServiceError;
use crate::localhub::random;
use crate::messages::devicebound::{Ack, Enqueue, Purge, TakeFeedback};
use crate::protocol::http::{HttpRequest, HttpResponse, header_text};

/// Most bytes of a body.
const MOST: usize = 256 * 1024;
/// Most bytes of all properties, so that they fit into a topic.
const MOST_PROPERTIES: usize = 60_000;

impl Rest {
    /// The body as it is, properties from headers.
    pub(super) async fn enqueue(&self, request: &HttpRequest, device: &str) -> Answer {
        let device = identity(device, None)?;
        self.find(&device).await?;
        if request.body.len() > MOST {
            let why = format!("a message has {MOST} bytes at most");
            return Err(ServiceError::new(413, "MessageTooLarge", why));
        }
        let to = format!("/{}/messages/devicebound", device.resource());
        let message = Enqueue {
            bag: properties(request, &to)?,
            body: request.body.clone(),
            expires: expiry(request)?,
            ack: ack(request)?,
            device,
        };
        ask(&self.ports.enqueue, message).await?;
        Ok(HttpResponse::empty(204))
    }

    pub(super) async fn purge(&self, device: &str) -> Answer {
        let device = identity(device, None)?;
        self.find(&device).await?;
        let purged = ask(&self.ports.purge, Purge { device: device.clone() }).await?;
        let answer = json!({ "deviceId": device.device_id(), "moduleId": null, "totalMessagesPurged": purged });
        Ok(HttpResponse::json(200, &answer))
    }

    pub(super) async fn feedback(&self) -> Answer {
        let records = ask(&self.ports.feedback, TakeFeedback).await?;
        if records.is_empty() {
            return Ok(HttpResponse::empty(204));
        }
        let lock = format!("\"{}\"", random::token());
        let answer = HttpResponse::json(200, &Value::Array(records));
        Ok(answer.with_header("ETag", &lock).with_header("iothub-messageid", ""))
    }
}

/// System properties by the names that devices know, then the application's.
pub(super) fn properties(request: &HttpRequest, to: &str) -> Result<Bag, ServiceError> {
    let header = |name: &str| request.header(name).filter(|value| !value.is_empty());
    let mut pairs = vec![("$.to".to_owned(), to.to_owned())];
    let known = [
        ("iothub-messageid", "$.mid"),
        ("iothub-correlationid", "$.cid"),
        ("iothub-userid", "$.uid"),
        ("content-type", "$.ct"),
        ("iothub-contenttype", "$.ct"),
        ("content-encoding", "$.ce"),
        ("iothub-contentencoding", "$.ce"),
        ("iothub-ack", "iothub-ack"),
    ];
    for (name, key) in known {
        if let Some(value) = header(name) {
            pairs.retain(|(other, _)| other != key);
            pairs.push((key.to_owned(), value));
        }
    }
    if let Some(expiry) = expiry(request)? {
        pairs.push(("$.exp".to_owned(), iso8601::ticks(expiry)));
    }
    for (name, value) in &request.headers {
        if let Some(name) = name.strip_prefix("iothub-app-").filter(|name| !name.is_empty()) {
            pairs.push((name.to_owned(), header_text(value)));
        }
    }
    let bag = Bag::from_pairs(pairs.iter().map(|(name, value)| (&**name, Some(&**value))));
    if bag.len() > MOST_PROPERTIES {
        let why = format!("the properties have {MOST_PROPERTIES} bytes at most, encoded");
        return Err(ServiceError::new(413, "MessageTooLarge", why));
    }
    Ok(bag)
}

/// ISO-8601, or Unix time in milliseconds.
fn expiry(request: &HttpRequest) -> Result<Option<Duration>, ServiceError> {
    let Some(text) = request.header("iothub-expiry").filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let millis = text.parse().ok().filter(|millis| *millis > 0).map(Duration::from_millis);
    let expiry = millis.or_else(|| iso8601::parse(&text));
    let why = || ServiceError::bad("iothub-expiry is neither ISO-8601 nor Unix milliseconds");
    expiry.map(Some).ok_or_else(why)
}

fn ack(request: &HttpRequest) -> Result<Ack, ServiceError> {
    let text = request.header("iothub-ack").unwrap_or_default().to_ascii_lowercase();
    match text.as_str() {
        "" | "none" => Ok(Ack::None),
        "positive" => Ok(Ack::Positive),
        "negative" => Ok(Ack::Negative),
        "full" => Ok(Ack::Full),
        _ => Err(ServiceError::bad("iothub-ack is none, positive, negative or full")),
    }
}
