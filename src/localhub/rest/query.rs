//! `POST /devices/query`: twins of devices or of modules, page by page, in order of ids.
//!
//! A page goes on behind the last id of the one before it, so that what comes, goes or changes in
//! between neither doubles nor hides another.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::{Answer, Rest, ask, json as body};
use crate::domain::identity::Identity;
use crate::domain::query::{Query, Select};
use crate::domain::service_error::ServiceError;
use crate::messages::registry::ListIdentities;
use crate::protocol::http::{HttpRequest, HttpResponse};

/// Items of a page, when the client does not say.
const PAGE: usize = 100;
/// Most items of a page.
const MOST: usize = 1000;
/// Twins looked at in one go.
const GO: usize = 250;

impl Rest {
    pub(super) async fn query(&self, request: &HttpRequest) -> Answer {
        let json = body(request)?;
        let text = json.get("query").and_then(Value::as_str);
        let form = "the body is {\"query\": \"SELECT * FROM devices\"}";
        let query = Query::parse(text.ok_or_else(|| ServiceError::bad(form))?);
        let query = query.map_err(|why| ServiceError::bad(why.to_string()))?;
        let start = Start::of(request, &query)?;
        let most = page_size(request)?.min(start.left.unwrap_or(usize::MAX));
        let list =
            if query.is_of_modules { ListIdentities::Modules } else { ListIdentities::Devices };
        let mut entries = ask(&self.ports.list, list).await?;
        entries.retain(|entry| start.after.as_ref().is_none_or(|after| entry.id > *after));
        let (mut page, mut count, mut next) = (Vec::new(), 0_usize, None);
        let mut last = None;
        'all: for entries in entries.chunks(GO) {
            let twins = self.whole_twins(entries).await?;
            for (entry, twin) in entries.iter().zip(twins) {
                if !query.takes(&twin) {
                    continue;
                }
                if page.len() == most {
                    next = last;
                    break 'all;
                }
                count += 1;
                if let Some(shown) = query.shows(twin) {
                    page.push(shown);
                    last = Some(&entry.id);
                }
            }
        }
        if let Select::Count(name) = &query.select {
            page = vec![json!({ name.as_str(): count.min(query.top.unwrap_or(usize::MAX)) })];
        }
        let kind = if query.select == Select::Twins { "Twin" } else { "raw" };
        let answer = HttpResponse::json(200, &page).with_header("x-ms-item-type", kind);
        let left = start.left.map(|left| left - page.len());
        // An empty continuation would make a Node client ask for ever.
        Ok(match next.filter(|_| left != Some(0)) {
            Some(id) => {
                let next = Start { after: Some(id.clone()), left };
                answer.with_header("x-ms-continuation", &next.text())
            }
            None => answer,
        })
    }
}

fn page_size(request: &HttpRequest) -> Result<usize, ServiceError> {
    let text = request.header("x-ms-max-item-count").unwrap_or_default();
    if text.trim().is_empty() {
        return Ok(PAGE);
    }
    let size = text.trim().parse().ok().filter(|size| *size > 0);
    let why = || ServiceError::bad(format!("x-ms-max-item-count is 1 to {MOST}, not {text}"));
    size.map(|size: usize| size.min(MOST)).ok_or_else(why)
}

/// Where a page begins: what `x-ms-continuation` carries.
struct Start {
    after: Option<Identity>,
    /// Of `TOP n`.
    left: Option<usize>,
}

impl Start {
    fn of(request: &HttpRequest, query: &Query) -> Result<Self, ServiceError> {
        let text = request.header("x-ms-continuation").unwrap_or_default();
        if text.trim().is_empty() {
            return Ok(Start { after: None, left: query.top });
        }
        let read = || {
            let bytes = URL_SAFE_NO_PAD.decode(text.trim()).ok()?;
            let text = String::from_utf8(bytes).ok()?;
            let (left, id) = text.split_once(' ')?;
            let left = if left.is_empty() { None } else { Some(left.parse().ok()?) };
            Some(Start { after: Some(Identity::parse(id).ok()?), left })
        };
        let why = "x-ms-continuation is not one that this hub gave; begin without it";
        read().ok_or_else(|| ServiceError::bad(why))
    }

    fn text(&self) -> String {
        let left = self.left.map(|left| left.to_string()).unwrap_or_default();
        let after = self.after.as_ref().map(Identity::as_str).unwrap_or_default();
        URL_SAFE_NO_PAD.encode(format!("{left} {after}"))
    }
}
