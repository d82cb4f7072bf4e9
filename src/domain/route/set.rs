//! All routes of the desired properties of `$edgeHub` (edgehub.md 2.9, 4.1).

use std::fmt::Display;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Route, RouteError};
use crate::domain::budget::LEAST_BUDGET;
use crate::domain::row::Priority;

/// The reference's word for "no priority".
const NO_PRIORITY: u64 = 2_000_000_000;

/// 136 years: with more, sums of times could overflow.
const MOST_SECONDS: u64 = u32::MAX as u64;

/// What the desired properties say about routes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RouteSet {
    /// Nothing of it can be used, and why: what was in force stays.
    pub schema_error: Option<String>,
    /// Routes to put in force.
    pub good: Vec<Route>,
    /// Routes that cannot be: each is reported, none holds up another.
    pub bad: Vec<BadRoute>,
    /// `storeAndForwardConfiguration.location`: where the queue is to lie; `None`: where the settings
    /// of the device say.
    pub location: Option<String>,
    /// It cannot be a place, and why: the queue stays where it is.
    pub bad_location: Option<String>,
    /// `storeAndForwardConfiguration.timeToLiveSecs`; `None`: messages do not expire; 0: at once.
    pub global_ttl: Option<u64>,
    /// `storeAndForwardConfiguration.storeLimits.maxSizeBytes`; `None`: the device's own limit counts.
    pub max_bytes: Option<u64>,
}

/// A route that cannot be put in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadRoute {
    /// Its key.
    pub name: String,
    /// Its text, if it has one.
    pub text: String,
    /// Why; names the route.
    pub error: RouteError,
}

/// What an error of the place of the queue begins with.
pub const LOCATION: &str = "storeAndForwardConfiguration.location";

impl RouteSet {
    /// Reads the desired properties of `{edge_device}/$edgeHub`. Without `routes` there are none,
    /// nor are there in a twin that nobody has written yet.
    pub fn parse(desired: &Value, edge_device: &str) -> RouteSet {
        match Self::read(desired, edge_device) {
            Ok(set) => set,
            Err(error) => RouteSet { schema_error: Some(error), ..RouteSet::default() },
        }
    }

    /// Desired properties that say these routes, as [`RouteSet::parse`] reads them.
    pub fn to_desired<'a>(
        routes: impl Iterator<Item = &'a Route>,
        global_ttl: Option<u64>,
    ) -> Value {
        let object = |route: &Route| {
            let mut fields = json!({ "route": route.text });
            if route.priority != Priority::DEFAULT {
                fields["priority"] = route.priority.0.into();
            }
            if let Some(ttl) = route.ttl {
                fields["timeToLiveSecs"] = ttl.into();
            }
            (route.name.to_string(), fields)
        };
        json!({
            "schemaVersion": "1.1",
            "routes": routes.map(object).collect::<Map<_, _>>(),
            "storeAndForwardConfiguration": { "timeToLiveSecs": global_ttl },
        })
    }

    fn read(desired: &Value, edge_device: &str) -> Result<RouteSet, String> {
        let is_unwritten = match desired {
            Value::Null => true,
            Value::Object(desired) => desired.keys().all(|key| key.starts_with('$')),
            _ => return Err("the desired properties must be an object".to_owned()),
        };
        if is_unwritten {
            return Ok(RouteSet::default());
        }
        let minor = schema_minor(desired.get("schemaVersion"))?;
        let none = Map::new();
        let routes = match desired.get("routes") {
            Some(Value::Object(routes)) => routes,
            None | Some(Value::Null) => &none,
            Some(_) => return Err("`routes` must be an object".to_owned()),
        };
        let global_ttl = global_ttl(desired.get("storeAndForwardConfiguration"))?;
        let location = location(desired.get("storeAndForwardConfiguration"));
        let max_bytes = max_bytes(desired.get("storeAndForwardConfiguration"))?;
        let mut set = RouteSet { global_ttl, max_bytes, ..RouteSet::default() };
        match location {
            Ok(location) => set.location = location,
            Err(error) => set.bad_location = Some(error),
        }
        for (name, value) in routes {
            match route(name, value, minor, edge_device) {
                Ok(route) => set.good.push(route),
                Err(error) => {
                    let text = value.as_str().or_else(|| value.get("route")?.as_str());
                    let text = text.unwrap_or_default().to_owned();
                    set.bad.push(BadRoute { name: name.clone(), text, error });
                }
            }
        }
        Ok(set)
    }
}

