//! `HostName=…;DeviceId=…;SharedAccessKey=…`, as a hub hands it out.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::identity::{Identity, is_id};

/// A text that is never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text` from logs.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// The text itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A connection string, taken apart and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionString {
    /// `HostName`, with a port if one was given.
    pub host: String,
    /// `DeviceId` and `ModuleId`.
    pub identity: Option<Identity>,
    /// `SharedAccessKeyName` of a service.
    pub policy: Option<String>,
    /// `SharedAccessKey`, base64.
    pub key: Secret,
}

/// Why a text is no connection string. Never quotes the text: it may hold a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadConnectionString {
    /// Not `Name=value` pairs.
    #[error("part {0} of the connection string is not of the form Name=value")]
    NotAPair(usize),
    /// Needed and not there.
    #[error("the connection string has no {0}")]
    Missing(&'static str),
    /// Not usable.
    #[error("the {0} of the connection string is not valid")]
    Invalid(&'static str),
    /// X.509 and ready-made tokens.
    #[error(
        "the connection string has no SharedAccessKey: other ways to log in are not served yet"
    )]
    NoKey,
    /// Of the other kind.
    #[error("this is the connection string of {0}, but that of {1} is wanted")]
    OtherKind(&'static str, &'static str),
}

impl ConnectionString {
    /// Parses either kind.
    pub fn parse(text: &str) -> Result<Self, BadConnectionString> {
        let mut found = [None; 5];
        let names = ["HostName", "DeviceId", "ModuleId", "SharedAccessKeyName", "SharedAccessKey"];
        for (at, part) in text.trim().split(';').enumerate().filter(|(_, p)| !p.trim().is_empty()) {
            let (name, value) =
                part.split_once('=').ok_or(BadConnectionString::NotAPair(at + 1))?;
            let is_it = |n: &&str| n.eq_ignore_ascii_case(name.trim());
            if let Some(at) = names.iter().position(is_it) {
                found[at] = Some(value.trim());
            }
        }
        let [host, device, module, policy, key] = found.map(|v| v.filter(|v| !v.is_empty()));
        let host = host.ok_or(BadConnectionString::Missing("HostName"))?;
        let is_host = |b: u8| b.is_ascii_alphanumeric() || b".-_:[]".contains(&b);
        if !host.bytes().all(is_host) {
            return Err(BadConnectionString::Invalid("HostName"));
        }
        let identity = match (device, module) {
            (None, None) => None,
            (None, Some(_)) => return Err(BadConnectionString::Missing("DeviceId")),
            (Some(device), _) if !is_id(device) => {
                return Err(BadConnectionString::Invalid("DeviceId"));
            }
            (Some(device), None) => Identity::device(device).ok(),
            (Some(device), Some(module)) => {
                let module = Identity::module(device, module);
                Some(module.map_err(|_| BadConnectionString::Invalid("ModuleId"))?)
            }
        };
        if identity.is_none() && policy.is_none() {
            return Err(BadConnectionString::Missing("DeviceId"));
        }
        let key = key.ok_or(BadConnectionString::NoKey)?;
        if STANDARD.decode(key).is_err() {
            return Err(BadConnectionString::Invalid("SharedAccessKey"));
        }
        let (host, policy) = (host.to_owned(), policy.map(str::to_owned));
        Ok(ConnectionString { host, identity, policy, key: Secret::new(key) })
    }

    /// That of a device.
    pub fn parse_device(text: &str) -> Result<(Self, Identity), BadConnectionString> {
        let parsed = Self::parse(text)?;
        match parsed.identity.clone() {
            Some(id) if id.module_id().is_none() => Ok((parsed, id)),
            Some(_) => Err(BadConnectionString::OtherKind("a module", "a device")),
            None => Err(BadConnectionString::OtherKind("a service", "a device")),
        }
    }

    /// Name, or address, and port of the host; `port` if it names none.
    pub fn host_and_port(&self, port: u16) -> (String, u16) {
        host_and_port(&self.host, port)
    }
}

/// Splits `host[:port]`; an IPv6 address with a port is in brackets.
pub fn host_and_port(text: &str, default: u16) -> (String, u16) {
    let bare = |host: &str| host.trim_matches(['[', ']']).to_owned();
    match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => match port.parse() {
            Ok(port) => (bare(host), port),
            Err(_) => (bare(text), default),
        },
        _ => (bare(text), default),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_string_is_taken_apart_and_its_key_not_shown() {
        let text = "HostName=127.0.0.2;DeviceId=gw-1;SharedAccessKey=c2VjcmV0PT0=\n";
        let (parsed, id) = ConnectionString::parse_device(text).unwrap();
        assert_eq!((parsed.host.as_str(), id.as_str()), ("127.0.0.2", "gw-1"));
        assert_eq!(parsed.key.reveal(), "c2VjcmV0PT0=");
        assert!(!format!("{parsed:?}").contains("c2Vj"));
        let service = "hostname=h:444;SharedAccessKeyName=iothubowner;SharedAccessKey=AAAA";
        let service = ConnectionString::parse(service).unwrap();
        assert_eq!(service.policy.as_deref(), Some("iothubowner"));
        assert_eq!(service.host_and_port(443), ("h".into(), 444));
    }

    #[test]
    fn what_is_wrong_is_named_and_never_quoted() {
        let error = |text| ConnectionString::parse_device(text).unwrap_err().to_string();
        assert!(error("DeviceId=d;SharedAccessKey=AAAA").contains("no HostName"));
        assert!(error("HostName=h;SharedAccessKey=AAAA").contains("no DeviceId"));
        assert!(error("HostName=h;DeviceId=d").contains("no SharedAccessKey"));
        assert!(error("HostName=h;DeviceId=d/e;SharedAccessKey=AAAA").contains("DeviceId"));
        assert!(error("HostName=h;DeviceId=d;SharedAccessKey=A_A").contains("SharedAccessKey"));
        assert!(error("HostName=h;DeviceId=d;ModuleId=m;SharedAccessKey=AAAA").contains("module"));
        assert!(error("HostName=h;SharedAccessKeyName=o;SharedAccessKey=AAAA").contains("service"));
        assert!(error("HostName=h x;DeviceId=d;SharedAccessKey=AAAA").contains("HostName"));
        assert_eq!(
            error("secret"),
            "part 1 of the connection string is not of the form Name=value"
        );
    }

    #[test]
    fn hosts_may_be_addresses_of_either_kind() {
        let cases = [("h", ("h", 1)), ("h:2", ("h", 2)), ("[::1]:2", ("::1", 2))];
        for (text, (host, port)) in cases.into_iter().chain([("::1", ("::1", 1))]) {
            assert_eq!(host_and_port(text, 1), (host.into(), port), "{text}");
        }
    }
}
