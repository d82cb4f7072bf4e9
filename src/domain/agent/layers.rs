//! Layered deployments: `properties.desired` as a whole, and `properties.desired.a.b` on top of it.

use serde_json::{Map, Value};

/// The desired properties that a manifest gives a module, on top of those that it leaves.
pub fn desired(given: &Value, current: &Value) -> Value {
    let mut desired = given.get("properties.desired").map_or(current.clone(), Clone::clone);
    for (key, value) in given.as_object().into_iter().flatten() {
        let Some(path) = key.strip_prefix("properties.desired.") else { continue };
        let mut at = &mut desired;
        for name in path.split('.') {
            if !at.is_object() {
                *at = Value::Object(Map::new());
            }
            at = &mut at[name];
        }
        *at = value.clone();
    }
    desired
}
