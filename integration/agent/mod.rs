//! What the tests against a real container engine share: an image, and an instance of its own.

mod image;
mod running;

use std::path::PathBuf;
use std::process::{Command, Stdio};

pub(crate) use self::image::{address, make_image, run};
pub(crate) use self::running::Agent;
use edge_runtime::protocol::docker::Docker;

/// An instance of its own, whose containers and network are gone when it is.
pub(crate) struct Instance {
    pub(crate) id: String,
    pub(crate) network: String,
    pub(crate) state: PathBuf,
    _folder: tempfile::TempDir,
}

impl Instance {
    pub(crate) fn new(name: &str) -> Self {
        let id = format!("test-{name}-{}", std::process::id());
        let folder = tempfile::tempdir().unwrap();
        let network = format!("edge-{id}");
        Instance { id, network, state: folder.path().into(), _folder: folder }
    }

    pub(crate) async fn docker(&self) -> Docker {
        let connected = Docker::connect(&address(), &self.id).await;
        connected.expect("this test needs a container engine that answers").0
    }

    /// Ids of its containers, running or not.
    pub(crate) fn containers(&self) -> Vec<String> {
        let label = format!("label=io.edge-runtime.instance={}", self.id);
        let ids = run("docker", &["ps", "-aq", "--no-trunc", "--filter", &label]);
        ids.lines().map(str::to_owned).collect()
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let mut quiet = Command::new("docker");
        quiet.stdout(Stdio::null()).stderr(Stdio::null());
        for id in self.containers() {
            let mut remove = Command::new("docker");
            let _ = remove.args(["rm", "-f", &id]).stdout(Stdio::null()).status();
        }
        let _ = quiet.args(["network", "rm", &self.network]).status();
    }
}
