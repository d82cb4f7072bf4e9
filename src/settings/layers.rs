//! Layers: built-in defaults, files in order, environment, flags; later ones win.
//!
//! Every source is checked against the schema first, so that a mistake is named with its place.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use config::builder::{ConfigBuilder, DefaultState};
use config::{Config, ConfigError, File, FileFormat, ValueKind};
use serde::de::DeserializeOwned;

use super::error::SettingsError;
use super::file;
use super::kind::{Given, Kind};
use super::schema::{EDGE, LOCALHUB, Schema};
use crate::protocol::files::read_text;

/// Where settings come from, lowest first.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    /// Names and texts of TOML files.
    pub files: Vec<(String, String)>,
    /// Environment variables; those of other programs are left alone.
    pub environment: Vec<(String, String)>,
    /// `KEY=VALUE` of `--set`.
    pub flags: Vec<String>,
}

impl Layers {
    /// Reads these files, and takes the process's environment.
    pub fn read(files: &[PathBuf], flags: Vec<String>) -> Result<Self, SettingsError> {
        let read = |path: &PathBuf| Ok((path.display().to_string(), read_text(path)?));
        let files = files.iter().map(read).collect::<Result<_, SettingsError>>()?;
        let environment = std::env::vars_os().filter_map(text).collect::<Result<_, _>>()?;
        Ok(Layers { files, environment, flags })
    }
}

/// A variable that a setting may come from; what is not text cannot be left out silently.
fn text((name, value): (OsString, OsString)) -> Option<Result<(String, String), SettingsError>> {
    let is_ours = |name: &str| [EDGE.prefix, LOCALHUB.prefix].iter().any(|it| name.starts_with(it));
    match (name.into_string(), value.into_string()) {
        (Ok(name), Ok(value)) => Some(Ok((name, value))),
        (Ok(name), Err(_)) if is_ours(&name) => Some(Err(SettingsError::Wrong {
            place: format!("environment variable {name}"),
            key: key_of(&name),
            why: "must be UTF-8".into(),
        })),
        _ => None,
    }
}

/// `EDGE_RUNTIME__LOG__LEVEL` is `log.level`.
fn key_of(variable: &str) -> String {
    let (_, key) = variable.split_once("__").unwrap_or_default();
    key.to_ascii_lowercase().replace("__", ".")
}

/// What a program gets, and how that came about.
#[derive(Clone, Debug)]
pub struct Loaded<T> {
    /// Typed.
    pub settings: T,
    /// Every key.
    pub effective: Vec<Effective>,
}

impl<T> Loaded<T> {
    /// A line for each key, as it would stand in a file, with where it came from.
    pub fn report(&self) -> String {
        self.effective.iter().map(|setting| format!("{setting}\n")).collect()
    }
}

/// One setting as it is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// Its name.
    pub key: &'static str,
    /// As it would stand in a file; secrets as `***`; `None`: not set.
    pub value: Option<String>,
    /// `default`, file and line, variable, or flag.
    pub origin: String,
}

impl fmt::Display for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{} = {value}  # {}", self.key, self.origin),
            None => write!(f, "# {} is not set", self.key),
        }
    }
}

/// The layers on top of each other.
pub(super) struct Merged {
    schema: &'static Schema,
    builder: ConfigBuilder<DefaultState>,
    config: Config,
    origins: BTreeMap<String, String>,
}

impl Merged {
    /// Checks and merges.
    pub(super) fn new(schema: &'static Schema, layers: &Layers) -> Result<Self, SettingsError> {
        let mut builder = Config::builder();
        let mut origins = BTreeMap::new();
        let defaults = ("default".to_owned(), schema.defaults.to_owned());
        for (name, text) in std::iter::once(&defaults).chain(&layers.files) {
            let is_default = std::ptr::eq(text, &defaults.1);
            for (key, place) in file::check(schema, name, text)? {
                origins.insert(key, if is_default { name.clone() } else { place });
            }
            builder = builder.add_source(File::from_str(text, FileFormat::Toml));
        }
        let environment = layers.environment.iter().filter_map(|(name, value)| {
            let is_ours = name.starts_with(schema.prefix);
            is_ours.then(|| {
                (format!("environment variable {name}"), key_of(name), Some(value.as_str()))
            })
        });
        let flags = layers.flags.iter().map(|flag| {
            let (key, value) = match flag.split_once('=') {
                Some((key, value)) => (key, Some(value.trim())),
                None => (flag.as_str(), None),
            };
            ("flag --set".to_owned(), key.trim().to_owned(), value)
        });
        for (place, key, value) in environment.chain(flags) {
            let given = match schema.kind(&key) {
                Ok(_) if value.is_none() => {
                    let why = "has no value: write KEY=VALUE".into();
                    return Err(SettingsError::Wrong { place, key, why });
                }
                Ok(kind) => {
                    let value = value.unwrap_or_default();
                    let given = kind.read(value);
                    let checked = kind.check(&given);
                    let wrong = |why| (place.clone(), key.clone(), why);
                    checked.map_err(wrong).map(|()| given)
                }
                Err(nearest) => return Err(SettingsError::Unknown { place, key, nearest }),
            };
            let given =
                given.map_err(|(place, key, why)| SettingsError::Wrong { place, key, why })?;
            builder = builder.set_override(key.as_str(), to_value(given)).map_err(unusable)?;
            origins.insert(key, place);
        }
        let config = builder.build_cloned().map_err(unusable)?;
        Ok(Merged { schema, builder, config, origins })
    }

