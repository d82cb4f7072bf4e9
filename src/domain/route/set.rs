//! All routes of the desired properties of `$edgeHub` (edgehub.md 2.9, 4.1).

use serde_json::{Map, Value};

use super::Route;
use crate::domain::row::Priority;

/// The reference's word for "no priority".
const NO_PRIORITY: u64 = 2_000_000_000;

/// What the desired properties say about routes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RouteSet {
    /// Nothing of it can be used, and why: what was in force stays.
    pub error: Option<String>,
    /// Routes to put in force.
    pub good: Vec<Route>,
    /// Routes that cannot be: each is reported, none holds up another.
    pub bad: Vec<BadRoute>,
    /// `storeAndForwardConfiguration.timeToLiveSecs`; `None`: messages do not expire.
    pub global_ttl: Option<u64>,
}

/// A route that cannot be put in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRoute {
    /// Its key.
    pub name: String,
    /// Its text, if it has one.
    pub text: String,
    /// Why; names the route.
    pub error: String,
}

impl RouteSet {
    /// Reads the desired properties of `{edge_device}/$edgeHub`.
    pub fn parse(desired: &Value, edge_device: &str) -> RouteSet {
        match Self::read(desired, edge_device) {
            Ok(set) => set,
            Err(error) => RouteSet { error: Some(error), ..RouteSet::default() },
        }
    }

    fn read(desired: &Value, edge_device: &str) -> Result<RouteSet, String> {
        let minor = schema_minor(desired.get("schemaVersion"))?;
        let none = Map::new();
        let routes = match desired.get("routes") {
            Some(Value::Object(routes)) => routes,
            None if minor == 0 => &none,
            None => return Err("`routes` is missing; write {} for no routes".to_owned()),
            Some(_) => return Err("`routes` must be an object".to_owned()),
        };
        let global_ttl = global_ttl(desired.get("storeAndForwardConfiguration"))?;
        let mut set = RouteSet { global_ttl, ..RouteSet::default() };
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
    let numbers: Option<Vec<u32>> = text.split('.').map(|part| part.parse().ok()).collect();
    match numbers.as_deref() {
        Some([1, minor, rest @ ..]) if rest.len() <= 2 => Ok(*minor),
        _ => Err(format!("schemaVersion `{text}` is not supported; write \"1.0\" to \"1.3\"")),
    }
}

/// Negative, 0 and absent: messages do not expire.
fn global_ttl(config: Option<&Value>) -> Result<Option<u64>, String> {
    let place = "`storeAndForwardConfiguration.timeToLiveSecs`";
    let config = match config {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Object(config)) => config,
        Some(_) => return Err("`storeAndForwardConfiguration` must be an object".to_owned()),
    };
    match config.get("timeToLiveSecs") {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_i64() {
            Some(seconds) => Ok(u64::try_from(seconds).ok().filter(|seconds| *seconds > 0)),
            None => Err(format!("{place} must be a whole number of seconds")),
        },
    }
}

fn route(name: &str, value: &Value, minor: u32, edge_device: &str) -> Result<Route, String> {
    if name.trim().is_empty() || name.len() > 128 {
        return Err(format!("route `{name}`: its name must have 1 to 128 bytes"));
    }
    let fields = match value {
        Value::String(text) => return parse(name, text, edge_device),
        Value::Object(_) if minor == 0 => {
            return Err(format!("route `{name}`: objects need schemaVersion 1.1 or later"));
        }
        Value::Object(fields) => fields,
        _ => return Err(format!("route `{name}` must be a text, or an object with `route`")),
    };
    let known = ["route", "priority", "timeToLiveSecs"];
    if let Some(key) = fields.keys().find(|key| !known.contains(&key.as_str())) {
        return Err(format!("route `{name}`: unknown key `{key}`; there are {}", known.join(", ")));
    }
    let text = fields.get("route").and_then(Value::as_str);
    let text = text.ok_or_else(|| format!("route `{name}`: `route` must be a text"))?;
    let mut route = parse(name, text, edge_device)?;
    route.priority = match fields.get("priority") {
        None => Priority::DEFAULT,
        Some(value) => match value.as_u64() {
            Some(NO_PRIORITY) => Priority::DEFAULT,
            Some(priority @ 0..=9) => Priority(u8::try_from(priority).unwrap_or(9)),
            _ => return Err(format!("route `{name}`: `priority` must be a whole number 0 to 9")),
        },
    };
    route.ttl = match fields.get("timeToLiveSecs") {
        None => None,
        Some(value) => match value.as_u64().and_then(|seconds| u32::try_from(seconds).ok()) {
            Some(seconds) => Some(seconds).filter(|seconds| *seconds > 0),
            None => {
                return Err(format!(
                    "route `{name}`: `timeToLiveSecs` must be a whole number of seconds"
                ));
            }
        },
    };
    Ok(route)
}

fn parse(name: &str, text: &str, edge_device: &str) -> Result<Route, String> {
    if text.trim().is_empty() {
        return Err(format!("route `{name}` is empty"));
    }
    Route::parse(name, text, edge_device).map_err(|error| error.to_string())
}
