//! Settings of `edge-runtime`, as its parts get them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::apis::{Audit, Management};
use super::certificates::Certificates;
use super::checks::{at_least, check_client_ca, check_host_name, check_trust, unreadable};
use super::error::SettingsError;
use super::images::{self, Images};
use super::layers::{Layers, Loaded, Merged};
use super::local_topics::{self, LocalTopics};
use super::schema::EDGE;
use super::store::Store;
use super::values::{Age, Log, Size};
use crate::domain::budget::LEAST_BUDGET;
use crate::domain::connection_string::{ConnectionString, Secret};
use crate::domain::identity::Identity;
use crate::protocol::files::read_text;
use crate::protocol::groups::group_id;

/// All of them. `config/default.toml` says what each is for.
#[derive(Clone, Debug)]
pub struct EdgeSettings {
    /// Who this device is.
    pub device: Device,
    /// Where its state lies.
    pub state: State,
    /// Where clients come in.
    pub hub: Hub,
    /// Topics that are none of IoT Hub's.
    pub local_topics: LocalTopics,
    /// Certificates that this device makes.
    pub certificates: Certificates,
    /// The parent.
    pub upstream: Upstream,
    /// Store-and-forward.
    pub store: Store,
    /// Modules.
    pub agent: Agent,
    /// What modules are made of.
    pub images: Images,
    /// The operator's socket.
    pub management: Management,
    /// For Prometheus.
    pub metrics: Metrics,
    /// Logs.
    pub log: Log,
    /// Who did what.
    pub audit: Audit,
}

/// See [`EdgeSettings`].
#[derive(Clone, Debug)]
pub struct Device {
    /// Its connection string; without one the service does not start.
    pub connection: Option<(ConnectionString, Identity)>,
    /// The name by which clients reach this device.
    pub gateway_hostname: String,
}

/// See [`EdgeSettings`].
#[derive(Clone, Debug, Deserialize)]
pub struct State {
    /// State directory.
    pub path: PathBuf,
    /// Where the disk that it lies on is mounted, if it has one of its own.
    pub mount_point: Option<PathBuf>,
}

/// See [`EdgeSettings`].
#[derive(Clone, Debug, Deserialize)]
pub struct Hub {
    /// MQTT over TLS.
    pub listen: Vec<SocketAddr>,
    /// HTTPS.
    pub listen_https: Vec<SocketAddr>,
    /// MQTT without TLS; loopback only.
    pub listen_plain: Vec<SocketAddr>,
    /// Authorities of clients' certificates: a PEM file, or a directory of such.
    pub client_ca: Option<PathBuf>,
    /// Messages of all clients that are read and not on disk yet.
    pub parking_bytes: Size,
    /// … and of one client.
    pub parking_bytes_per_client: Size,
    /// What each priority has in any case.
    pub priority_share_percent: u8,
    /// What live messages have while there is a backlog.
    pub live_share_percent: u8,
}

/// See [`EdgeSettings`].
#[derive(Clone, Debug, Deserialize)]
pub struct Upstream {
    /// `host:port` of the parent, if it is not `HostName:8883`.
    pub address: Option<String>,
    /// `host:port` of its REST endpoint, if it is not `HostName:443`.
    pub https_address: Option<String>,
    /// PEM file; without it the machine's own authorities.
    pub trusted_ca: Option<PathBuf>,
    /// `multiplexed`.
    pub dialect: String,
}

/// See [`EdgeSettings`].
#[derive(Clone, Debug)]
pub struct Agent {
    /// Docker API address.
    pub docker: String,
    /// The engine's own configuration.
    pub docker_config: PathBuf,
    /// Docker network of the modules.
    pub network: String,
    /// A deployment may have privileged containers, and give them capabilities.
    pub allow_elevated: bool,
    /// Before the first restart of a container that failed.
    pub restart_backoff: Age,
    /// So long a changed module's new container has to come up.
    pub update_deadline: Duration,
    /// So long modules wait for those of an earlier `startupOrder`.
    pub startup_deadline: Duration,
    /// For private registries.
    pub registry_credentials: Vec<RegistryCredential>,
    /// One socket for every module, without checking the caller.
    pub workload_development_socket: Option<PathBuf>,
}

