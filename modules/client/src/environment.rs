//! Settings from the environment that the edge gives to a module's container.

use crate::credentials::{Secret, Settings};
use crate::error::SettingsError;
use crate::workload::Workload;

impl Settings {
    /// Reads the `IOTEDGE_*` variables; without them `EdgeHubConnectionString` and
    /// `EdgeModuleCACertificateFile`, as the SDKs do on a developer's machine.
    pub fn from_environment() -> Result<Self, SettingsError> {
        Self::from_variables(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn from_variables(get: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let need = |name: &'static str| get(name).ok_or(SettingsError::MissingVariable(name));
        let uri = match need("IOTEDGE_WORKLOADURI") {
            Ok(uri) => uri,
            Err(missing) => return Self::from_development(&get).unwrap_or(Err(missing)),
        };
        let module = need("IOTEDGE_MODULEID")?;
        let hub = need("IOTEDGE_IOTHUBHOSTNAME")?;
        Ok(Self {
            gateway: get("IOTEDGE_GATEWAYHOSTNAME").unwrap_or_else(|| hub.clone()),
            hub,
            device: need("IOTEDGE_DEVICEID")?,
            secret: Secret::Workload(Workload::new(
                &uri,
                &module,
                &need("IOTEDGE_MODULEGENERATIONID")?,
                get("IOTEDGE_APIVERSION").as_deref().unwrap_or("2019-11-05"),
            )?),
            module: Some(module),
            ca: None,
        })
    }

    fn from_development(
        get: impl Fn(&str) -> Option<String>,
    ) -> Option<Result<Self, SettingsError>> {
        let text = get("EdgeHubConnectionString")?;
        let ca = match get("EdgeModuleCACertificateFile") {
            Some(path) => match std::fs::read_to_string(&path) {
                Ok(ca) => ca,
                Err(source) => return Some(Err(SettingsError::CertificateFile { path, source })),
            },
            None => String::new(),
        };
        Some(Self::from_connection_string(&text, &ca))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(
        pairs: &'static [(&'static str, &'static str)],
    ) -> Result<Settings, SettingsError> {
        Settings::from_variables(|name| {
            pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_edge_environment_names_everything() {
        let settings = variables(&[
            ("IOTEDGE_WORKLOADURI", "unix:///run/w/s.sock"),
            ("IOTEDGE_MODULEID", "sensor"),
            ("IOTEDGE_IOTHUBHOSTNAME", "127.0.0.2"),
            ("IOTEDGE_DEVICEID", "edge"),
            ("IOTEDGE_GATEWAYHOSTNAME", "edge.local"),
            ("IOTEDGE_MODULEGENERATIONID", "63"),
        ])
        .expect("it is complete");
        assert_eq!(settings.address(), ("edge.local".into(), 8883));
        assert_eq!(settings.module.as_deref(), Some("sensor"));
    }

    #[test]
    fn what_is_missing_is_named() {
        let missing = variables(&[]).expect_err("nothing is set");
        assert!(missing.to_string().contains("IOTEDGE_WORKLOADURI"));
        let missing = variables(&[("IOTEDGE_WORKLOADURI", "unix:///s")]).expect_err("incomplete");
        assert!(missing.to_string().contains("IOTEDGE_MODULEID"));
    }

    #[test]
    fn a_connection_string_serves_outside_of_a_container() {
        let text = "HostName=h;DeviceId=d;ModuleId=m;SharedAccessKey=c2Vj;GatewayHostName=gw";
        let settings = Settings::from_variables(|name| {
            (name == "EdgeHubConnectionString").then(|| text.to_owned())
        })
        .expect("it is complete");
        assert_eq!(settings.address(), ("gw".into(), 8883));
    }
}
