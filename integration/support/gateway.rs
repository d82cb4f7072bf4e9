//! A hub and an edge whose modules run in real containers, on a network of their own, and the
//! operator's command line for them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use serde_json::{Value, json};

use super::program::run;
use super::world::{EDGE, Hub, World};

/// The name by which containers reach the edge.
pub const GATEWAY: &str = "gateway.test";

/// Where the engine is, as for the `docker` command.
pub fn engine() -> String {
    std::env::var("DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".into())
}

/// Standard output of `docker …`.
#[track_caller]
pub fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().expect("the docker command");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "docker {arguments:?}: {errors}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Makes the images of `scripts/NAME.sh`, once for this process; quick if they are up to date.
pub fn make_images(script: &'static str) {
    static SENSOR: OnceLock<()> = OnceLock::new();
    static PYTHON: OnceLock<()> = OnceLock::new();
    static NODE: OnceLock<()> = OnceLock::new();
    let once = match script {
        "images" => &SENSOR,
        "python-image" => &PYTHON,
        _ => &NODE,
    };
    once.get_or_init(|| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("scripts/{script}.sh"));
        let mut command = Command::new(path);
        // What cargo tells its tests would make cargo build the modules anew.
        let of_cargo = std::env::vars_os().map(|(name, _)| name).filter(|name| {
            let name = name.to_string_lossy();
            ["CARGO_PKG_", "CARGO_BIN_", "CARGO_MANIFEST_"].iter().any(|it| name.starts_with(it))
                || ["CARGO", "LD_LIBRARY_PATH"].contains(&&*name)
        });
        of_cargo.for_each(|name| _ = command.env_remove(name));
        let status = command.stdin(Stdio::null()).status().unwrap();
        assert!(status.success(), "scripts/{script}.sh makes the images that this test needs");
    });
}

/// A network of containers; they and it are gone when this is.
pub struct Network {
    pub name: String,
    /// The address by which containers reach this machine.
    pub address: String,
}

impl Network {
    pub fn make(name: &str) -> Self {
        let name = format!("edge-test-{name}-{}", std::process::id());
        docker(&["network", "create", &name]);
        let format = "{{range .IPAM.Config}}{{.Gateway}} {{end}}";
        let addresses = docker(&["network", "inspect", "-f", format, &name]);
        let is_v4 = |address: &&str| address.contains('.');
        let address = addresses.split(' ').find(is_v4).expect("an IPv4 gateway").to_owned();
        Network { name, address }
    }

    /// Ids of its containers, running or not.
    pub fn containers(&self) -> Vec<String> {
        let filter = format!("network={}", self.name);
        let ids = docker(&["ps", "-aq", "--no-trunc", "--filter", &filter]);
        ids.lines().map(str::to_owned).collect()
    }

    /// The container of a module.
    #[track_caller]
    pub fn container(&self, module: &str) -> String {
        let name = format!("IOTEDGE_MODULEID={module}");
        let is_it = |id: &String| {
            let format = "{{range .Config.Env}}{{println .}}{{end}}";
            docker(&["inspect", "-f", format, id]).lines().any(|line| line == name)
        };
        self.containers().into_iter().find(is_it).unwrap_or_else(|| panic!("no {module}"))
    }

    /// Settings of an edge that takes it for its modules.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("EDGE_RUNTIME__DEVICE__GATEWAY_HOSTNAME", GATEWAY.into()),
            ("EDGE_RUNTIME__HUB__LISTEN", format!("{}:8883", self.address)),
            ("EDGE_RUNTIME__AGENT__DOCKER", engine()),
            ("EDGE_RUNTIME__AGENT__NETWORK", self.name.clone()),
        ]
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let quiet = |arguments: &[&str]| {
            let mut command = Command::new("docker");
            command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status()
        };
        for id in self.containers() {
            let _ = quiet(&["rm", "-f", &id]);
        }
        let _ = quiet(&["network", "rm", &self.name]);
    }
}

