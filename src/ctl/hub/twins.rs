//! `hub twin show|set`.

use serde_json::{Map, Value, json};

use super::{identity, target};
use crate::ctl::command::Twin;
use crate::ctl::error::CtlError;
use crate::ctl::output::{pretty, print, say};
use crate::ctl::rest::Hub;

/// `hub twin …`. Twins are JSON for people, too.
pub(super) async fn run(hub: &Hub, command: Twin) -> Result<(), CtlError> {
    match command {
        Twin::Show { device, module } => {
            let identity = identity(&device, module.as_deref())?;
            let twin = hub.get(&target("twins", &identity)).await?;
            print(&format!("{}\n", pretty(&twin)))
        }
        Twin::Set { device, what } => {
            let (module, assignments) = match what.split_first() {
                Some((first, rest)) if !first.contains('=') => (Some(first.as_str()), rest),
                _ => (None, what.as_slice()),
            };
            let identity = identity(&device, module)?;
            let body = patch(assignments)?;
            let twin = hub.send("PATCH", &target("twins", &identity), &body).await?;
            let version = &twin["properties"]["desired"]["$version"];
            say(&format!("{identity}: desired properties are at version {version}"));
            Ok(())
        }
    }
}

/// `a.b=30` as `{"properties":{"desired":{"a":{"b":30}}}}`; `tags.x=y` as `{"tags":{"x":"y"}}`.
fn patch(assignments: &[String]) -> Result<Value, CtlError> {
    let (mut desired, mut tags) = (Map::new(), Map::new());
    for assignment in assignments {
        let wrong = || CtlError::usage(format!("`{assignment}` is not of the form path=value"));
        let (path, value) = assignment.split_once('=').ok_or_else(wrong)?;
        let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
        let (root, path) = match path.strip_prefix("tags.") {
            Some(path) => (&mut tags, path),
            None => (&mut desired, path.strip_prefix("properties.desired.").unwrap_or(path)),
        };
        let keys: Vec<_> = path.split('.').collect();
        if keys.iter().any(|key| key.is_empty()) {
            return Err(wrong());
        }
        put(root, &keys, value).ok_or_else(wrong)?;
    }
    let mut body = json!({});
    if !desired.is_empty() {
        body["properties"] = json!({ "desired": desired });
    }
    if !tags.is_empty() {
        body["tags"] = tags.into();
    }
    match body == json!({}) {
        true => Err(CtlError::usage("nothing to set").hint("give path=value, as threshold=30")),
        false => Ok(body),
    }
}

fn put(object: &mut Map<String, Value>, keys: &[&str], value: Value) -> Option<()> {
    let (key, rest) = keys.split_first()?;
    if rest.is_empty() {
        object.insert((*key).into(), value);
        return Some(());
    }
    let next = object.entry(*key).or_insert_with(|| json!({}));
    put(next.as_object_mut()?, rest, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patched(assignments: &[&str]) -> Result<Value, CtlError> {
        patch(&assignments.iter().map(|&a| a.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn paths_become_objects_and_values_json_or_text() {
        let body =
            patched(&["a.b=30", "a.c=on", "d=null", "e=x=y", "tags.site=\"7\"", "f={\"g\":[1]}"]);
        let expected = json!({
            "properties": { "desired": { "a": { "b": 30, "c": "on" }, "d": null, "e": "x=y", "f": { "g": [1] } } },
            "tags": { "site": "7" },
        });
        assert_eq!(body.unwrap(), expected);
    }

    #[test]
    fn what_is_no_assignment_is_wrong_usage() {
        for bad in [&["a"][..], &["a..b=1"], &["=1"], &["a=1", "a.b=2"], &[]] {
            assert!(patched(bad).is_err(), "{bad:?}");
        }
    }
}
