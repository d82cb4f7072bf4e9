//! A registry of images on this machine: Debian's docker-registry, with a password or without.

use std::fs::File;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::image::import;
use super::own_engine::within;
use super::run;

/// The one who may come in, where a password is needed.
pub(crate) const USER: &str = "edge";
pub(crate) const PASSWORD: &str = "s3cret-of-registry";
const HTPASSWD: &str = "edge:$2a$04$qav7/sLDMY11r8PdYmuwLuGZbImTiQqehVmNtMck6qbIMbXCmEpcy\n";

/// An image with the program of all, and so many bytes that no other image has.
pub(crate) fn make_fresh_image(name: &str, bytes: u64) {
    import(name, bytes, &[]);
}

pub(crate) struct Registry {
    /// `127.x.y.z:port`: Docker speaks to such without TLS.
    pub(crate) address: String,
    pub(crate) folder: tempfile::TempDir,
    child: Option<Child>,
    has_password: bool,
}

impl Registry {
    /// At this loopback address, not running yet.
    pub(crate) fn at(ip: &str, has_password: bool) -> Self {
        let free = TcpListener::bind((ip, 0)).unwrap();
        let address = free.local_addr().unwrap().to_string();
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let auth = if has_password {
            std::fs::write(path("htpasswd"), HTPASSWD).unwrap();
            format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", path("htpasswd"))
        } else {
            String::new()
        };
        let config = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"{address}\"}}\n{auth}",
            path("data"),
        );
        std::fs::write(path("config.yml"), config).unwrap();
        Registry { address, folder, child: None, has_password }
    }

    pub(crate) fn running(ip: &str, has_password: bool) -> Self {
        let mut registry = Registry::at(ip, has_password);
        registry.start();
        registry
    }

    pub(crate) fn start(&mut self) {
        self.start_by(Command::new("docker-registry"));
    }

    /// In a network namespace: at the same address, of that.
    pub(crate) fn start_within(&mut self, namespace: &str) {
        self.start_by(within(namespace, "docker-registry"));
    }

    fn start_by(&mut self, mut command: Command) {
        let log = File::create(self.folder.path().join("log")).unwrap();
        command.arg("serve").arg(self.folder.path().join("config.yml"));
        command.stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.spawn().expect("Debian's package docker-registry");
        self.child = Some(child);
        for _ in 0..200 {
            if self.log().contains("listening on") {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("docker-registry does not begin at {}: {}", self.address, self.log());
    }

    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Name of an image here.
    pub(crate) fn image(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    /// Puts an image of this machine here, and takes it away from the machine; answers with its
    /// digest.
    pub(crate) fn take(&self, from: &str, name: &str) -> String {
        let config = self.folder.path().join("client").display().to_string();
        let docker =
            |arguments: &[&str]| run("docker", &[&["--config", &config], arguments].concat());
        if self.has_password {
            let auth = STANDARD.encode(format!("{USER}:{PASSWORD}"));
            let log_in = json!({"auths": {&self.address: {"auth": auth}}});
            std::fs::create_dir_all(&config).unwrap();
            std::fs::write(format!("{config}/config.json"), log_in.to_string()).unwrap();
        }
        let to = self.image(name);
        docker(&["tag", from, &to]);
        let said = docker(&["push", &to]);
        run("docker", &["rmi", &to]);
        run("docker", &["rmi", from]);
        let digest = said.rsplit("digest: ").next().and_then(|rest| rest.split(' ').next());
        digest.expect("a digest").to_owned()
    }

    /// Where the bytes of a blob lie.
    pub(crate) fn blob(&self, digest: &str) -> PathBuf {
        let hex = digest.trim_start_matches("sha256:");
        let blobs = self.folder.path().join("data/docker/registry/v2/blobs/sha256");
        blobs.join(&hex[..2]).join(hex).join("data")
    }

    /// What it was asked.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.stop();
        let mut list = Command::new("docker");
        list.args(["images", "-q", "--no-trunc"]);
        for path in ["*", "*/*"] {
            list.args(["--filter", &format!("reference={}/{path}", self.address)]);
        }
        let Ok(listed) = list.output() else { return };
        for id in String::from_utf8_lossy(&listed.stdout).lines() {
            let mut remove = Command::new("docker");
            remove.args(["rmi", "-f", id]).stdout(Stdio::null()).stderr(Stdio::null());
            let _ = remove.status();
        }
    }
}
