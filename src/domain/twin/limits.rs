//! What a patch may hold (spec edgehub 1.10).

use serde_json::Value;

/// Of a patch, as JSON.
pub const MAX_BYTES: usize = 32 * 1024;
/// Objects within the outermost one.
const MAX_DEPTH: usize = 10;
const MAX_KEY: usize = 1024;
const MAX_STRING: usize = 4096;
const MAX_INTEGER: i64 = (1 << 52) - 1;
const MIN_INTEGER: i64 = -(1 << 52);

/// Why a patch is refused: names the place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TwinError {
    /// Not JSON.
    #[error("properties are not JSON: {0}")]
    NotJson(String),
    /// JSON of another kind.
    #[error("properties must be a JSON object")]
    NotAnObject,
    /// Of the whole patch.
    #[error("properties of {0} bytes are above the limit of {MAX_BYTES}")]
    TooLarge(usize),
    /// Of objects in objects.
    #[error("`{0}` is nested deeper than {MAX_DEPTH} levels")]
    TooDeep(String),
    /// Of a name.
    #[error("name `{0}`: 1 to {MAX_KEY} bytes without control characters, space, `.`, `$` or `#`")]
    BadKey(String),
    /// Of a string.
    #[error("`{0}` is a string of {1} bytes, above the limit of {MAX_STRING}")]
    LongString(String, usize),
    /// Of an integer.
    #[error("`{0}` is an integer outside of -2^52 to 2^52-1")]
    BigInteger(String),
    /// In an array.
    #[error("`{0}` is an array with null in it: null deletes, and cannot in an array")]
    NullInArray(String),
}

/// Parses a reported patch and checks it.
pub fn validate_reported(patch: &[u8]) -> Result<Value, TwinError> {
    if patch.len() > MAX_BYTES {
        return Err(TwinError::TooLarge(patch.len()));
    }
    let value = serde_json::from_slice(patch).map_err(|e| TwinError::NotJson(e.to_string()))?;
    check_object(&value, Nulls::Forbidden)?;
    Ok(value)
}

/// Checks properties that a service wants. Unlike a client, it may put null into an array.
pub fn validate_desired(value: &Value) -> Result<(), TwinError> {
    check_object(value, Nulls::Allowed)
}

/// Null in an array.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Nulls {
    Allowed,
    /// Not here; but in an array it is forbidden.
    Forbidden,
    InArray,
}

fn check_object(value: &Value, nulls: Nulls) -> Result<(), TwinError> {
    if value.is_object() { check(value, "", 0, nulls) } else { Err(TwinError::NotAnObject) }
}

fn check(value: &Value, path: &str, depth: usize, nulls: Nulls) -> Result<(), TwinError> {
    match value {
        Value::Object(map) => {
            if depth > MAX_DEPTH {
                return Err(TwinError::TooDeep(path.to_owned()));
            }
            for (key, value) in map {
                let is_bad = |c: char| c.is_control() || matches!(c, ' ' | '.' | '$' | '#');
                if key.is_empty() || key.len() > MAX_KEY || key.contains(is_bad) {
                    return Err(TwinError::BadKey(key.chars().take(100).collect()));
                }
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                check(value, &path, depth + 1, nulls)?;
            }
            Ok(())
        }
        Value::Array(items) => {
            let nulls = if nulls == Nulls::Allowed { nulls } else { Nulls::InArray };
            items.iter().try_for_each(|item| check(item, path, depth + 1, nulls))
        }
        Value::Null if nulls == Nulls::InArray => Err(TwinError::NullInArray(path.to_owned())),
        Value::String(text) if text.len() > MAX_STRING => {
            Err(TwinError::LongString(path.to_owned(), text.len()))
        }
        Value::Number(number) => {
            let is_big = match number.as_i64() {
                Some(integer) => !(MIN_INTEGER..=MAX_INTEGER).contains(&integer),
                None => number.is_u64(),
            };
            if is_big { Err(TwinError::BigInteger(path.to_owned())) } else { Ok(()) }
        }
        _ => Ok(()),
    }
}
