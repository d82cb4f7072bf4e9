//! Patches as values: applied, put together, and found between two documents.

use serde_json::{Map, Value};

/// Applies `patch` to `document`: null deletes, objects are merged, all else replaces.
pub fn apply(document: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (name, value) in patch {
        match value {
            Value::Null => drop(document.shift_remove(name)),
            Value::Object(inner) => {
                let old = document.entry(name.clone()).or_insert_with(|| Value::Object(Map::new()));
                if !old.is_object() {
                    *old = Value::Object(Map::new());
                }
                if let Value::Object(old) = old {
                    apply(old, inner);
                }
            }
            value => drop(document.insert(name.clone(), value.clone())),
        }
    }
}

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

/// The patch that makes `new` of `old`.
pub fn difference(old: &Map<String, Value>, new: &Map<String, Value>) -> Map<String, Value> {
    let mut patch = Map::new();
    for name in old.keys().filter(|name| !new.contains_key(*name)) {
        patch.insert(name.clone(), Value::Null);
    }
    for (name, value) in new {
        match (old.get(name), value) {
            (Some(old), value) if old == value => {}
            (Some(Value::Object(old)), Value::Object(new)) => {
                patch.insert(name.clone(), Value::Object(difference(old, new)));
            }
            _ => drop(patch.insert(name.clone(), value.clone())),
        }
    }
    patch
}
