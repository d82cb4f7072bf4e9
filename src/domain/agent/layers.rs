//! Layered deployments: `properties.desired` as a whole, and `properties.desired.a.b` on top of it.

use serde_json::{Map, Value};

/// What names of a module's content begin with.
const WHOLE: &str = "properties.desired";

/// The path that a layer is for, as `a.b`; empty: the whole. `None`: the name is not that of one.
pub fn place(name: &str) -> Option<&str> {
    let rest = name.strip_prefix(WHOLE)?;
    match rest.strip_prefix('.') {
        Some(path) => Some(path).filter(|path| path.split('.').all(|name| !name.is_empty())),
        None => Some(rest).filter(|rest| rest.is_empty()),
    }
}

/// The desired properties that a manifest gives a module, on top of those that it leaves. A layer is
/// in place of what is at its path; null takes that away.
pub fn desired(given: &Value, current: &Value) -> Value {
    let mut desired = given.get(WHOLE).map_or(current.clone(), Clone::clone);
    for (key, value) in given.as_object().into_iter().flatten() {
        let Some(path) = place(key).filter(|path| !path.is_empty()) else { continue };
        let (above, last) = path.rsplit_once('.').unwrap_or(("", path));
        let mut at = &mut desired;
        for name in above.split('.').filter(|name| !name.is_empty()) {
            at = &mut object(at)[name];
        }
        match value {
            Value::Null => _ = object(at).as_object_mut().and_then(|all| all.shift_remove(last)),
            value => object(at)[last] = value.clone(),
        }
    }
    desired
}

/// Makes an object of it, if it is none.
fn object(at: &mut Value) -> &mut Value {
    if !at.is_object() {
        *at = Value::Object(Map::new());
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_layer_is_in_place_of_what_is_at_its_path() {
        let current =
            json!({"modules": {"a": {"env": {"X": 1}}, "b": {}}, "routes": {"r": "", "s": ""}});
        let given = json!({
            "properties.desired.modules.a": {"env": {"Y": 1}},
            "properties.desired.modules.c": {},
            "properties.desired.routes.r": null,
            "properties.desired.new.deep.er": 1,
            "properties.reported.x": 1,
        });
        assert_eq!(
            desired(&given, &current),
            json!({
                "modules": {"a": {"env": {"Y": 1}}, "b": {}, "c": {}},
                "routes": {"s": ""}, "new": {"deep": {"er": 1}},
            })
        );
        let both =
            json!({"properties.desired.modules.c": {}, "properties.desired": {"modules": {}}});
        assert_eq!(desired(&both, &current), json!({"modules": {"c": {}}}), "the whole first");
        assert_eq!(place("properties.desired.a.b"), Some("a.b"));
        for bad in ["properties.desired.", "properties.desiredx", "properties.desired.a..b", "x"] {
            assert_eq!(place(bad), None, "{bad}");
        }
    }
}
