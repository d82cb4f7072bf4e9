//! What the tests against a real container engine share: an image, and an instance of its own.

mod image;
pub(crate) mod own_engine;
mod played;
pub(crate) mod registry;
mod running;
pub(crate) mod signing;
mod traits;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

pub(crate) use self::image::{address, make_image, run};
pub(crate) use self::played::PlayedEngine;
pub(crate) use self::running::{Agent, config, plug_store};
pub(crate) use self::traits::{are_health_checks_run, is_podman};
use edge_runtime::protocol::docker::{DAEMON_FILE, Docker};

/// Keys and values.
pub(crate) type Store = Rc<RefCell<BTreeMap<Vec<u8>, Vec<u8>>>>;

/// For tests of deadlines, and for those that take the whole machine: one at a time.
pub(crate) static SECONDS_COUNT: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// An instance of its own, whose containers and network are gone when it is.
pub(crate) struct Instance {
    pub(crate) id: String,
    pub(crate) network: String,
    pub(crate) state: PathBuf,
    /// Where its engine is.
    pub(crate) engine: String,
    /// Its store, across the lives of its agents.
    pub(crate) store: Store,
    /// Before the first restart of a container.
    pub(crate) restart_backoff: Duration,
    _folder: tempfile::TempDir,
}

impl Instance {
    pub(crate) fn new(name: &str) -> Self {
        Instance::on(name, address())
    }

    pub(crate) fn on(name: &str, engine: String) -> Self {
        let id = format!("test-{name}-{}", std::process::id());
        let folder = tempfile::tempdir().unwrap();
        let network = format!("edge-{id}");
        let (state, store) = (folder.path().into(), Store::default());
        let restart_backoff = Duration::from_secs(10);
        Instance { id, network, state, engine, store, restart_backoff, _folder: folder }
    }

    pub(crate) async fn docker(&self) -> Docker {
        let connected = Docker::connect(&self.engine, &self.id, Path::new(DAEMON_FILE)).await;
        connected.expect("this test needs a container engine that answers").0
    }

    /// The `docker` command, at its engine.
    pub(crate) fn command(&self, arguments: &[&str]) -> String {
        run("docker", &[&["-H", &self.engine], arguments].concat())
    }

    /// Ids of its containers, running or not.
    pub(crate) fn containers(&self) -> Vec<String> {
        let label = format!("label=io.edge-runtime.instance={}", self.id);
        let ids = self.command(&["ps", "-aq", "--no-trunc", "--filter", &label]);
        ids.lines().map(str::to_owned).collect()
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let quiet = |arguments: &[&str]| {
            let mut command = Command::new("docker");
            command.args(["-H", &self.engine]).args(arguments);
            let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        };
        let mut list = Command::new("docker");
        let label = format!("label=io.edge-runtime.instance={}", self.id);
        let list = list.args(["-H", &self.engine, "ps", "-aq", "--filter", &label]).output();
        let ids = list.map(|it| String::from_utf8_lossy(&it.stdout).into_owned());
        let ids = ids.unwrap_or_default();
        quiet(&[["rm", "-f", "-v"].as_slice(), &ids.lines().collect::<Vec<_>>()].concat());
        quiet(&["network", "rm", &self.network]);
    }
}
