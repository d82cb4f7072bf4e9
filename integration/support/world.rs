//! A hub and an edge below it, as real processes on loopback addresses of their own.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::count::Arrival;
use super::mqtt::LogIn;
use super::program::{Program, own_address};
use super::rest::{Management, Service};
use super::wait_for;

const MQTT: u16 = 8883;
const PLAIN: u16 = 1883;
const HTTPS: u16 = 8443;
/// Id of the edge device.
pub const EDGE: &str = "edge";

/// A running localhub.
pub struct Hub {
    pub program: Program,
    pub address: Ipv4Addr,
    pub state: PathBuf,
    pub service: Service,
}

impl Hub {
    pub fn start(folder: &Path) -> Self {
        Self::start_as(folder, &[])
    }

    /// With further environment.
    pub fn start_as(folder: &Path, more: &[(&str, &str)]) -> Self {
        let address = own_address();
        let state = place(more, "LOCALHUB__STATE__PATH").unwrap_or_else(|| folder.join("hub"));
        let mut environment = pairs(&[
            ("LOCALHUB__HOSTNAME", address.to_string()),
            ("LOCALHUB__STATE__PATH", state.display().to_string()),
            ("LOCALHUB__LISTEN", format!("{address}:{MQTT}")),
            ("LOCALHUB__LISTEN_HTTPS", format!("{address}:{HTTPS}")),
            ("LOCALHUB__LISTEN_PLAIN", format!("{address}:{PLAIN}")),
        ]);
        environment.extend(more.iter().map(|(name, value)| ((*name).into(), (*value).into())));
        let mut program = Program::start("localhub", folder.join("hub.log"), environment);
        program.wait_ready();
        let service = Service::new(&state, &address.to_string(), HTTPS);
        Hub { program, address, state, service }
    }

    /// Who logs in to the hub itself.
    pub fn log_in(&self, id: &str, key: &str) -> LogIn {
        let address = SocketAddr::from((self.address, PLAIN));
        LogIn { address, hub: self.address.to_string(), id: id.into(), key: key.into() }
    }
}

/// Settings of an edge below a hub.
pub fn edge_environment(folder: &Path, hub: &Hub, address: Ipv4Addr) -> Vec<(String, String)> {
    let (key, _) = hub.service.make_edge(EDGE);
    let hub_address = hub.address;
    let connection = format!("HostName={hub_address};DeviceId={EDGE};SharedAccessKey={key}");
    pairs(&[
        ("EDGE_RUNTIME__DEVICE__CONNECTION_STRING", connection),
        ("EDGE_RUNTIME__DEVICE__GATEWAY_HOSTNAME", address.to_string()),
        ("EDGE_RUNTIME__STATE__PATH", folder.join("edge").display().to_string()),
        ("EDGE_RUNTIME__HUB__LISTEN", format!("{address}:{MQTT}")),
        ("EDGE_RUNTIME__HUB__LISTEN_HTTPS", format!("{address}:{HTTPS}")),
        ("EDGE_RUNTIME__HUB__LISTEN_PLAIN", format!("{address}:{PLAIN}")),
        ("EDGE_RUNTIME__UPSTREAM__ADDRESS", format!("{hub_address}:{MQTT}")),
        ("EDGE_RUNTIME__UPSTREAM__HTTPS_ADDRESS", format!("{hub_address}:{HTTPS}")),
        ("EDGE_RUNTIME__UPSTREAM__TRUSTED_CA", hub.state.join("ca.pem").display().to_string()),
        ("EDGE_RUNTIME__METRICS__LISTEN", format!("{address}:9600")),
        ("EDGE_RUNTIME__AGENT__DOCKER", format!("unix://{}/no-docker.sock", folder.display())),
    ])
}

