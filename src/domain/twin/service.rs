//! A twin as the hub keeps it: tags, desired and reported properties, etag.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::limits::{TwinError, validate_desired, validate_reported};
use super::merge::merge;
use super::tracked::Tracked;
use crate::domain::agent::layers::desired;
use crate::domain::iso8601;
use crate::domain::service_error::ServiceError;

/// Most bytes of tags, of desired and of reported properties.
const MOST: usize = 128 * 1024;

/// See the module documentation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceTwin {
    tags: Value,
    desired: Tracked,
    reported: Tracked,
    /// Changes by services and by the client.
    version: u64,
    /// Changes by services: the etag.
    changes: u64,
}

impl Default for ServiceTwin {
    fn default() -> Self {
        let half = Tracked::new(iso8601::NEVER);
        let tags = Value::Object(Map::new());
        ServiceTwin { tags, reported: half.clone(), desired: half, version: 1, changes: 1 }
    }
}

impl ServiceTwin {
    /// What `If-Match` is held against.
    pub fn etag(&self) -> String {
        STANDARD.encode(self.changes.to_be_bytes())
    }

    /// The answer to a client's GET.
    pub fn client_json(&self) -> String {
        let (desired, reported) = (&self.desired.properties, &self.reported.properties);
        json!({ "desired": desired.to_value(), "reported": reported.to_value() }).to_string()
    }

    /// Its own part of what a service reads.
    pub fn service_json(&self) -> Value {
        let (desired, reported) = (self.desired.service_json(), self.reported.service_json());
        json!({
            "etag": self.etag(),
            "version": self.version,
            "tags": self.tags,
            "properties": { "desired": desired, "reported": reported },
        })
    }

    /// Version of the desired properties.
    pub fn desired_version(&self) -> u64 {
        self.desired.properties.version
    }

    /// A client's patch; answers the version of the reported properties.
    pub fn report(&mut self, patch: &[u8], now: &str) -> Result<u64, TwinError> {
        let patch = validate_reported(patch)?;
        let mut reported = self.reported.clone();
        reported.apply(&patch, now);
        let bytes = reported.properties.values.to_string().len();
        if bytes > MOST {
            return Err(TwinError::TooLarge(bytes));
        }
        self.reported = reported;
        self.version += 1;
        Ok(self.reported.properties.version)
    }

    /// A deployment's content of a module: `properties.desired` in place of what is there, and
    /// `properties.desired.a.b` in place of what is there at that path. Answers as `change` does.
    pub fn lay(&mut self, content: &Value, now: &str) -> Result<Option<Value>, ServiceError> {
        let desired = desired(content, &self.desired.properties.values);
        self.change(&json!({ "properties": { "desired": desired } }), false, now)
    }

    /// A service's `{"tags", "properties": {"desired"}}`, merged (PATCH) or in place of what is
    /// there (PUT); what is not named stays. Answers the patch for the client, if its part has
    /// changed.
    pub fn change(
        &mut self,
        body: &Value,
        is_merged: bool,
        now: &str,
    ) -> Result<Option<Value>, ServiceError> {
        let object = body.as_object();
        let object = object.ok_or_else(|| ServiceError::bad("the body is not a JSON object"))?;
        let tags = object.get("tags").filter(|tags| !tags.is_null());
        let desired = body.pointer("/properties/desired").filter(|desired| !desired.is_null());
        let mut changed = self.clone();
        if let Some(tags) = tags {
            let tags = own_part(tags, "tags")?;
            if is_merged {
                merge(&mut changed.tags, &tags);
            } else {
                changed.tags = without_nulls(tags);
            }
            check_size("tags", &changed.tags)?;
        }
        let mut patch = None;
        if let Some(desired) = desired {
            let desired = own_part(desired, "properties.desired")?;
            patch = Some(if is_merged {
                changed.desired.apply(&desired, now);
                desired
            } else {
                changed.desired.replace(&without_nulls(desired), now)
            });
            check_size("properties.desired", &changed.desired.properties.values)?;
        }
        changed.version += 1;
        changed.changes += 1;
        *self = changed;
        Ok(patch)
    }
}

