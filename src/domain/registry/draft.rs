//! An identity as a service client writes it: JSON of `PUT /devices/{id}[/modules/{mid}]`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::{Authentication, Entry, Fresh};
use crate::domain::identity::Identity;
use crate::domain::iso8601;
use crate::domain::service_error::ServiceError;

/// What was asked for; what was left out keeps its value, or gets the default.
#[derive(Clone)]
pub struct Draft {
    /// Who.
    pub id: Identity,
    is_enabled: Option<bool>,
    status_reason: Option<String>,
    authentication: Wanted,
    is_edge: Option<bool>,
    device_scope: Option<Option<String>>,
    parent_scopes: Option<Vec<String>>,
    managed_by: Option<String>,
}

#[derive(Clone)]
enum Wanted {
    Unsaid,
    /// Keys, where they were given.
    Sas(Option<String>, Option<String>),
    Other(Authentication),
}

impl Draft {
    /// Reads the JSON; whatever the hub fills in itself is ignored.
    pub fn parse(id: Identity, json: &Value) -> Result<Self, ServiceError> {
        if !json.is_object() {
            return Err(ServiceError::bad("the body is not a JSON object"));
        }
        let named = [("deviceId", Some(id.device_id())), ("moduleId", id.module_id())];
        for (name, wanted) in named {
            if text(json, name).is_some_and(|given| Some(given) != wanted) {
                return Err(ServiceError::bad(format!("{name} is another one than in the path")));
            }
        }
        let is_enabled = match text(json, "status") {
            None => None,
            Some(status) if status.eq_ignore_ascii_case("enabled") => Some(true),
            Some(status) if status.eq_ignore_ascii_case("disabled") => Some(false),
            Some(other) => {
                return Err(ServiceError::bad(format!(
                    "status is enabled or disabled, not {other}"
                )));
            }
        };
        let device_scope = json.get("deviceScope").map(|_| owned(json, "deviceScope"));
        let parent_scopes = json
            .get("parentScopes")
            .and_then(Value::as_array)
            .map(|scopes| scopes.iter().filter_map(Value::as_str).map(str::to_owned).collect());
        Ok(Draft {
            is_enabled,
            status_reason: owned(json, "statusReason"),
            authentication: authentication(json.get("authentication").unwrap_or(&Value::Null))?,
            is_edge: json.pointer("/capabilities/iotEdge").and_then(Value::as_bool),
            device_scope,
            parent_scopes,
            managed_by: owned(json, "managedBy"),
            id,
        })
    }

    /// The scopes named as parents.
    pub(super) fn parents(&self) -> impl Iterator<Item = &str> {
        let own = self.device_scope.iter().flatten();
        own.chain(self.parent_scopes.iter().flatten()).map(String::as_str)
    }

    /// `deviceScope` of an edge is its own.
    pub(super) fn may_name_itself(&self) -> bool {
        self.parent_scopes.as_deref().unwrap_or_default().is_empty()
            || self.is_edge.unwrap_or(false)
    }

    /// The entry that comes of it, over the one that is there.
    pub(super) fn into_entry(
        self,
        old: Option<&Entry>,
        fresh: &mut Fresh<'_>,
    ) -> Result<Entry, ServiceError> {
        let now = iso8601::text(fresh.now);
        let was_enabled = old.map(|old| old.is_enabled);
        let is_enabled = self.is_enabled.or(was_enabled).unwrap_or(true);
        let status_updated = match old {
            Some(old) if old.is_enabled == is_enabled => old.status_updated.clone(),
            Some(_) => now,
            None => iso8601::NEVER.to_owned(),
        };
        let is_device = self.id.module_id().is_none();
        let mut entry = Entry {
            generation: old
                .map_or_else(|| fresh.now.as_nanos().to_string(), |old| old.generation.clone()),
            version: 0,
            changes: old.map_or(0, |old| old.changes),
            is_enabled,
            status_reason: self.status_reason,
            status_updated,
            authentication: self.authentication.over(old, fresh),
            is_edge: is_device && self.is_edge.or(old.map(|old| old.is_edge)).unwrap_or(false),
            parents: old.map(|old| old.parents.clone()).unwrap_or_default(),
            managed_by: self.managed_by.or_else(|| old.and_then(|old| old.managed_by.clone())),
            id: self.id,
        };
        if is_device {
            let own = entry.own_scope();
            let scope =
                self.device_scope.map(|scope| scope.filter(|scope| Some(scope) != own.as_ref()));
            match (self.parent_scopes.filter(|scopes| !scopes.is_empty()), scope) {
                (Some(scopes), _) => entry.parents = scopes,
                (None, Some(scope)) if !entry.is_edge || scope.is_some() => {
                    entry.parents = scope.into_iter().collect();
                }
                _ => {}
            }
        }
        Ok(entry)
    }
}

