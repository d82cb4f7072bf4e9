//! What waits for a route, and the life of a message.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::answers::{Answers, LONG, SOON, away, meant};
use super::queue::Answer;
use crate::actors::clock;
use crate::domain::iso8601;
use crate::messages::trace::{Peek, Trace};
use crate::messages::upstream::GetLinkStatus;
use crate::protocol::http::{HttpRequest, HttpResponse};

/// Messages of each endpoint in one answer.
const MOST: usize = 1_000;
/// Bytes of a body.
const MOST_BODY: usize = 262_144;

impl Answers {
    pub(super) async fn trace(&self, id: &str) -> Answer {
        let life = self.ports.trace.ask(Trace(id.into()), LONG).await;
        let life = life.map_err(|e| away("queue", e))?;
        let life = life.map_err(|why| HttpResponse::error(503, why))?;
        let Some(life) = life else {
            let message = format!(
                "no message {id} is stored, and it is not among the last that ended \
                 (store.trace_ended, since the start of the service); \
                 `edgectl queue peek ROUTE` and `edgectl dead-letter list` show ids"
            );
            return Err(HttpResponse::error(404, message));
        };
        let mut answer = json!(life);
        add_time(&mut answer, "age_seconds", "received");
        for place in answer["places"].as_array_mut().into_iter().flatten() {
            add_time(place, "ended_seconds", "ended");
            add_time(place, "handed_out_seconds", "handed_out_last");
        }
        Ok(HttpResponse::json(200, &answer))
    }

    pub(super) async fn peek(&self, request: &HttpRequest) -> Answer {
        let bad = |why: String| HttpResponse::error(400, why);
        let of = |key: &str| request.query.get(key).filter(|value| !value.is_empty());
        let number = |key: &str| match of(key) {
            None => Ok(None),
            Some(text) => match text.parse::<usize>() {
                Ok(number) => Ok(Some(number)),
                Err(_) => Err(bad(format!("{key}={text} is not a number"))),
            },
        };
        let route = of("route").ok_or_else(|| bad("route=NAME is missing".into()))?;
        let max = number("max")?.unwrap_or(20).min(MOST);
        let body = number("body")?.map(|length| length.min(MOST_BODY));
        self.known_route(route).await?;
        let ask = Peek { route: route.clone(), max, body };
        let peeked = self.ports.peek.ask(ask, SOON).await.map_err(|e| away("queue", e))?;
        let peeked = peeked.map_err(|why| HttpResponse::error(503, why))?;
        let mut items: Vec<Value> = Vec::new();
        for waiting in &peeked.items {
            let mut item = json!(waiting);
            add_time(&mut item, "age_seconds", "received");
            if let Some(body) = &waiting.body {
                item["body"] = STANDARD.encode(body).into();
            }
            items.push(item);
        }
        // Who sends upstream; the others are clients.
        let link = self.ports.link.ask(GetLinkStatus, SOON).await.ok();
        let link = link.map(|link| {
            json!({ "state": link.state, "in_flight": link.in_flight,
                    "lanes_in_backoff": link.lanes_in_backoff })
        });
        let answer = json!({ "items": items, "passed": peeked.passed, "link": link });
        Ok(HttpResponse::json(200, &answer))
    }

    /// A route that is in force, or that something was ever stored for.
    async fn known_route(&self, route: &str) -> Result<(), HttpResponse> {
        let queue = self.queue_status().await?;
        let mut names: Vec<_> = queue.routes.into_iter().map(|counts| counts.route).collect();
        if let Ok(routes) = self.ports.routes().await {
            names.extend(routes.into_iter().map(|line| line.name));
        }
        names.sort_unstable();
        names.dedup();
        if names.iter().any(|name| name == route) {
            return Ok(());
        }
        let hint = meant(route, &names);
        let message = format!("there is no route {route}{hint}; there are: {}", names.join(", "));
        Err(HttpResponse::error(404, message))
    }
}

/// By the clock on the wall.
fn add_time(of: &mut Value, seconds: &str, name: &str) {
    if let Some(age) = of[seconds].as_u64() {
        let time = clock::unix_time().saturating_sub(Duration::from_secs(age));
        of[name] = iso8601::text(time).into();
    }
}
