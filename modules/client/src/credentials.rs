//! Who the client is, where it connects, and how it proves it.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::error::{AttemptError, SettingsError};
use crate::topics::Topics;
use crate::workload::Workload;
use crate::{clock, token};

/// Tokens live this long and are renewed when a tenth of it is left.
const TOKEN_SECONDS: u64 = 3600;

/// Where and as whom to connect. Made by [`Settings::from_environment`] or from a connection string.
#[derive(Clone)]
pub struct Settings {
    pub(crate) hub: String,
    pub(crate) gateway: String,
    pub(crate) device: String,
    pub(crate) module: Option<String>,
    pub(crate) secret: Secret,
    /// PEM text; without it the workload's trust bundle is asked for.
    pub(crate) ca: Option<String>,
}

/// What signs tokens: the workload API, or a key in this process.
#[derive(Clone)]
pub(crate) enum Secret {
    Workload(Workload),
    Key(Vec<u8>),
}

/// What one attempt to connect logs in with.
pub(crate) struct Login {
    pub(crate) client_id: String,
    pub(crate) username: String,
    pub(crate) password: String,
    pub(crate) ca: String,
    pub(crate) renew_in: std::time::Duration,
}

impl Settings {
    /// From a device's or module's connection string; `ca` is the PEM text of what to trust.
    pub fn from_connection_string(text: &str, ca: &str) -> Result<Self, SettingsError> {
        let part = |name: &'static str| {
            text.split(';')
                .filter_map(|part| part.trim().split_once('='))
                .find(|(key, _)| key.eq_ignore_ascii_case(name))
                .map(|(_, value)| value.to_owned())
        };
        let need = |name| part(name).ok_or(SettingsError::MissingPart(name));
        let hub = need("HostName")?;
        let key = STANDARD.decode(need("SharedAccessKey")?).map_err(|_| SettingsError::Key)?;
        Ok(Self {
            gateway: part("GatewayHostName").unwrap_or_else(|| hub.clone()),
            hub,
            device: need("DeviceId")?,
            module: part("ModuleId"),
            secret: Secret::Key(key),
            ca: Some(ca.into()),
        })
    }

    /// The same client, reaching the hub by way of this host (`host` or `host:port`).
    #[must_use]
    pub fn through(mut self, gateway: &str) -> Self {
        self.gateway = gateway.into();
        self
    }

    /// The device this client belongs to.
    pub fn device(&self) -> &str {
        &self.device
    }

    pub(crate) fn topics(&self) -> Topics {
        Topics::new(&self.device, self.module.as_deref())
    }

    /// Host and port to connect to.
    pub(crate) fn address(&self) -> (String, u16) {
        match self.gateway.rsplit_once(':').map(|(host, port)| (host, u16::from_str(port))) {
            Some((host, Ok(port))) if !host.contains(':') => (host.into(), port),
            _ => (self.gateway.clone(), 8883),
        }
    }

    /// Fetches what an attempt needs: a fresh token and the certificates to trust.
    pub(crate) async fn login(&self) -> Result<Login, AttemptError> {
        let ca = match (&self.ca, &self.secret) {
            (Some(ca), _) => ca.clone(),
            (None, Secret::Workload(workload)) => workload.trust_bundle().await?,
            (None, Secret::Key(_)) => String::new(),
        };
        let resource = token::resource(&self.hub, &self.device, self.module.as_deref());
        let expiry = clock::unix_now() + TOKEN_SECONDS;
        let text = token::to_sign(&resource, expiry);
        let signature = match &self.secret {
            Secret::Workload(workload) => workload.sign(&text).await?,
            Secret::Key(key) => token::sign(key, &text),
        };
        let client_id = match &self.module {
            Some(module) => format!("{}/{module}", self.device),
            None => self.device.clone(),
        };
        let agent = concat!("edge-module-client%2F", env!("CARGO_PKG_VERSION"));
        Ok(Login {
            username: format!(
                "{}/{client_id}/?api-version=2021-04-12&DeviceClientType={agent}",
                self.hub
            ),
            client_id,
            password: token::token(&resource, &signature, expiry),
            ca,
            renew_in: std::time::Duration::from_secs(TOKEN_SECONDS / 10 * 9),
        })
    }
}

/// Never shows the key.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("hub", &self.hub)
            .field("gateway", &self.gateway)
            .field("device", &self.device)
            .field("module", &self.module)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_string_names_hub_device_module_and_gateway() {
        let text = "HostName=127.0.0.2;DeviceId=d;ModuleId=m;SharedAccessKey=c2VjcmV0;GatewayHostName=gw:18883";
        let settings = Settings::from_connection_string(text, "PEM").expect("it is complete");
        assert_eq!(settings.address(), ("gw".into(), 18883));
        assert_eq!((settings.hub.as_str(), settings.device()), ("127.0.0.2", "d"));
        assert_eq!(settings.module.as_deref(), Some("m"));
        assert_eq!(settings.through("other").address(), ("other".into(), 8883));
    }

    #[test]
    fn what_is_missing_from_a_connection_string_is_named() {
        let error = Settings::from_connection_string("HostName=h;SharedAccessKey=c2Vj", "")
            .expect_err("there is no device");
        assert_eq!(error.to_string(), "connection string has no DeviceId");
    }

    #[test]
    fn debug_output_shows_no_key() {
        let text = "HostName=h;DeviceId=d;SharedAccessKey=c2VjcmV0";
        let settings = Settings::from_connection_string(text, "").expect("it is complete");
        assert!(!format!("{settings:?}").contains("secret"));
        assert!(!format!("{settings:?}").contains("c2Vj"));
    }

    #[tokio::test]
    async fn a_login_names_the_client_as_the_sdks_do() {
        let text = "HostName=hub;DeviceId=d;ModuleId=m;SharedAccessKey=c2VjcmV0";
        let settings = Settings::from_connection_string(text, "PEM").expect("it is complete");
        let login = settings.login().await.expect("a key needs nobody else");
        assert_eq!(login.client_id, "d/m");
        assert!(login.username.starts_with("hub/d/m/?api-version=2021-04-12&DeviceClientType="));
        assert!(
            login
                .password
                .starts_with("SharedAccessSignature sr=hub%2Fdevices%2Fd%2Fmodules%2Fm&sig=")
        );
    }
}