    /// A text, if it is set.
    pub(super) fn text(&self, key: &str) -> Option<String> {
        self.config.get_string(key).ok()
    }

    /// Sets a key that nobody has set, from another one or the machine.
    pub(super) fn derive(
        &mut self,
        key: &str,
        value: String,
        origin: &str,
    ) -> Result<(), SettingsError> {
        if self.origins.contains_key(key) {
            return Ok(());
        }
        self.origins.insert(key.into(), origin.into());
        self.builder = self.builder.clone().set_default(key, value).map_err(unusable)?;
        self.config = self.builder.build_cloned().map_err(unusable)?;
        Ok(())
    }

    /// Where a key was set.
    pub(super) fn place(&self, key: &str) -> String {
        self.origins.get(key).cloned().unwrap_or_else(|| "settings".into())
    }

    /// An error of this key, at the place where it was set.
    pub(super) fn wrong(&self, key: &str, why: impl Into<String>) -> SettingsError {
        SettingsError::Wrong { place: self.place(key), key: key.into(), why: why.into() }
    }

    /// The typed form.
    pub(super) fn typed<T: DeserializeOwned>(&self) -> Result<T, SettingsError> {
        self.config.clone().try_deserialize().map_err(unusable)
    }

    /// Every key with its value and origin.
    pub(super) fn effective(&self) -> Vec<Effective> {
        let keys = self.schema.keys.iter();
        keys.map(|(key, kind)| Effective {
            key,
            value: self.config.get::<config::Value>(key).ok().map(|value| show(*kind, value.kind)),
            origin: self.place(key),
        })
        .collect()
    }
}

fn unusable(why: ConfigError) -> SettingsError {
    let place = "settings".into();
    SettingsError::Wrong { place, key: String::new(), why: format!("cannot be used: {why}") }
}

fn to_value(given: Given) -> config::Value {
    match given {
        Given::Text(text) => text.into(),
        Given::Number(number) => number.into(),
        Given::Switch(value) => value.into(),
        Given::List(list) => list.into(),
        Given::Other(_) => config::Value::new(None, ValueKind::Nil),
    }
}

/// As it would stand in a file, without secrets.
fn show(kind: Kind, value: ValueKind) -> String {
    match (kind, value) {
        (Kind::Secret, _) => "\"***\"".into(),
        (Kind::ConnectionString, ValueKind::String(text)) => format!("{:?}", mask(&text)),
        (_, ValueKind::String(text)) => format!("{text:?}"),
        (Kind::Tables(keys, _), ValueKind::Array(items)) => {
            let tables = items.into_iter().map(|item| {
                let mut table = item.into_table().unwrap_or_default();
                let pairs = keys.iter().filter_map(|(key, kind)| {
                    Some(format!("{key} = {}", show(*kind, table.remove(*key)?.kind)))
                });
                format!("{{ {} }}", pairs.collect::<Vec<_>>().join(", "))
            });
            format!("[{}]", tables.collect::<Vec<_>>().join(", "))
        }
        (_, ValueKind::Array(items)) => {
            let items = items.into_iter().map(|item| show(Kind::Text, item.kind));
            format!("[{}]", items.collect::<Vec<_>>().join(", "))
        }
        (_, other) => other.to_string(),
    }
}

/// Everything but the host and the ids is hidden.
fn mask(connection_string: &str) -> String {
    let parts = connection_string.split(';').map(|part| match part.split_once('=') {
        Some((name, _)) if !["HostName", "DeviceId"].contains(&name) => format!("{name}=***"),
        Some(_) => part.to_owned(),
        None => "***".into(),
    });
    parts.collect::<Vec<_>>().join(";")
}
