//! Reads a policy; what cannot be read is named with its place and what was expected there.

use serde_json::{Map, Value};

use super::{Operation, Pattern, Policy, Statement, TOPIC, VARIABLES};
use crate::domain::local_topics::filter;

/// A policy that cannot be read; nothing of it holds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {why}")]
pub struct BadPolicy {
    /// Where.
    pub place: String,
    /// What was expected, and what is there.
    pub why: String,
}

fn bad<T>(place: &str, why: impl Into<String>) -> Result<T, BadPolicy> {
    Err(BadPolicy { place: place.to_owned(), why: why.into() })
}

impl Policy {
    /// Of the desired properties of `$edgeHub`: `mqttBroker.authorizations`. Without them nothing
    /// is allowed there.
    pub fn of_desired(desired: &Value) -> Result<Policy, BadPolicy> {
        let broker = match desired.get("mqttBroker") {
            None | Some(Value::Null) => return Ok(Policy::default()),
            Some(broker) => object(broker, "mqttBroker", &["authorizations", "bridges"])?,
        };
        let version = desired.get("schemaVersion").and_then(Value::as_str).unwrap_or_default();
        if ["1", "1.0", "1.1"].iter().any(|old| version == *old || version.starts_with("1.0."))
            || version.starts_with("1.1.")
        {
            return bad("mqttBroker", "needs schemaVersion \"1.2\" or later");
        }
        let place = "mqttBroker.authorizations";
        let mut policy = Policy::default();
        let Some(all) = broker.get("authorizations").filter(|all| !all.is_null()) else {
            return Ok(policy);
        };
        for (index, one) in list(all, place, "objects")?.iter().enumerate() {
            let place = format!("{place}[{index}]");
            let one = object(one, &place, &["identities", "allow", "deny"])?;
            let identities =
                patterns(one.get("identities"), &format!("{place}.identities"), check_identity)?;
            for (effect, is_allowed) in [("allow", true), ("deny", false)] {
                let Some(rules) = one.get(effect).filter(|rules| !rules.is_null()) else {
                    continue;
                };
                let place = format!("{place}.{effect}");
                for (index, rule) in list(rules, &place, "objects")?.iter().enumerate() {
                    let place = format!("{place}[{index}]");
                    let rule = object(rule, &place, &["operations", "resources"])?;
                    let operations = operations(rule.get("operations"), &place)?;
                    let needs_topics = operations.iter().any(|it| *it != Operation::Connect);
                    let resources = match rule.get("resources").filter(|it| !it.is_null()) {
                        None if !needs_topics => Vec::new(),
                        Some(Value::Array(none)) if none.is_empty() && !needs_topics => Vec::new(),
                        some => patterns(some, &format!("{place}.resources"), check_resource)?,
                    };
                    let identities = identities.clone();
                    policy.statements.push(Statement {
                        is_allowed,
                        identities,
                        operations,
                        resources,
                    });
                }
            }
        }
        Ok(policy)
    }

    /// One rule of the settings: `operations` are `publish` and `subscribe`.
    pub fn of_rule(
        is_allowed: bool,
        identities: &[String],
        operations: &[String],
        topics: &[String],
    ) -> Result<Policy, BadPolicy> {
        let texts = |list: &[String]| Value::from(list);
        let full = operations.iter().map(|name| format!("mqtt:{name}")).collect::<Vec<_>>();
        let statement = Statement {
            is_allowed,
            identities: patterns(Some(&texts(identities)), "identities", check_identity)?,
            operations: self::operations(Some(&texts(&full)), "rule")?,
            resources: patterns(Some(&texts(topics)), "topics", check_resource)?,
        };
        Ok(Policy { statements: vec![statement] })
    }
}

fn object<'a>(
    value: &'a Value,
    place: &str,
    keys: &[&str],
) -> Result<&'a Map<String, Value>, BadPolicy> {
    let expected = || format!("expected an object with {}", keys.join(", "));
    let Some(object) = value.as_object() else {
        return bad(place, format!("{}, not {}", expected(), kind(value)));
    };
    match object.keys().find(|key| !keys.contains(&key.as_str())) {
        Some(key) => bad(place, format!("{}, and not `{key}`", expected())),
        None => Ok(object),
    }
}

fn list<'a>(value: &'a Value, place: &str, of: &str) -> Result<&'a [Value], BadPolicy> {
    match value.as_array() {
        Some(list) => Ok(list),
        None => bad(place, format!("expected a list of {of}, not {}", kind(value))),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// A list of texts, of which there is one at least; each with its place.
fn texts<'a>(value: Option<&'a Value>, place: &str) -> Result<Vec<(String, &'a str)>, BadPolicy> {
    let value = match value {
        Some(value) => list(value, place, "texts")?,
        None => return bad(place, "is missing: expected a list of texts"),
    };
    if value.is_empty() {
        return bad(place, "expected one text at least");
    }
    let each = value.iter().enumerate().map(|(index, one)| {
        let place = format!("{place}[{index}]");
        match one.as_str() {
            Some(text) => Ok((place, text)),
            None => bad(&place, format!("expected a text, not {}", kind(one))),
        }
    });
    each.collect()
}

fn operations(value: Option<&Value>, place: &str) -> Result<Vec<Operation>, BadPolicy> {
    let each = texts(value, &format!("{place}.operations"))?.into_iter();
    let read = each.map(|(place, text)| match text {
        "mqtt:connect" => Ok(Operation::Connect),
        "mqtt:publish" => Ok(Operation::Publish),
        "mqtt:subscribe" => Ok(Operation::Subscribe),
        other => bad(
            &place,
            format!("expected mqtt:connect, mqtt:publish or mqtt:subscribe, not `{other}`"),
        ),
    });
    read.collect()
}

fn patterns(
    value: Option<&Value>,
    place: &str,
    check: fn(&str, &str) -> Result<(), String>,
) -> Result<Vec<Pattern>, BadPolicy> {
    let read = texts(value, place)?.into_iter().map(|(place, text)| {
        let known =
            VARIABLES.iter().fold(text.to_owned(), |text, (name, _)| text.replace(name, "v"));
        match check(text, &known) {
            Ok(()) => Ok(Pattern(text.to_owned())),
            Err(why) => bad(&place, format!("{why}, not `{text}`")),
        }
    });
    read.collect()
}

/// `known` is the text with a letter in place of each variable.
fn check_identity(_: &str, known: &str) -> Result<(), String> {
    let is_filled = |part: &str| crate::domain::identity::is_id(part);
    let is_good = match known.split_once('/') {
        Some((device, module)) => is_filled(device) && is_filled(module),
        None => is_filled(known),
    };
    let names: Vec<_> = VARIABLES.iter().map(|(name, _)| *name).collect();
    is_good.then_some(()).ok_or_else(|| {
        format!("expected `device`, `device/module` or one with {}", names.join(", "))
    })
}

fn check_resource(text: &str, known: &str) -> Result<(), String> {
    if text == TOPIC {
        return Ok(());
    }
    if known.contains("{{") {
        let names: Vec<_> = VARIABLES.iter().map(|(name, _)| *name).collect();
        let names = names.join(", ");
        return Err(format!("expected a topic filter with {names}, or {TOPIC} by itself"));
    }
    filter::check_filter(known).map_err(|why| format!("expected a topic filter ({why})"))
}