fn pairs(pairs: &[(&str, String)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

fn place(environment: &[(&str, &str)], name: &str) -> Option<PathBuf> {
    let found = environment.iter().find(|(it, _)| *it == name);
    found.map(|(_, path)| PathBuf::from(path))
}

/// See the module documentation.
pub struct World {
    pub hub: Hub,
    pub edge: Program,
    pub edge_address: Ipv4Addr,
    pub management: Management,
    pub scope: String,
    /// What was read of the hub's telemetry, by sender.
    read: HashMap<String, Vec<Arrival>>,
    next: u64,
    // Last: the folder goes when nobody writes into it any more.
    pub folder: TempDir,
}

impl World {
    /// Both ready, with these routes; modules are made by the test.
    pub fn start(routes: &Value) -> Self {
        Self::start_as(routes, &[], &[])
    }

    /// With further environment for the hub and for the edge.
    pub fn start_as(routes: &Value, hub: &[(&str, &str)], edge: &[(&str, &str)]) -> Self {
        Self::start_behind(routes, hub, |_| {
            edge.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
        })
    }

    /// With environment of the edge that depends on the hub.
    pub fn start_behind(
        routes: &Value,
        hub: &[(&str, &str)],
        edge: impl FnOnce(&Hub) -> Vec<(String, String)>,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let hub = Hub::start_as(folder.path(), hub);
        let edge_address = own_address();
        let mut environment = edge_environment(folder.path(), &hub, edge_address);
        environment.extend(edge(&hub));
        let state = environment.iter().rfind(|(name, _)| name == "EDGE_RUNTIME__STATE__PATH");
        let management = Management(Path::new(&state.unwrap().1).join("mgmt.sock"));
        let device = hub.service.call("GET", &format!("/devices/{EDGE}"), None);
        let scope = device["deviceScope"].as_str().unwrap().to_owned();
        set_routes(&hub.service, routes);
        let mut edge = Program::start("edge-runtime", folder.path().join("edge.log"), environment);
        edge.wait_ready();
        let (read, next) = (HashMap::new(), 0);
        World { hub, edge, edge_address, management, scope, read, next, folder }
    }

    pub fn set_routes(&self, routes: &Value) {
        set_routes(&self.hub.service, routes);
    }

    /// Routes, and a `storeAndForwardConfiguration`.
    pub fn set_store(&self, routes: &Value, store: &Value) {
        set_store(&self.hub.service, routes, store);
    }

    /// A device below the edge, made now.
    pub fn leaf(&self, id: &str) -> LogIn {
        let key = self.hub.service.make_leaf(id, &self.scope);
        self.log_in(id, &key)
    }

    /// A module of the edge, made now.
    pub fn module(&self, module: &str) -> LogIn {
        let key = self.hub.service.make_module(EDGE, module);
        self.log_in(&format!("{EDGE}/{module}"), &key)
    }

    fn log_in(&self, id: &str, key: &str) -> LogIn {
        let address = SocketAddr::from((self.edge_address, PLAIN));
        LogIn { address, hub: self.hub.address.to_string(), id: id.into(), key: key.into() }
    }

    /// All that came to the hub of a sender, in order of arrival.
    pub fn at_hub(&mut self, id: &str) -> Vec<Arrival> {
        while let Some((items, next)) = self.hub.service.telemetry(self.next) {
            self.next = next;
            if items.is_empty() {
                break;
            }
            for item in items {
                let body = STANDARD.decode(item["body"].as_str().unwrap()).unwrap();
                let device = item["deviceId"].as_str().unwrap();
                let sender = match item["moduleId"].as_str() {
                    Some(module) => format!("{device}/{module}"),
                    None => device.to_owned(),
                };
                self.read.entry(sender).or_default().push(Arrival::of(&body, false));
            }
        }
        self.read.get(id).cloned().unwrap_or_default()
    }

    /// The queue's part of `/status`, while there is one.
    pub fn queue(&self) -> Option<Value> {
        let status = self.management.get("/status")?;
        Some(status["queue"].clone()).filter(|queue| !queue.is_null())
    }

    /// Waits until the queue owes nothing to anybody; its account.
    #[track_caller]
    pub fn wait_drained(&self, within: Duration) -> Value {
        let mut last = Value::Null;
        let deadline = std::time::Instant::now() + within;
        loop {
            if let Some(queue) = self.queue() {
                if super::count::total(&queue, "stored") == 0 {
                    return queue;
                }
                last = queue;
            }
            assert!(std::time::Instant::now() < deadline, "not drained in {within:?}: {last}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits for the edge's reported properties of `$edgeHub` or `$edgeAgent` to be so.
    #[track_caller]
    pub fn wait_reported(&self, module: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        wait_for(what, Duration::from_secs(30), || {
            let twin = self.hub.service.twin(EDGE, module);
            let reported = &twin["properties"]["reported"];
            is_so(reported).then(|| reported.clone())
        })
    }
}

fn set_routes(service: &Service, routes: &Value) {
    set_store(service, routes, &json!({ "timeToLiveSecs": 7200 }));
}

fn set_store(service: &Service, routes: &Value, store: &Value) {
    let hub = json!({
        "schemaVersion": "1.1",
        "routes": routes,
        "storeAndForwardConfiguration": store,
    });
    service.apply(EDGE, &json!({ "$edgeHub": hub }));
}
