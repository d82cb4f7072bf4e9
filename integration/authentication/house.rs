//! A hub and a gateway that trust one authority of devices, and clients of every kind.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use edge_runtime::protocol::tls::{TlsClient, Trust, thumbprints};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use serde_json::{Value, json};

use crate::support::mqtt::Mqtt;
use crate::support::program::{Program, own_address};
use crate::support::proxy::Proxy;
use crate::support::rest::token;
use crate::support::world::{EDGE, Hub, edge_environment};

pub const FOR_GOOD: &str = "CONNACK NotAuthorized";
pub const LATER: &str = "CONNACK ServiceUnavailable";
pub const KEY: &str = "a2V5LW9mLW1hbnktY2xpZW50cy1oZXJlLTAxMjM0NTY=";
pub const OTHER_KEY: &str = "b3RoZXIta2V5LW9mLW1hbnktY2xpZW50cy1oZXJlLTA=";
/// What was promised.
pub const FIVE: Duration = Duration::from_secs(5);

/// A certificate, its key, and what it signs with.
pub struct Made {
    pub pem: String,
    pub der: Vec<u8>,
    key: String,
    issuer: Issuer<'static, KeyPair>,
}

pub fn make(name: &str, is_ca: bool, by: Option<&Made>) -> Made {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    if is_ca {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    }
    let key = KeyPair::generate().unwrap();
    let made = match by {
        Some(by) => params.signed_by(&key, &by.issuer).unwrap(),
        None => params.self_signed(&key).unwrap(),
    };
    let (pem, der, text) = (made.pem(), made.der().to_vec(), key.serialize_pem());
    Made { pem, der, key: text, issuer: Issuer::new(params, key) }
}

/// Where a client comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    Hub,
    Gateway,
}

/// By what a client proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    Key,
    ModuleKey,
    DeviceKey,
    Thumbprint,
    Authority,
}

pub struct House {
    pub hub: Hub,
    pub edge: Program,
    pub address: Ipv4Addr,
    pub proxy: Proxy,
    pub scope: String,
    /// Trusted; it has signed the other, which has signed devices.
    pub root: Made,
    pub between: Made,
    pub folder: tempfile::TempDir,
}

impl House {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = make("authority of devices", true, None);
        let between = make("authority of some devices", true, Some(&root));
        let authorities = folder.path().join("authorities");
        std::fs::create_dir(&authorities).unwrap();
        std::fs::write(authorities.join("root.pem"), &root.pem).unwrap();
        let authorities = authorities.to_str().unwrap();
        let hub = Hub::start_as(folder.path(), &[("LOCALHUB__CLIENT_CA", authorities)]);
        let address = own_address();
        let proxy = Proxy::start(own_address(), SocketAddr::from((hub.address, 8883)));
        let mut environment = edge_environment(folder.path(), &hub, address);
        environment.retain(|(name, _)| name != "EDGE_RUNTIME__UPSTREAM__ADDRESS");
        let upstream = proxy.address.to_string();
        environment.push(("EDGE_RUNTIME__UPSTREAM__ADDRESS".into(), upstream));
        environment.push(("EDGE_RUNTIME__HUB__CLIENT_CA".into(), authorities.into()));
        let device = hub.service.call("GET", &format!("/devices/{EDGE}"), None);
        let scope = device["deviceScope"].as_str().unwrap().to_owned();
        let mut edge = Program::start("edge-runtime", folder.path().join("edge.log"), environment);
        edge.wait_ready();
        House { hub, edge, address, proxy, scope, root, between, folder }
    }

    /// Makes, or changes, a device below the edge.
    pub fn put(&self, id: &str, authentication: &Value) {
        let mut device = json!({ "id": id, "importMode": "createOrUpdate" });
        device["deviceScope"] = self.scope.clone().into();
        device["authentication"] = authentication.clone();
        self.hub.service.call("POST", "/devices", Some(&json!([device])));
    }

    /// What may be shown at a door: TLS with a certificate, or without.
    fn tls(&self, at: At, shown: &[&Made]) -> TlsClient {
        let ca = match at {
            At::Hub => self.hub.state.join("ca.pem"),
            At::Gateway => self.folder.path().join("edge/certs/device-ca.pem"),
        };
        let trust = Trust::from_file(Some(&ca)).unwrap();
        let chain: String = shown.iter().map(|made| made.pem.as_str()).collect();
        match shown.first() {
            Some(leaf) => TlsClient::with_identity(&trust, &chain, &leaf.key).unwrap(),
            None => TlsClient::new(&trust).unwrap(),
        }
    }

    pub fn open(&self, at: At, shown: &[&Made]) -> Mqtt {
        let address = if at == At::Hub { self.hub.address } else { self.address };
        Mqtt::open_tls((address, 8883).into(), &self.tls(at, shown)).unwrap()
    }

    /// With a certificate and no token.
    pub fn show(&self, at: At, id: &str, shown: &[&Made]) -> Result<Mqtt, String> {
        self.open(at, shown).log_in(&self.hub_name(), id, "")
    }

    /// With a token for `resource`, signed with `key`.
    pub fn token(&self, at: At, id: &str, resource: &str, key: &str) -> Result<Mqtt, String> {
        let password = token(&format!("{}/{resource}", self.hub_name()), key, None);
        self.open(at, &[]).log_in(&self.hub_name(), id, &password)
    }

    pub fn hub_name(&self) -> String {
        self.hub.address.to_string()
    }
}

/// Keys, primary and secondary.
pub fn sas(primary: &str, secondary: &str) -> Value {
    json!({
        "type": "sas",
        "symmetricKey": { "primaryKey": primary, "secondaryKey": secondary },
    })
}

pub fn self_signed(primary: &str, secondary: &str) -> Value {
    json!({
        "type": "selfSigned",
        "x509Thumbprint": { "primaryThumbprint": primary, "secondaryThumbprint": secondary },
    })
}

pub fn by_authority() -> Value {
    json!({ "type": "certificateAuthority" })
}

/// SHA-1 and SHA-256.
pub fn prints(made: &Made) -> Vec<String> {
    thumbprints(&made.der)
}