/// A log-in of a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryCredential {
    /// Host of the registry.
    pub address: String,
    /// Who.
    pub username: String,
    /// The password, or what stood in its file.
    pub password: Secret,
}

/// See [`EdgeSettings`].
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Where; `None`: nowhere.
    pub listen: Option<SocketAddr>,
}

#[derive(Deserialize)]
struct Raw {
    #[serde(default)]
    device: RawDevice,
    state: State,
    hub: Hub,
    local_topics: local_topics::Raw,
    certificates: Certificates,
    upstream: Upstream,
    store: Store,
    agent: RawAgent,
    images: images::Raw,
    image_garbage_collection: images::RawCollection,
    management: Management,
    metrics: RawMetrics,
    log: Log,
    audit: Audit,
}

#[derive(Default, Deserialize)]
struct RawDevice {
    connection_string: Option<String>,
    connection_string_file: Option<PathBuf>,
    #[serde(default)]
    gateway_hostname: String,
}

#[derive(Deserialize)]
struct RawAgent {
    docker: String,
    docker_config: PathBuf,
    network: String,
    allow_elevated_docker_permissions: bool,
    restart_backoff: Age,
    update_deadline: Age,
    startup_deadline: Age,
    #[serde(default)]
    registry_credentials: Vec<RawCredential>,
    workload_development_socket: Option<PathBuf>,
}

#[derive(Deserialize)]
struct RawCredential {
    address: String,
    username: String,
    password: Option<String>,
    password_file: Option<PathBuf>,
}

#[derive(Deserialize)]
struct RawMetrics {
    listen: String,
}

/// Hosts that speak no link (link.md), and who they are.
const OTHER_HUBS: [&str; 5] = [
    ".azure-devices.net",
    ".azure-devices.cn",
    ".azure-devices.us",
    ".azure-devices.de",
    ".azure-devices-provisioning.net",
];

impl EdgeSettings {
    /// Loads them; `host_name` is the machine's.
    pub fn load(layers: &Layers, host_name: &str) -> Result<Loaded<Self>, SettingsError> {
        let mut merged = Merged::new(&EDGE, layers)?;
        let state = PathBuf::from(merged.text("state.path").unwrap_or_default());
        let below = |name: &str| state.join(name).display().to_string();
        merged.derive("device.gateway_hostname", host_name.into(), "host name")?;
        merged.derive("store.queue", below("queue"), "default, in state.path")?;
        merged.derive("management.socket", below("mgmt.sock"), "default, in state.path")?;
        merged.derive("audit.file", below("audit.log"), "default, in state.path")?;
        let raw: Raw = merged.typed()?;
        if let Some(group) = &raw.management.group {
            group_id(group).map_err(|why| merged.wrong("management.group", why))?;
        }
        check_host_name(&raw.device.gateway_hostname, &merged)?;
        check_trust(raw.upstream.trusted_ca.as_deref(), &merged)?;
        check_client_ca("hub.client_ca", raw.hub.client_ca.as_deref(), &merged)?;
        let mut agent = agent(raw.agent, &merged)?;
        agent.workload_development_socket = agent.workload_development_socket.map(whole);
        at_least(&merged, "hub.parking_bytes", raw.hub.parking_bytes, 1 << 20)?;
        let own = raw.hub.parking_bytes_per_client;
        at_least(&merged, "hub.parking_bytes_per_client", own, 512 << 10)?;
        if let Some(max) = raw.store.max_bytes {
            at_least(&merged, "store.max_bytes", max, LEAST_BUDGET)?;
        }
        let settings = EdgeSettings {
            device: device(raw.device, &merged)?,
            state: State {
                path: whole(raw.state.path),
                mount_point: raw.state.mount_point.map(whole),
            },
            hub: raw.hub,
            local_topics: local_topics::read(raw.local_topics, &merged)?,
            certificates: raw.certificates.checked(&merged)?,
            upstream: raw.upstream,
            store: Store { queue: whole(raw.store.queue), ..raw.store },
            agent,
            images: images::read(raw.images, raw.image_garbage_collection, &merged)?,
            management: Management { socket: whole(raw.management.socket), ..raw.management },
            audit: Audit { file: whole(raw.audit.file), ..raw.audit },
            metrics: Metrics { listen: raw.metrics.listen.parse().ok() },
            log: raw.log,
        };
        Ok(Loaded { settings, effective: merged.effective() })
    }

