//! JSON merge patches: what to send so that the twin becomes what is to be reported.

use serde_json::{Map, Value};

/// The patch that makes `new` of `old`; `None` if they are equal. `null` deletes.
pub fn diff(old: &Value, new: &Value) -> Option<Value> {
    let (Value::Object(old), Value::Object(new)) = (old, new) else {
        return (old != new).then(|| new.clone());
    };
    let mut patch = Map::new();
    for (name, value) in new {
        let changed = match old.get(name) {
            Some(before) => diff(before, value),
            None => Some(value.clone()),
        };
        if let Some(changed) = changed {
            patch.insert(name.clone(), changed);
        }
    }
    for name in old.keys().filter(|name| !new.contains_key(*name) && !name.starts_with('$')) {
        patch.insert(name.clone(), Value::Null);
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_changed_is_sent_and_what_is_gone_is_deleted() {
        let old = json!({"a": 1, "b": {"c": 1, "d": 2}, "e": {"f": 1}, "$version": 3});
        for (new, patch) in [
            (json!({"a": 1, "b": {"c": 1, "d": 2}, "e": {"f": 1}}), None),
            (
                json!({"a": 2, "b": {"c": 1}, "e": {"f": 1}}),
                Some(json!({"a": 2, "b": {"d": null}})),
            ),
            (json!({"b": {"c": 1, "d": 2}, "e": 5}), Some(json!({"e": 5, "a": null}))),
            (
                json!({"a": 1, "b": {"c": 1, "d": 2}, "e": {"f": 1}, "g": {"h": {}}}),
                Some(json!({"g": {"h": {}}})),
            ),
        ] {
            assert_eq!(diff(&old, &new), patch, "{new}");
        }
    }
}
