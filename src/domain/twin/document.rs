//! Properties with their version, and a patch of them, as a client sees them.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One of the two halves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Properties {
    /// A JSON object without `$version` and `$metadata`.
    pub values: Value,
    /// Of the last change; the first is 1.
    pub version: u64,
}

impl Default for Properties {
    fn default() -> Self {
        Properties { values: Value::Object(Map::new()), version: 1 }
    }
}

impl Properties {
    /// With `$version` in it.
    pub fn to_value(&self) -> Value {
        with_version(&self.values, self.version)
    }
}

/// A patch with its `$version` (spec sdk.md, trap 5).
pub fn patch_json(patch: &Value, version: u64) -> Bytes {
    Bytes::from(with_version(patch, version).to_string())
}

fn with_version(properties: &Value, version: u64) -> Value {
    let mut properties = properties.clone();
    if let Value::Object(map) = &mut properties {
        map.insert("$version".into(), version.into());
    }
    properties
}