    /// What an operator should know of: shown by `edgectl status`.
    pub fn warnings(&self) -> Vec<String> {
        let socket = self.agent.workload_development_socket.as_ref().map(|path| {
            format!(
                "agent.workload_development_socket: whoever reaches {} gets signatures for every \
                 module of this device",
                path.display()
            )
        });
        let management = &self.management;
        let is_shut = management.group.is_some() && management.socket.starts_with(&self.state.path);
        let group = is_shut.then(|| {
            let path = management.socket.display();
            format!(
                "management.group: nobody but root reaches {path}: set management.socket to a \
                     place outside of state.path"
            )
        });
        socket.into_iter().chain(group).collect()
    }

    /// Who this device is; an error says how to set it.
    pub fn connection(&self) -> Result<&(ConnectionString, Identity), SettingsError> {
        self.device.connection.as_ref().ok_or_else(|| SettingsError::Wrong {
            place: "settings".into(),
            key: "device.connection_string".into(),
            why: "is missing: give the connection string of this edge device (`edgectl hub device \
                  create NAME --edge` prints one), or device.connection_string_file"
                .into(),
        })
    }
}

/// From the root: containers' mounts need it, and so does who changes the directory.
fn whole(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

fn device(raw: RawDevice, merged: &Merged) -> Result<Device, SettingsError> {
    let given = raw.connection_string.filter(|text| !text.trim().is_empty());
    let (key, text) = match (given, raw.connection_string_file) {
        (Some(_), Some(_)) => {
            let file = merged.place("device.connection_string_file");
            let why =
                format!("and device.connection_string_file ({file}) are both set: remove one");
            return Err(merged.wrong("device.connection_string", why));
        }
        (Some(text), None) => ("device.connection_string", Some(text)),
        (None, Some(path)) => {
            let key = "device.connection_string_file";
            (key, Some(read_text(&path).map_err(|e| unreadable(merged, key, &e))?))
        }
        (None, None) => ("device.connection_string", None),
    };
    let gateway_hostname = raw.gateway_hostname;
    let Some(text) = text else { return Ok(Device { connection: None, gateway_hostname }) };
    let wrong = |why: String| merged.wrong(key, why);
    let parsed = ConnectionString::parse_device(&text);
    let connection = parsed.map_err(|e| wrong(format!("cannot be used: {e}")))?;
    let host = connection.0.host_and_port(0).0.to_ascii_lowercase();
    if OTHER_HUBS.iter().any(|hub| host.ends_with(hub)) {
        return Err(wrong(format!(
            "names {host}, which does not speak the multiplexed link that this version connects \
             with: use a localhub or another edge-runtime as the parent"
        )));
    }
    Ok(Device { connection: Some(connection), gateway_hostname })
}

fn agent(raw: RawAgent, merged: &Merged) -> Result<Agent, SettingsError> {
    if raw.restart_backoff.0.is_zero() {
        let why = "is 0: a module that fails at once would take all of the device; 1 s at least";
        return Err(merged.wrong("agent.restart_backoff", why));
    }
    let key = "agent.registry_credentials";
    let credential = |raw: RawCredential| {
        let password = match (raw.password, raw.password_file) {
            (Some(password), None) => password,
            (None, Some(path)) => {
                let text = read_text(&path).map_err(|e| unreadable(merged, key, &e))?;
                text.trim_end_matches(['\r', '\n']).to_owned()
            }
            _ => {
                let why =
                    format!("needs password or password_file, one of them, for {}", raw.address);
                return Err(merged.wrong(key, why));
            }
        };
        let (address, username, password) = (raw.address, raw.username, Secret::new(password));
        Ok(RegistryCredential { address, username, password })
    };
    let credentials = raw.registry_credentials.into_iter().map(credential);
    Ok(Agent {
        docker: raw.docker,
        docker_config: raw.docker_config,
        network: raw.network,
        allow_elevated: raw.allow_elevated_docker_permissions,
        restart_backoff: raw.restart_backoff,
        update_deadline: raw.update_deadline.0,
        startup_deadline: raw.startup_deadline.0,
        registry_credentials: credentials.collect::<Result<_, SettingsError>>()?,
        workload_development_socket: raw.workload_development_socket,
    })
}
