//! What an operator asks of routes and of the queue.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::super::route_lines;
use super::answers::{Answers, LONG, SOON, away};
use crate::actors::clock;
use crate::domain::iso8601;
use crate::domain::route::{RouteSet, RouteTable};
use crate::domain::row::{Endpoint, Offset};
use crate::messages::dead_letters::{How, Letter, Pause, Pick, ReadDeadLetters, Settle};
use crate::messages::queue::{Compact, GetQueueStatus, QueueStatus, TryRoutes};
use crate::protocol::http::{HttpRequest, HttpResponse};

/// Dead letters in one answer.
const PAGE: usize = 1_000;

pub(super) type Answer = Result<HttpResponse, HttpResponse>;

impl Answers {
    pub(super) async fn queue_status(&self) -> Result<QueueStatus, HttpResponse> {
        let queue =
            self.ports.queue.ask(GetQueueStatus, SOON).await.map_err(|e| away("queue", e))?;
        queue.map_err(|why| HttpResponse::error(503, why))
    }

    pub(super) async fn routes(&self) -> Answer {
        let routes = self.ports.routes().await.map_err(|e| away("routes", e))?;
        let queue = self.queue_status().await?;
        let lines = route_lines::of(&routes, &queue);
        let QueueStatus { unrouted, unrouted_sources, routes: accounts, .. } = queue;
        let answer = json!({
            "routes": routes,
            "accounts": accounts,
            "lines": lines,
            "unrouted": unrouted,
            "unrouted_sources": unrouted_sources,
        });
        Ok(HttpResponse::json(200, &answer))
    }

    pub(super) async fn pause(&self, route: &str, is_paused: bool) -> Answer {
        let routes = self.ports.routes().await.map_err(|e| away("routes", e))?;
        let queue = self.queue_status().await?;
        let lines = route_lines::of(&routes, &queue);
        let mut names: Vec<_> = lines.iter().map(|line| line.route.name.as_str()).collect();
        names.extend(queue.paused.iter().map(String::as_str));
        names.retain(|name| !name.is_empty());
        names.sort_unstable();
        names.dedup();
        if !names.contains(&route) {
            let message = format!("there is no route {route}; there are: {}", names.join(", "));
            return Err(HttpResponse::error(404, message));
        }
        let pause = Pause { route: route.into(), is_paused };
        let paused = self.ports.pause.ask(pause, SOON).await.map_err(|e| away("queue", e))?;
        paused.map_err(|why| HttpResponse::error(503, why))?;
        Ok(HttpResponse::empty(204))
    }

    pub(super) async fn try_routes(&self, request: &HttpRequest) -> Answer {
        let bad = |why: String| HttpResponse::error(400, why);
        let desired = serde_json::from_slice(&request.body);
        let desired: Value = desired.map_err(|e| bad(format!("the body is not JSON: {e}")))?;
        let set = RouteSet::parse(&desired, self.about.device.device_id());
        let why = set.schema_error.or(set.bad.first().map(|bad| bad.error.to_string()));
        if let Some(why) = why {
            return Err(bad(why));
        }
        let age = |key: &str| request.number(key).map(std::time::Duration::from_secs);
        let since = age("from_age").ok_or_else(|| bad("from_age=SECONDS is missing".into()))?;
        let until = age("to_age").unwrap_or_default();
        let table = Arc::new(RouteTable::new(1, set.good, set.global_ttl));
        let tried = self.ports.try_routes.ask(TryRoutes { table, since, until }, LONG).await;
        let tried = tried.map_err(|e| away("queue", e))?;
        Ok(HttpResponse::json(200, &tried.map_err(|why| HttpResponse::error(503, why))?))
    }

