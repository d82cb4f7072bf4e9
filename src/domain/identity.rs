//! Who connects: a device, or a module of a device.

use std::fmt;
use std::sync::Arc;

use super::sas::plain;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A checked id: `device` or `device/module`. Cheap to clone, compares by bytes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity(Arc<str>);

/// Why a text is not an id (architecture 4.1).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{}` is not an id: 1 to 128 characters of A-Z a-z 0-9 and -.%_*?!(),:=@$' are allowed for a \
     device and for a module", plain(.0)
)]
pub struct BadIdentity(pub String);

/// Whether `id` may name a device or a module.
pub fn is_id(id: &str) -> bool {
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b"-.%_*?!(),:=@$'".contains(&b);
    (1..=128).contains(&id.len()) && id.bytes().all(is_allowed)
}

impl Identity {
    /// `device` or `device/module`, as in an MQTT client id.
    pub fn parse(text: &str) -> Result<Self, BadIdentity> {
        let (device, module) = match text.split_once('/') {
            Some((device, module)) => (device, Some(module)),
            None => (text, None),
        };
        if is_id(device) && module.is_none_or(is_id) {
            Ok(Identity(text.into()))
        } else {
            Err(BadIdentity(text.chars().take(300).collect()))
        }
    }

    /// A device.
    pub fn device(device: &str) -> Result<Self, BadIdentity> {
        if device.contains('/') {
            return Err(BadIdentity(device.chars().take(300).collect()));
        }
        Self::parse(device)
    }

    /// A module of a device.
    pub fn module(device: &str, module: &str) -> Result<Self, BadIdentity> {
        Self::parse(&format!("{device}/{module}"))
    }

    /// The same, shared.
    pub fn text(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }

    /// `device` or `device/module`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The device, or the device that the module belongs to.
    pub fn device_id(&self) -> &str {
        self.0.split_once('/').map_or(&*self.0, |(device, _)| device)
    }

    /// The module, if it is one.
    pub fn module_id(&self) -> Option<&str> {
        self.0.split_once('/').map(|(_, module)| module)
    }

    /// The device as an identity of its own.
    pub fn of_device(&self) -> Identity {
        Identity(self.device_id().into())
    }

    /// A module beside this one, or of this device.
    pub fn sibling(&self, module: &str) -> Result<Self, BadIdentity> {
        Self::module(self.device_id(), module)
    }

    /// `devices/{d}` or `devices/{d}/modules/{m}`: in topics, in the resource of a token, in REST.
    pub fn resource(&self) -> String {
        let mut resource = String::with_capacity(self.resource_length());
        self.append_resource(&mut resource);
        resource
    }

    /// The same, behind a text.
    pub fn append_resource(&self, text: &mut String) {
        text.extend(["devices/", self.device_id()]);
        if let Some(module) = self.module_id() {
            text.extend(["/modules/", module]);
        }
    }

    /// Bytes of that.
    pub fn resource_length(&self) -> usize {
        let slash = if self.module_id().is_some() { "/modules/".len() - 1 } else { 0 };
        "devices/".len() + self.0.len() + slash
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Identity {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Identity {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Identity::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_checked_and_taken_apart() {
        let module = Identity::parse("gw 1/m");
        assert!(module.is_err());
        let module = Identity::parse("gw-1/$edgeHub").unwrap();
        assert_eq!((module.device_id(), module.module_id()), ("gw-1", Some("$edgeHub")));
        assert_eq!(module.resource(), "devices/gw-1/modules/$edgeHub");
        assert_eq!(module.resource().len(), module.resource_length());
        assert_eq!(module.of_device().resource().len(), module.of_device().resource_length());
        let device = Identity::parse("gw-1").unwrap();
        assert_eq!((device.module_id(), module.of_device()), (None, device.clone()));
        assert_eq!(device.sibling("$edgeHub"), Ok(module));
        for bad in ["", "/", "a/", "/b", "a/b/c", "a+b", "a#", "é", &"x".repeat(129)] {
            assert!(Identity::parse(bad).is_err(), "{bad}");
        }
    }
}
