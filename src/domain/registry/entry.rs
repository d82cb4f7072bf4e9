//! What the registry keeps of one identity, and how the service SDKs see it.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Fresh;
use crate::domain::identity::Identity;
use crate::domain::iso8601;

/// One identity. `Debug` shows no key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Who.
    pub id: Identity,
    /// Another one if it is deleted and made again.
    pub generation: String,
    /// Number of the change, among all of the registry, that an edge must hear of.
    pub version: u64,
    /// How often it was changed; the etag.
    pub changes: u64,
    /// Whether it may be used.
    pub is_enabled: bool,
    /// Why it may not, by its operator.
    pub status_reason: Option<String>,
    /// ISO-8601 of the last change of `is_enabled`.
    pub status_updated: String,
    /// How it proves who it is.
    pub authentication: Authentication,
    /// An edge device: other devices may be below it.
    pub is_edge: bool,
    /// Scopes of the edges directly above it.
    pub parents: Vec<String>,
    /// Of a module.
    pub managed_by: Option<String>,
}

/// How an identity proves who it is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Authentication {
    /// Symmetric keys, base64.
    Sas(String, String),
    /// Thumbprints of certificates, as given; the second may be empty.
    SelfSigned(String, String),
    /// A certificate of an authority that the hub trusts.
    CertificateAuthority,
    /// Not at all.
    None,
}

impl Entry {
    /// A part of an edge device, made with it.
    pub(super) fn system_module(id: Identity, fresh: &mut Fresh<'_>) -> Self {
        Entry {
            id,
            generation: fresh.now.as_nanos().to_string(),
            version: 0,
            changes: 0,
            is_enabled: true,
            status_reason: None,
            status_updated: iso8601::NEVER.to_owned(),
            authentication: Authentication::Sas((fresh.key)(), (fresh.key)()),
            is_edge: false,
            parents: Vec::new(),
            managed_by: Some("IotEdge".to_owned()),
        }
    }

    /// What `If-Match` is held against.
    pub fn etag(&self) -> String {
        STANDARD.encode(format!("{}-{}", self.generation, self.changes))
    }

    /// The scope that those below an edge name as their parent.
    pub fn own_scope(&self) -> Option<String> {
        let scope = || format!("ms-azure-iot-edge://{}-{}", self.id, self.generation);
        self.is_edge.then(scope)
    }

    /// Symmetric keys.
    pub fn keys(&self) -> Vec<String> {
        match &self.authentication {
            Authentication::Sas(primary, secondary) => vec![primary.clone(), secondary.clone()],
            _ => Vec::new(),
        }
    }

    /// Thumbprints in lower case.
    pub fn thumbprints(&self) -> Vec<String> {
        match &self.authentication {
            Authentication::SelfSigned(primary, secondary) => {
                let given = [primary, secondary].into_iter().filter(|print| !print.is_empty());
                given.map(|print| print.to_ascii_lowercase()).collect()
            }
            _ => Vec::new(),
        }
    }

    /// `enabled` or `disabled`.
    pub fn status(&self) -> &'static str {
        if self.is_enabled { "enabled" } else { "disabled" }
    }

    /// `sas`, `selfSigned`, `certificateAuthority` or `none`.
    pub fn authentication_type(&self) -> &'static str {
        match self.authentication {
            Authentication::Sas(..) => "sas",
            Authentication::SelfSigned(..) => "selfSigned",
            Authentication::CertificateAuthority => "certificateAuthority",
            Authentication::None => "none",
        }
    }

    /// The `deviceScope` of its JSON: an edge's own, or that of the parent.
    pub fn device_scope(&self) -> Option<String> {
        self.own_scope().or_else(|| self.parents.first().cloned())
    }

    /// As REST shows it, without what only other actors know (presence, queued messages).
    pub fn json(&self) -> Map<String, Value> {
        let mut json = Map::new();
        json.insert("deviceId".into(), self.id.device_id().into());
        if let Some(module) = self.id.module_id() {
            json.insert("moduleId".into(), module.into());
            json.insert("managedBy".into(), self.managed_by.clone().into());
        }
        json.insert("generationId".into(), self.generation.clone().into());
        json.insert("etag".into(), self.etag().into());
        if self.id.module_id().is_none() {
            json.insert("status".into(), self.status().into());
            json.insert("statusReason".into(), self.status_reason.clone().into());
            json.insert("statusUpdatedTime".into(), self.status_updated.clone().into());
            json.insert("capabilities".into(), json!({ "iotEdge": self.is_edge }));
            if let Some(scope) = self.device_scope() {
                json.insert("deviceScope".into(), scope.into());
                json.insert("parentScopes".into(), self.parents.clone().into());
            }
        }
        json.insert("authentication".into(), self.authentication_json());
        json
    }

    fn authentication_json(&self) -> Value {
        let (keys, prints) = match &self.authentication {
            Authentication::Sas(primary, secondary) => {
                ((Some(primary), Some(secondary)), (None, None))
            }
            Authentication::SelfSigned(primary, secondary) => {
                ((None, None), (Some(primary), Some(secondary)))
            }
            _ => ((None, None), (None, None)),
        };
        json!({
            "symmetricKey": { "primaryKey": keys.0, "secondaryKey": keys.1 },
            "x509Thumbprint": { "primaryThumbprint": prints.0, "secondaryThumbprint": prints.1 },
            "type": self.authentication_type(),
        })
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, status) = (self.authentication_type(), self.status());
        write!(f, "{} {kind} {status} version {}", self.id, self.version)
    }
}

impl fmt::Debug for Authentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