impl Wanted {
    fn over(self, old: Option<&Entry>, fresh: &mut Fresh<'_>) -> Authentication {
        let old = old.map(|old| old.authentication.clone());
        let (primary, secondary) = match (self, &old) {
            (Wanted::Other(authentication), _) => return authentication,
            (Wanted::Unsaid, Some(old)) => return old.clone(),
            (Wanted::Unsaid, None) => (None, None),
            (Wanted::Sas(primary, secondary), _) => (primary, secondary),
        };
        let (first, second) = match old {
            Some(Authentication::Sas(first, second)) => (Some(first), Some(second)),
            _ => (None, None),
        };
        let primary = primary.or(first).unwrap_or_else(|| (fresh.key)());
        let secondary = secondary.or(second).unwrap_or_else(|| (fresh.key)());
        Authentication::Sas(primary, secondary)
    }
}

fn text<'a>(json: &'a Value, name: &str) -> Option<&'a str> {
    json.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
}

fn owned(json: &Value, name: &str) -> Option<String> {
    text(json, name).map(str::to_owned)
}

fn authentication(json: &Value) -> Result<Wanted, ServiceError> {
    let (keys, prints) = (&json["symmetricKey"], &json["x509Thumbprint"]);
    let has_print = text(prints, "primaryThumbprint").is_some();
    let inferred = if has_print { Some("selfSigned") } else { None };
    match text(json, "type").or(inferred) {
        None if keys.is_null() => Ok(Wanted::Unsaid),
        None | Some("sas") => Ok(Wanted::Sas(key(keys, "primaryKey")?, key(keys, "secondaryKey")?)),
        Some("selfSigned") => {
            let primary = thumbprint(prints, "primaryThumbprint")?;
            let secondary = thumbprint(prints, "secondaryThumbprint")?;
            if primary.is_empty() && secondary.is_empty() {
                return Err(ServiceError::bad("selfSigned needs a primaryThumbprint"));
            }
            Ok(Wanted::Other(Authentication::SelfSigned(primary, secondary)))
        }
        Some("certificateAuthority") => Ok(Wanted::Other(Authentication::CertificateAuthority)),
        Some("none") => Ok(Wanted::Other(Authentication::None)),
        Some(other) => {
            let known = "sas, selfSigned, certificateAuthority or none";
            Err(ServiceError::bad(format!("authentication.type is {known}, not {other}")))
        }
    }
}

fn key(json: &Value, name: &str) -> Result<Option<String>, ServiceError> {
    let Some(key) = text(json, name) else { return Ok(None) };
    match STANDARD.decode(key) {
        Ok(bytes) if (16..=64).contains(&bytes.len()) => Ok(Some(key.to_owned())),
        _ => Err(ServiceError::bad(format!("{name} is not base64 of 16 to 64 bytes"))),
    }
}

fn thumbprint(json: &Value, name: &str) -> Result<String, ServiceError> {
    let print = text(json, name).unwrap_or_default();
    let is_hex = print.bytes().all(|digit| digit.is_ascii_hexdigit());
    if is_hex && [0, 40, 64].contains(&print.len()) {
        Ok(print.to_owned())
    } else {
        Err(ServiceError::bad(format!("{name} is not 40 or 64 hex digits")))
    }
}
