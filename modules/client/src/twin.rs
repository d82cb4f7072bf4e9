//! The desired properties as this client knows them: a full copy, patches merged in.

use serde_json::{Map, Value};

/// What to do after a patch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Merged {
    /// The copy changed.
    Yes,
    /// It was older than the copy: nothing to do.
    Old,
    /// One in between was missed: fetch the whole twin.
    Gap,
}

/// Merges a desired patch of this version into the copy.
pub(crate) fn merge_patch(desired: &mut Value, patch: &Value, version: Option<u64>) -> Merged {
    let (Some(version), Some(have)) = (version, desired["$version"].as_u64()) else {
        return Merged::Gap;
    };
    if version <= have {
        return Merged::Old;
    }
    if version > have + 1 {
        return Merged::Gap;
    }
    merge(desired, patch);
    desired["$version"] = version.into();
    Merged::Yes
}

/// JSON merge: objects are merged, null deletes, all else replaces.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(members) = target else { return };
    for (name, change) in changes {
        if change.is_null() {
            members.shift_remove(name);
        } else {
            merge(members.entry(name.as_str()).or_insert(Value::Null), change);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_next_patch_is_merged_and_null_deletes() {
        let mut desired = json!({"a": {"b": 1, "c": 2}, "d": 3, "$version": 4});
        let patch = json!({"a": {"b": null, "e": 5}, "d": {"f": 1}, "$version": 5});
        assert_eq!(merge_patch(&mut desired, &patch, Some(5)), Merged::Yes);
        assert_eq!(desired, json!({"a": {"c": 2, "e": 5}, "d": {"f": 1}, "$version": 5}));
    }

    #[test]
    fn an_old_patch_changes_nothing_and_a_missed_one_is_noticed() {
        let mut desired = json!({"a": 1, "$version": 4});
        assert_eq!(merge_patch(&mut desired, &json!({"a": 2}), Some(4)), Merged::Old);
        assert_eq!(merge_patch(&mut desired, &json!({"a": 2}), Some(6)), Merged::Gap);
        assert_eq!(merge_patch(&mut desired, &json!({"a": 2}), None), Merged::Gap);
        assert_eq!(desired["a"], 1);
    }
}
