//! Settings of `localhub`.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

use super::checks::check_client_ca;
use super::edge::State;
use super::error::SettingsError;
use super::layers::{Layers, Loaded, Merged};
use super::schema::LOCALHUB;
use super::values::{Age, Log, Size};

/// All of them. `config/localhub.toml` says what each is for.
#[derive(Clone, Debug, Deserialize)]
pub struct LocalhubSettings {
    /// `HostName` in connection strings and tokens.
    pub hostname: String,
    /// Where its state lies.
    pub state: State,
    /// MQTT over TLS.
    pub listen: Vec<SocketAddr>,
    /// REST.
    pub listen_https: Vec<SocketAddr>,
    /// MQTT without TLS; loopback only.
    pub listen_plain: Vec<SocketAddr>,
    /// Authorities of devices' certificates: a PEM file, or a directory of such.
    pub client_ca: Option<PathBuf>,
    /// How much telemetry is kept.
    #[serde(default)]
    pub telemetry: Telemetry,
    /// How much of uploaded files is kept.
    pub files: Files,
    /// Logs.
    pub log: Log,
}

/// See [`LocalhubSettings`].
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Telemetry {
    /// Bytes; all without.
    pub retention_bytes: Option<Size>,
    /// Age; all without.
    pub retention_age: Option<Age>,
}

/// See [`LocalhubSettings`].
#[derive(Clone, Debug, Deserialize)]
pub struct Files {
    /// Bytes of all files.
    pub max_bytes: Size,
    /// Bytes of one file.
    pub max_file_bytes: Size,
}

impl LocalhubSettings {
    /// Loads them.
    pub fn load(layers: &Layers) -> Result<Loaded<Self>, SettingsError> {
        let merged = Merged::new(&LOCALHUB, layers)?;
        let mut settings: Self = merged.typed()?;
        if let Ok(whole) = std::path::absolute(&settings.state.path) {
            settings.state.path = whole;
        }
        if settings.hostname.is_empty() || settings.hostname.contains(['/', ';', '=']) {
            return Err(merged.wrong("hostname", "expects a host name or an address"));
        }
        check_client_ca("client_ca", settings.client_ca.as_deref(), &merged)?;
        Ok(Loaded { settings, effective: merged.effective() })
    }
}
