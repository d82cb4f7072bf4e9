//! Patches that were not sent yet, put together.

use serde_json::{Map, Value};

/// Whether one patch can do what `first` and then `second` do. An object that comes after a
/// value, or after a deletion, begins empty; in one patch it would be merged with what was there.
pub fn can_compose(first: &Map<String, Value>, second: &Map<String, Value>) -> bool {
    second.iter().all(|(name, value)| match (first.get(name), value) {
        (Some(Value::Object(first)), Value::Object(second)) => can_compose(first, second),
        (Some(_), Value::Object(_)) => false,
        _ => true,
    })
}

/// Puts `second` behind `first`, if `can_compose`.
pub fn compose(first: &mut Map<String, Value>, second: &Map<String, Value>) {
    for (name, value) in second {
        match (first.get_mut(name), value) {
            (Some(Value::Object(first)), Value::Object(second)) => compose(first, second),
            _ => drop(first.insert(name.clone(), value.clone())),
        }
    }
}