/// Checked, and without what the hub itself adds when it is read.
fn own_part(value: &Value, name: &str) -> Result<Value, ServiceError> {
    let mut value = value.clone();
    if let Value::Object(map) = &mut value {
        map.retain(|key, _| key != "$metadata" && key != "$version");
    }
    let bad = |why: TwinError| ServiceError::bad(format!("{name}: {why}"));
    validate_desired(&value).map_err(bad)?;
    Ok(value)
}

fn without_nulls(value: Value) -> Value {
    let mut whole = Value::Object(Map::new());
    merge(&mut whole, &value);
    whole
}

fn check_size(name: &str, value: &Value) -> Result<(), ServiceError> {
    let bytes = value.to_string().len();
    if bytes <= MOST {
        return Ok(());
    }
    let why = format!("{name} would have {bytes} bytes; {MOST} are the most");
    Err(ServiceError::new(413, "RequestEntityTooLarge", why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_merges_a_put_replaces_and_what_is_not_named_stays() {
        let mut twin = ServiceTwin::default();
        let body = json!({"tags": {"a": 1, "b": 2}, "properties": {"desired": {"x": 1, "y": 2}}});
        let patch = twin.change(&body, true, "t1").unwrap();
        assert_eq!((patch, twin.desired_version()), (Some(json!({"x": 1, "y": 2})), 2));
        let etag = twin.etag();
        assert_eq!(twin.change(&json!({"tags": {"a": null}}), true, "t2"), Ok(None));
        assert_ne!(twin.etag(), etag);
        assert_eq!(twin.desired_version(), 2);
        let read_back = json!({"x": 3, "$version": 2, "$metadata": {"x": {}}});
        let body = json!({"properties": {"desired": read_back}});
        assert_eq!(twin.change(&body, false, "t3"), Ok(Some(json!({"x": 3, "y": null}))));
        let shown = twin.service_json();
        assert_eq!(shown["tags"], json!({"b": 2}));
        assert_eq!(shown["properties"]["desired"]["$version"], json!(3));
        assert_eq!(shown["properties"]["desired"]["$metadata"]["$lastUpdated"], json!("t3"));
    }

    #[test]
    fn a_client_reports_and_reads_both_halves() {
        let mut twin = ServiceTwin::default();
        let etag = twin.etag();
        assert_eq!(twin.report(br#"{"x": {"y": 1}, "gone": 1}"#, "t"), Ok(2));
        assert_eq!(twin.report(br#"{"x": {"y": null, "z": 2}, "gone": null}"#, "t"), Ok(3));
        let wanted = r#"{"desired":{"$version":1},"reported":{"x":{"z":2},"$version":3}}"#;
        assert_eq!(twin.client_json(), wanted);
        assert_eq!(twin.etag(), etag, "a report is no reason for a service to read again");
        assert!(twin.report(b"[]", "t").is_err());
        let text = serde_json::to_vec(&twin).unwrap();
        assert_eq!(serde_json::from_slice::<ServiceTwin>(&text).unwrap(), twin);
    }

    #[test]
    fn what_would_grow_without_end_or_is_no_property_is_refused() {
        let mut twin = ServiceTwin::default();
        let value = "x".repeat(4000);
        let refused = (0..100).find_map(|n| {
            twin.report(json!({ format!("k{n}"): value }).to_string().as_bytes(), "t").err()
        });
        assert!(matches!(refused, Some(TwinError::TooLarge(_))));
        for bad in [json!([]), json!({"tags": []}), json!({"properties": {"desired": {"a.b": 1}}})]
        {
            assert_eq!(twin.change(&bad, true, "t").unwrap_err().status, 400, "{bad}");
        }
    }
}
