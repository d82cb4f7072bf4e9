//! `POST /devices/query`: whole twins of devices or of modules, page by page.
//!
//! Of the hub's SQL it knows `SELECT * FROM devices[.modules] [WHERE c [AND c]…]` with
//! conditions `path = literal`, `!=` or `<>`; all else is refused, not ignored.

use serde_json::Value;

use super::{Answer, Rest, ask, json as body};
use crate::domain::query::Query;
use crate::domain::service_error::ServiceError;
use crate::messages::registry::ListIdentities;
use crate::protocol::http::{HttpRequest, HttpResponse};

/// Items of a page, when the client does not say.
const PAGE: usize = 100;

impl Rest {
    pub(super) async fn query(&self, request: &HttpRequest) -> Answer {
        let json = body(request)?;
        let text = json.get("query").and_then(Value::as_str).unwrap_or_default();
        let query = Query::parse(text).map_err(|why| ServiceError::bad(why.to_string()))?;
        let number = |name: &str| {
            let text = request.header(name).filter(|text| !text.trim().is_empty())?;
            Some(text.trim().parse::<usize>().map_err(|_| {
                ServiceError::bad(format!("{name} is not a number, or not one that this hub gave"))
            }))
        };
        let max = number("x-ms-max-item-count").transpose()?.unwrap_or(PAGE).clamp(1, 1000);
        let start = number("x-ms-continuation").transpose()?.unwrap_or(0);
        let list =
            if query.is_of_modules { ListIdentities::Modules } else { ListIdentities::Devices };
        let entries = ask(&self.ports.list, list).await?;
        let twins = self.whole_twins(&entries).await?;
        let found: Vec<Value> = twins.into_iter().filter(|twin| query.takes(twin)).collect();
        let page: Vec<&Value> = found.iter().skip(start).take(max).collect();
        let next = start + page.len();
        let answer = HttpResponse::json(200, &page).with_header("x-ms-item-type", "Twin");
        // An empty continuation would make a Node client ask for ever.
        let has_more = next < found.len();
        Ok(if has_more {
            answer.with_header("x-ms-continuation", &next.to_string())
        } else {
            answer
        })
    }
}
