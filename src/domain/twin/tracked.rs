//! A half of a twin as a service sees it: values, version, and `$metadata` with the time of the
//! last change of everything in it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::document::Properties;
use super::merge::{diff, merge};

const UPDATED: &str = "$lastUpdated";

/// See the module documentation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tracked {
    /// As a client sees it.
    #[serde(flatten)]
    pub properties: Properties,
    /// Mirrors the values.
    pub metadata: Value,
}

impl Tracked {
    /// Nothing in it; made at `now` (ISO-8601).
    pub fn new(now: &str) -> Self {
        Tracked { properties: Properties::default(), metadata: json!({ UPDATED: now }) }
    }

    /// Merges a patch; the version goes up by one.
    pub fn apply(&mut self, patch: &Value, now: &str) {
        merge(&mut self.properties.values, patch);
        self.properties.version += 1;
        note(&mut self.metadata, patch, &self.properties.values, now);
    }

    /// Replaces all; answers the patch that does the same. The version goes up by one.
    pub fn replace(&mut self, values: &Value, now: &str) -> Value {
        let patch = diff(&self.properties.values, values).unwrap_or_else(|| json!({}));
        self.apply(&patch, now);
        patch
    }

    /// Values, `$metadata` and `$version`.
    pub fn service_json(&self) -> Value {
        let mut value = self.properties.values.clone();
        if let Value::Object(map) = &mut value {
            map.insert("$metadata".into(), self.metadata.clone());
            map.insert("$version".into(), json!(self.properties.version));
        }
        value
    }
}

/// Notes `now` at everything that the patch names and at all above it.
fn note(metadata: &mut Value, patch: &Value, values: &Value, now: &str) {
    if !metadata.is_object() {
        *metadata = Value::Object(Map::new());
    }
    let Value::Object(metadata) = metadata else { return };
    metadata.insert(UPDATED.into(), json!(now));
    let Value::Object(values) = values else {
        metadata.retain(|key, _| key == UPDATED);
        return;
    };
    metadata.retain(|key, _| key == UPDATED || values.contains_key(key));
    let Value::Object(patch) = patch else { return };
    for (key, change) in patch {
        if let Some(value) = values.get(key) {
            note(metadata.entry(key.as_str()).or_insert(Value::Null), change, value, now);
        }
    }
}
