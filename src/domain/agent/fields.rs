//! Reading JSON objects whose property names come in any case, with errors that name the place.

use serde_json::{Map, Value};

/// A JSON object.
pub type Object = Map<String, Value>;

/// What is wrong with a document, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {what}")]
pub struct Invalid {
    /// Path in the document, as `modules.sensor.settings.image`.
    pub place: String,
    /// What is wrong, and what would be right.
    pub what: String,
}

/// Short for [`Invalid`].
pub fn invalid(place: impl Into<String>, what: impl Into<String>) -> Invalid {
    Invalid { place: place.into(), what: what.into() }
}

/// The value of a property: by its exact name first, then in any case.
pub fn field<'a>(object: &'a Object, name: &str) -> Option<&'a Value> {
    object.get(name).or_else(|| {
        object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    })
}

/// Like [`field`]; null counts as absent.
pub fn some_field<'a>(object: &'a Object, name: &str) -> Option<&'a Value> {
    field(object, name).filter(|value| !value.is_null())
}

/// Takes a property out, in whatever case it stands, also if it stands there more than once (the
/// last one counts, as it does for the engine).
pub fn take_field(object: &mut Object, name: &str) -> Option<Value> {
    let same = |key: &&String| key.eq_ignore_ascii_case(name);
    let keys: Vec<String> = object.keys().filter(same).cloned().collect();
    keys.into_iter().filter_map(|key| object.shift_remove(&key)).last()
}

/// The value as an object.
pub fn object<'a>(value: &'a Value, place: &str) -> Result<&'a Object, Invalid> {
    value
        .as_object()
        .ok_or_else(|| invalid(place, format!("must be an object, is {}", kind(value))))
}

/// A text that must be there, and must not be blank.
pub fn text<'a>(parent: &'a Object, name: &str, place: &str) -> Result<&'a str, Invalid> {
    let place = format!("{place}.{name}");
    match field(parent, name) {
        Some(Value::String(text)) if !text.trim().is_empty() => Ok(text),
        Some(Value::String(_)) => Err(invalid(place, "must not be blank")),
        Some(other) => Err(invalid(place, format!("must be a text, is {}", kind(other)))),
        None => Err(invalid(place, "is missing")),
    }
}

/// A word of a fixed list: `default` if it is absent; null is an error, as in IoT Edge.
pub fn word<T>(
    parent: &Object,
    name: &str,
    place: &str,
    default: Option<T>,
    parse: impl Fn(&str) -> Option<T>,
    words: &str,
) -> Result<T, Invalid> {
    let place = format!("{place}.{name}");
    match (field(parent, name), default) {
        (None, Some(default)) => Ok(default),
        (None, None) => Err(invalid(place, format!("is missing: one of {words}"))),
        (Some(Value::String(word)), _) => parse(word)
            .ok_or_else(|| invalid(place, format!("`{word}` is not known: one of {words}"))),
        (Some(other), _) => {
            Err(invalid(place, format!("must be one of {words}, is {}", kind(other))))
        }
    }
}

/// What a value is, for people. Never the value itself: it may be a secret.
pub fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
