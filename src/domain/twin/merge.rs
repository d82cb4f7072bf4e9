//! How a patch changes a document (RFC 7396): objects are merged, null deletes, all else replaces.

use serde_json::{Map, Value};

/// Applies `patch` to `target`.
pub fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else { return };
    for (key, value) in patch {
        if value.is_null() {
            target.shift_remove(key);
        } else {
            merge(target.entry(key.as_str()).or_insert(Value::Null), value);
        }
    }
}

/// Applies `patch` to another patch that was not applied yet: nulls are kept, since they still
/// have to delete.
pub fn join(earlier: &mut Value, patch: &Value) {
    match (earlier, patch) {
        (Value::Object(earlier), Value::Object(patch)) => {
            for (key, value) in patch {
                match earlier.get_mut(key) {
                    Some(old) if old.is_object() && value.is_object() => join(old, value),
                    Some(old) => *old = value.clone(),
                    None => {
                        earlier.insert(key.clone(), value.clone());
                    }
                }
            }
        }
        (earlier, patch) => *earlier = patch.clone(),
    }
}

/// The patch that turns the object `from` into `to`; `None` if they are equal.
pub fn diff(from: &Value, to: &Value) -> Option<Value> {
    if from == to {
        return None;
    }
    let (Value::Object(from), Value::Object(to)) = (from, to) else { return Some(to.clone()) };
    let mut patch = Map::new();
    for key in from.keys().filter(|key| !to.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    for (key, value) in to {
        let change = match from.get(key) {
            Some(old) => diff(old, value),
            None => Some(value.clone()),
        };
        patch.extend(change.map(|change| (key.clone(), change)));
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}
