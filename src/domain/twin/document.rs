//! A twin as a client sees it, and the local copy that an edge keeps of it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::limits::TwinError;
use super::merge::merge;

/// One of the two halves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Properties {
    /// A JSON object without `$version` and `$metadata`.
    pub values: Value,
    /// Of the last change; the first is 1.
    pub version: u64,
}

/// See the module documentation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// What the service wants.
    pub desired: Properties,
    /// What the client says.
    pub reported: Properties,
    /// Of the identity: another one is another twin.
    #[serde(default)]
    pub generation: String,
}

impl Default for Properties {
    fn default() -> Self {
        Properties { values: Value::Object(Map::new()), version: 1 }
    }
}

impl Properties {
    /// With `$version` in it.
    pub fn to_value(&self) -> Value {
        let mut values = self.values.clone();
        if let Value::Object(map) = &mut values {
            map.insert("$version".into(), json!(self.version));
        }
        values
    }

    fn from_value(value: Option<&Value>) -> Result<Self, TwinError> {
        let Some(Value::Object(map)) = value else { return Err(TwinError::NotAnObject) };
        let version = map.get("$version").and_then(Value::as_u64).unwrap_or(1);
        let mut values = map.clone();
        values.retain(|key, _| !key.starts_with('$'));
        Ok(Properties { values: Value::Object(values), version })
    }
}

impl Document {
    /// Nothing desired, nothing reported.
    pub fn empty() -> Self {
        let (desired, reported) = (Properties::default(), Properties::default());
        Document { desired, reported, generation: String::new() }
    }

    /// The answer to a twin GET.
    pub fn client_json(&self) -> String {
        let (desired, reported) = (self.desired.to_value(), self.reported.to_value());
        json!({ "desired": desired, "reported": reported }).to_string()
    }

    /// Reads the answer to a twin GET.
    pub fn from_client_json(body: &[u8]) -> Result<Self, TwinError> {
        let value: Value =
            serde_json::from_slice(body).map_err(|error| TwinError::NotJson(error.to_string()))?;
        Ok(Document {
            desired: Properties::from_value(value.get("desired"))?,
            reported: Properties::from_value(value.get("reported"))?,
            generation: String::new(),
        })
    }
}

/// A patch with its `$version` (spec sdk.md, trap 5).
pub fn patch_json(patch: &Value, version: u64) -> Bytes {
    let mut patch = patch.clone();
    if let Value::Object(map) = &mut patch {
        map.insert("$version".into(), json!(version));
    }
    Bytes::from(patch.to_string())
}

/// What became of a desired patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// The local copy has it now.
    Applied,
    /// It had it before.
    AlreadyKnown,
    /// Something lies between, or it is another twin: the full document is needed.
    NeedsFullGet,
}

/// Applies a desired patch to the local copy if it is the next one (link.md, last paragraph).
pub fn apply_desired(document: &mut Document, version: u64, patch: &Value) -> Applied {
    if version == document.desired.version {
        return Applied::AlreadyKnown;
    }
    if version != document.desired.version + 1 {
        return Applied::NeedsFullGet;
    }
    let mut patch = patch.clone();
    if let Value::Object(map) = &mut patch {
        map.retain(|key, _| !key.starts_with('$'));
    }
    merge(&mut document.desired.values, &patch);
    document.desired.version = version;
    Applied::Applied
}