/// The second number of a version 1.x.
fn schema_minor(version: Option<&Value>) -> Result<u32, String> {
    let text = match version {
        Some(Value::String(text)) => text,
        Some(_) => return Err("`schemaVersion` must be a string, as \"1.1\"".to_owned()),
        None => return Err("`schemaVersion` is missing; write \"1.1\"".to_owned()),
    };
    let number = |part: &str| part.parse().ok().filter(|_| !part.starts_with('+'));
    let numbers: Option<Vec<u32>> = text.split('.').map(number).collect();
    match numbers.as_deref() {
        Some([1, minor @ 0..=3, rest @ ..]) if rest.len() <= 2 => Ok(*minor),
        _ => Err(format!("schemaVersion `{text}` is not supported; write \"1.0\" to \"1.3\"")),
    }
}

/// Negative and absent: messages do not expire.
fn global_ttl(config: Option<&Value>) -> Result<Option<u64>, String> {
    let place = "`storeAndForwardConfiguration.timeToLiveSecs`";
    let config = match config {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Object(config)) => config,
        Some(_) => return Err("`storeAndForwardConfiguration` must be an object".to_owned()),
    };
    match config.get("timeToLiveSecs") {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64().filter(|seconds| *seconds <= MOST_SECONDS) {
            Some(seconds) => Ok(Some(seconds)),
            None if value.as_i64().is_some_and(i64::is_negative) => Ok(None),
            None => {
                Err(format!("{place} must be a whole number of seconds, at most {MOST_SECONDS}"))
            }
        },
    }
}

/// A text; whether it names a place that may be had is for the device to say.
fn location(config: Option<&Value>) -> Result<Option<String>, String> {
    match config.and_then(|config| config.get("location")) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if !text.trim().is_empty() => Ok(Some(text.clone())),
        Some(_) => Err(format!("{LOCATION}: must be the path of a directory, as \"/data/queue\"")),
    }
}

/// Absent: none.
fn max_bytes(config: Option<&Value>) -> Result<Option<u64>, String> {
    let limits = match config.and_then(|config| config.get("storeLimits")) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Object(limits)) => limits,
        Some(_) => {
            return Err("`storeAndForwardConfiguration.storeLimits` must be an object".to_owned());
        }
    };
    let place = "`storeAndForwardConfiguration.storeLimits.maxSizeBytes`";
    match limits.get("maxSizeBytes") {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64().filter(|bytes| *bytes >= LEAST_BUDGET) {
            Some(bytes) => Ok(Some(bytes)),
            None => {
                Err(format!("{place} must be a whole number of bytes, at least {LEAST_BUDGET}"))
            }
        },
    }
}

fn route(name: &str, value: &Value, minor: u32, edge_device: &str) -> Result<Route, RouteError> {
    let bad = |found: &dyn Display, why: &str| Err(RouteError::beside(name, found, why));
    if name.trim().is_empty() || name.len() > 128 {
        return bad(&name, "the name of a route must have 1 to 128 bytes");
    }
    let fields = match value {
        Value::String(text) => return Route::parse(name, text, edge_device),
        Value::Object(_) if minor == 0 => {
            return bad(&value, "objects need schemaVersion 1.1 or later");
        }
        Value::Object(fields) => fields,
        _ => return bad(&value, "a route must be a text, or an object with `route`"),
    };
    let known = ["route", "priority", "timeToLiveSecs"];
    if let Some(key) = fields.keys().find(|key| !known.contains(&key.as_str())) {
        return bad(key, &format!("unknown key; there are {}", known.join(", ")));
    }
    let Some(text) = fields.get("route").and_then(Value::as_str) else {
        return bad(&value, "`route` must be a text");
    };
    let mut route = Route::parse(name, text, edge_device)?;
    route.priority = match fields.get("priority") {
        None => Priority::DEFAULT,
        Some(value) => match value.as_u64() {
            Some(NO_PRIORITY) => Priority::DEFAULT,
            Some(priority @ 0..=9) => Priority(u8::try_from(priority).unwrap_or(9)),
            _ => return bad(value, "`priority` must be a whole number 0 to 9"),
        },
    };
    route.ttl = match fields.get("timeToLiveSecs") {
        None => None,
        Some(value) => match value.as_u64().filter(|seconds| *seconds <= MOST_SECONDS) {
            Some(seconds) => Some(seconds).filter(|seconds| *seconds > 0),
            None => {
                return bad(
                    value,
                    "`timeToLiveSecs` must be a whole number of seconds, 0 for none",
                );
            }
        },
    };
    Ok(route)
}