    /// The endpoint, and what of it is meant. An endpoint that never had anything is a mistake.
    async fn pick(&self, request: &HttpRequest) -> Result<Pick, HttpResponse> {
        let of = |key: &str| request.query.get(key).filter(|value| !value.is_empty());
        let endpoint = of("endpoint").map_or("$upstream", String::as_str);
        let queue = self.queue_status().await?;
        let names: Vec<_> = queue.endpoints.iter().map(|known| known.endpoint.as_str()).collect();
        if endpoint != "$upstream" && !names.contains(&endpoint) {
            let message =
                format!("nothing was ever owed to {endpoint}, but to: {}", names.join(", "));
            return Err(HttpResponse::error(404, message));
        }
        let route = of("route").cloned();
        if let Some(route) =
            route.as_ref().filter(|route| queue.routes.iter().all(|counts| counts.route != **route))
        {
            let message = format!("no message was ever taken by a route {route}");
            return Err(HttpResponse::error(404, message));
        }
        let number = |text: &str| {
            let number = text.trim().parse().map(Offset);
            number.map_err(|_| HttpResponse::error(400, format!("{text} is not an offset")))
        };
        let offsets = of("offsets").map(|list| list.split(',').map(number).collect());
        Ok(Pick { endpoint: Endpoint(endpoint.into()), route, offsets: offsets.transpose()? })
    }

    pub(super) async fn dead_letters(&self, request: &HttpRequest) -> Answer {
        let pick = self.pick(request).await?;
        let after = Offset(request.number("after").unwrap_or_default());
        let max = request.number("max").and_then(|max| usize::try_from(max).ok());
        let max = max.unwrap_or(PAGE).min(PAGE);
        let read = ReadDeadLetters { pick, after, max, is_whole: false };
        let letters = self.ports.letters.ask(read, SOON).await.map_err(|e| away("queue", e))?;
        let letters = letters.map_err(|why| HttpResponse::error(503, why))?;
        let items: Vec<_> = letters.iter().map(known).collect();
        Ok(HttpResponse::json(200, &json!({ "items": items })))
    }

    pub(super) async fn dead_letter(&self, offset: &str, request: &HttpRequest) -> Answer {
        let mut pick = self.pick(request).await?;
        let number = offset.parse().map(Offset);
        let number =
            number.map_err(|_| HttpResponse::error(400, format!("{offset} is not an offset")))?;
        pick.offsets = Some(vec![number]);
        let endpoint = pick.endpoint.0.clone();
        let read = ReadDeadLetters { pick, after: Offset(0), max: 1, is_whole: true };
        let letters = self.ports.letters.ask(read, SOON).await.map_err(|e| away("queue", e))?;
        let letters = letters.map_err(|why| HttpResponse::error(503, why))?;
        let Some(letter) = letters.first() else {
            let message = format!("there is no dead letter {offset} of {endpoint}");
            return Err(HttpResponse::error(404, message));
        };
        let mut answer = known(letter);
        answer["properties"] = json!(letter.properties);
        answer["body"] = json!(letter.body.as_ref().map(|body| STANDARD.encode(body)));
        Ok(HttpResponse::json(200, &answer))
    }

    pub(super) async fn compact(&self) -> Answer {
        let done = self.ports.compact.ask(Compact, LONG).await.map_err(|e| away("queue", e))?;
        let (before, after) = done.map_err(|why| HttpResponse::error(503, why))?;
        Ok(HttpResponse::json(200, &json!({ "before_bytes": before, "after_bytes": after })))
    }

    pub(super) async fn settle(&self, how: How, request: &HttpRequest) -> Answer {
        let pick = self.pick(request).await?;
        let done = self.ports.settle.ask(Settle { pick, how }, LONG).await;
        let done = done.map_err(|e| away("queue", e))?;
        let done = done.map_err(|why| HttpResponse::error(503, why))?;
        Ok(HttpResponse::json(200, &done))
    }
}

/// Without its message; with the time by the clock on the wall.
fn known(letter: &Letter) -> Value {
    let mut known = serde_json::to_value(&letter.known).unwrap_or_default();
    let age = std::time::Duration::from_secs(letter.known.age_seconds);
    known["time"] = iso8601::text(clock::unix_time().saturating_sub(age)).into();
    known
}
