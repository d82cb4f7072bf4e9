//! A dockerd beside the machine's: it may be stopped, killed, and have a small disk. It lives in a
//! network namespace: in the machine's it would take away the bridge of the machine's dockerd.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::run;

/// A command in a network namespace.
pub(crate) fn within(namespace: &str, program: &str) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/run/netns/{namespace}")).arg(program);
    command
}

pub(crate) struct OwnEngine {
    folder: tempfile::TempDir,
    /// Name of its network namespace.
    pub(crate) namespace: String,
    child: Option<Child>,
}

impl OwnEngine {
    /// With so many MB for its images, running.
    pub(crate) fn start(megabytes: u32) -> Self {
        let folder = tempfile::Builder::new().prefix("dockerd").tempdir().unwrap();
        let namespace = format!("edge-test-{}", std::process::id());
        run("ip", &["netns", "add", &namespace]);
        run("ip", &["-n", &namespace, "link", "set", "lo", "up"]);
        let mut engine = OwnEngine { folder, namespace, child: None };
        std::fs::create_dir(engine.data()).unwrap();
        let (size, data) = (format!("size={megabytes}m"), engine.data());
        run("mount", &["-t", "tmpfs", "-o", &size, "tmpfs", data.to_str().unwrap()]);
        let config = r#"{"log-opts": {"max-size": "1m"}}"#;
        std::fs::write(engine.config(), config).unwrap();
        engine.run(true);
        engine
    }

    /// `lives_on`: containers outlive it.
    pub(crate) fn run(&mut self, lives_on: bool) {
        let at = |name: &str| self.folder.path().join(name);
        let log = File::options().create(true).append(true).open(at("log")).unwrap();
        let mut command = within(&self.namespace, "dockerd");
        command.arg("--data-root").arg(self.data()).arg("--exec-root").arg(at("exec"));
        command.arg("--pidfile").arg(at("pid")).arg("--config-file").arg(self.config());
        command.args(["-H", &self.address()]);
        if lives_on {
            command.arg("--live-restore");
        }
        command.stdout(log.try_clone().unwrap()).stderr(log);
        self.child = Some(command.spawn().expect("dockerd"));
        for _ in 0..300 {
            let mut version = Command::new("docker");
            version.args(["-H", &self.address(), "version"]);
            let version = version.stdout(Stdio::null()).stderr(Stdio::null()).status();
            if version.is_ok_and(|status| status.success()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("{}", std::fs::read_to_string(at("log")).unwrap());
    }

    pub(crate) fn stop(&mut self, signal: Signal) {
        if let Some(mut child) = self.child.take() {
            let _ = kill_process(Pid::from_child(&child), signal);
            let _ = child.wait();
        }
        // Its containerd died with it; who reaps orphans may leave the pid for a while.
        for stale in ["pid", "exec/containerd/containerd.pid"] {
            if signal == Signal::KILL {
                let _ = std::fs::remove_file(self.folder.path().join(stale));
            }
        }
    }

    /// Whether there can be one here; says why not.
    pub(crate) fn is_possible() -> bool {
        let dockerd = Command::new("dockerd").arg("--version").output();
        let is_possible = rustix::process::geteuid().is_root() && dockerd.is_ok();
        if !is_possible {
            eprintln!("SKIPPED: this needs root and a dockerd on this machine");
        }
        is_possible
    }

    pub(crate) fn address(&self) -> String {
        format!("unix://{}", self.folder.path().join("d.sock").display())
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("daemon.json")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }
}

impl Drop for OwnEngine {
    fn drop(&mut self) {
        self.stop(Signal::TERM);
        let containerd = self.folder.path().join("exec/containerd/containerd.pid");
        let pid = std::fs::read_to_string(containerd).ok().and_then(|it| it.trim().parse().ok());
        if let Some(pid) = pid.and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
            std::thread::sleep(Duration::from_millis(500));
        }
        let _ = Command::new("ip").args(["netns", "delete", &self.namespace]).status();
        let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
        let mounts = mounts.lines().filter_map(|line| line.split(' ').nth(1)).map(Path::new);
        let ours: Vec<&Path> = mounts.filter(|it| it.starts_with(self.folder.path())).collect();
        for mount in ours.into_iter().rev() {
            let _ = Command::new("umount").arg("-l").arg(mount).status();
        }
    }
}