/// The operator's command line, for a hub and the edge with this management socket.
#[derive(Clone)]
pub struct Ctl(pub Vec<(String, String)>);

impl Ctl {
    pub fn new(hub: &Hub, socket: &Path) -> Self {
        let owner = hub.state.join("iothubowner.connection-string"); // edgectl takes the file, too
        Ctl(vec![
            ("EDGECTL_HUB".into(), owner.display().to_string()),
            ("EDGECTL_CA".into(), hub.state.join("ca.pem").display().to_string()),
            ("EDGECTL_SOCKET".into(), socket.display().to_string()),
        ])
    }

    pub fn try_run(&self, arguments: &[&str]) -> Output {
        run("edgectl", arguments, &self.0)
    }

    /// Exit status, standard output, standard error.
    pub fn outcome(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = self.try_run(arguments);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
    }

    /// Standard output of a success.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> String {
        let (status, out, errors) = self.outcome(arguments);
        assert_eq!(status, 0, "edgectl {arguments:?}: {out}{errors}");
        out
    }

    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let text = self.run(&[arguments, &["--output", "json"]].concat());
        serde_json::from_str(&text).unwrap()
    }

    /// The line of a module in `edgectl list`.
    #[track_caller]
    pub fn module(&self, name: &str) -> Value {
        let list = self.json(&["list"]);
        let mut modules = list["modules"].as_array().into_iter().flatten();
        modules.find(|it| it["name"] == name).cloned().unwrap_or(Value::Null)
    }
}

/// See the module documentation. The edge ends before its containers do.
pub struct Gateway {
    pub world: World,
    pub ctl: Ctl,
    pub network: Network,
}

impl Gateway {
    pub fn start(name: &str) -> Self {
        let network = Network::make(name);
        let settings = network.settings();
        Self::start_as(network, &settings)
    }

    /// With further settings.
    pub fn with(name: &str, more: &[(&'static str, &str)]) -> Self {
        let network = Network::make(name);
        let mut settings = network.settings();
        settings.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
        Self::start_as(network, &settings)
    }

    /// Reached by its address, by programs on this machine too.
    pub fn by_address(name: &str) -> Self {
        let network = Network::make(name);
        let mut settings = network.settings();
        settings.push(("EDGE_RUNTIME__DEVICE__GATEWAY_HOSTNAME", network.address.clone()));
        Self::start_as(network, &settings)
    }

    fn start_as(network: Network, settings: &[(&'static str, String)]) -> Self {
        let settings: Vec<_> = settings.iter().map(|(key, value)| (*key, value.as_str())).collect();
        let world = World::start_as(&json!({}), &[], &settings);
        let ctl = Ctl::new(&world.hub, &world.management.0);
        Gateway { world, ctl, network }
    }

    /// Deploys a file of this repository with `edgectl`, and waits until it runs.
    #[track_caller]
    pub fn deploy(&self, file: &str) {
        let file: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let file = file.to_str().unwrap();
        self.ctl.run(&["deploy", file, "--device", EDGE, "--yes", "--wait=120s"]);
    }

    /// What the twin of a module of this edge reports.
    pub fn reported(&self, module: &str) -> Value {
        self.world.hub.service.twin(EDGE, module)["properties"]["reported"].clone()
    }

    /// Telemetry of a module at the hub, from `since` on; and where to go on.
    pub fn telemetry(&self, module: &str, since: u64) -> (Vec<Value>, u64) {
        let (mut found, mut next) = (Vec::new(), since);
        while let Some((items, after)) = self.world.hub.service.telemetry(next) {
            next = after;
            if items.is_empty() {
                break;
            }
            found.extend(items.into_iter().filter(|item| item["moduleId"] == module));
        }
        (found, next)
    }

    /// Where telemetry from now on begins.
    pub fn now(&self) -> u64 {
        self.world.hub.service.telemetry(u64::MAX >> 1).unwrap().1
    }
}
