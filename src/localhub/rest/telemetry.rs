//! The telemetry log as JSON: all of it, or as it comes.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::stream::unfold;
use serde_json::{Map, Value, json};

use super::{Answer, DEADLINE, Rest, ask};
use crate::actors::port::Port;
use crate::domain::row::Offset;
use crate::domain::service_error::ServiceError;
use crate::messages::telemetry::{AwaitTelemetry, Item, Items, ReadTelemetry};
use crate::protocol::http::{HttpRequest, HttpResponse};

/// Items read at a time when nobody says how many.
const PAGE: usize = 1000;
/// Before the log is asked again after it did not answer.
const PAUSE: Duration = Duration::from_secs(1);
const NDJSON: &str = "application/x-ndjson";

impl Rest {
    /// `{"items": […], "next": K}`, written as it is read: the log may be longer than memory.
    pub(super) async fn read_telemetry(&self, request: &HttpRequest) -> Answer {
        let since = number(request, "since")?.unwrap_or(0);
        let max = number(request, "max")?.map(|max| usize::try_from(max).unwrap_or(usize::MAX));
        let log = self.ports.read_telemetry.clone();
        let left = max.unwrap_or(usize::MAX);
        let first = read(&log, Offset(since), left).await?;
        let pages = Pages { log, left, page: Some(Ok(first)), is_first: true, has_items: false };
        let body = unfold(pages, |mut pages| async move {
            let chunk = pages.next().await?;
            Some((chunk, pages))
        });
        Ok(HttpResponse::stream(200, "application/json", body))
    }

    /// One item a line, for as long as the reader stays; waits through restarts of the log.
    pub(super) fn follow_telemetry(&self, request: &HttpRequest) -> Answer {
        let since = Offset(number(request, "since")?.unwrap_or(0));
        let (log, end) = (self.ports.read_telemetry.clone(), self.ports.await_telemetry.clone());
        let body = unfold((log, end, since), |(log, end, mut since)| async move {
            loop {
                match read(&log, since, PAGE).await {
                    Ok(page) if !page.items.is_empty() => {
                        let lines = page.items.iter().map(|item| format!("{}\n", show(item)));
                        let lines: String = lines.collect();
                        return Some((Ok(Bytes::from(lines)), (log, end, page.next)));
                    }
                    Ok(page) => {
                        since = page.next; // also if `since` was past the end
                        let _ = end.ask(AwaitTelemetry { since }, DEADLINE).await; // then read
                    }
                    Err(_) => tokio::time::sleep(PAUSE).await,
                }
            }
        });
        Ok(HttpResponse::stream(200, NDJSON, body))
    }
}

/// What is still to be written of a whole answer.
struct Pages {
    log: Port<ReadTelemetry>,
    left: usize,
    page: Option<Result<Items, ServiceError>>,
    is_first: bool,
    /// Items were written: a comma is due before the next.
    has_items: bool,
}

impl Pages {
    /// The next part of the JSON; an error breaks it off, so that nobody takes it for whole.
    async fn next(&mut self) -> Option<Result<Bytes, String>> {
        let page = match self.page.take()? {
            Ok(page) => page,
            Err(error) => return Some(Err(error.to_string())),
        };
        self.left = self.left.saturating_sub(page.items.len());
        let items: Vec<String> = page.items.iter().map(|item| show(item).to_string()).collect();
        let mut text = match (self.is_first, items.is_empty()) {
            (true, _) => "{\"items\":[".to_owned(),
            (false, false) if self.has_items => ",".to_owned(),
            (false, _) => String::new(),
        };
        text.push_str(&items.join(","));
        self.is_first = false;
        self.has_items |= !items.is_empty();
        if page.has_more && self.left > 0 {
            self.page = Some(read(&self.log, page.next, self.left).await);
        } else {
            text.push_str(&format!("],\"next\":{}}}", page.next.0));
        }
        Some(Ok(Bytes::from(text)))
    }
}

async fn read(
    log: &Port<ReadTelemetry>,
    since: Offset,
    left: usize,
) -> Result<Items, ServiceError> {
    ask(log, ReadTelemetry { since, max: left.min(PAGE) }).await
}

/// System properties of the wire (spec edgehub.md 1.7), without `$.`; any other name that begins
/// so is the application's.
const SYSTEM: [&str; 14] = [
    "mid", "cid", "ct", "ce", "uid", "exp", "to", "on", "schema", "ctime", "sub", "ifid", "cdid",
    "cmid",
];

/// System properties by their wire name without `$.`; one without a value is null.
fn show(item: &Item) -> Value {
    let (mut system, mut application) = (Map::new(), Map::new());
    for (name, value) in item.bag.pairs() {
        let value = Value::from(value.map(|value| value.into_owned()));
        match name.strip_prefix("$.").filter(|name| SYSTEM.contains(name)) {
            Some(name) => system.insert(name.to_owned(), value),
            None => application.insert(name.into_owned(), value),
        };
    }
    json!({
        "offset": item.offset.0,
        "enqueuedTime": item.enqueued,
        "deviceId": item.sender.device_id(),
        "moduleId": item.sender.module_id(),
        "systemProperties": system,
        "applicationProperties": application,
        "body": STANDARD.encode(&item.body),
    })
}

pub(super) fn number(request: &HttpRequest, name: &str) -> Result<Option<u64>, ServiceError> {
    let text = request.query.get(name).filter(|text| !text.is_empty());
    let parsed = text.map(|text| text.parse::<u64>()).transpose();
    parsed.map_err(|_| ServiceError::bad(format!("{name} is not a number")))
}
