//! `start` and `stop`: the systemd unit if it is installed, else a detached process with a log
//! and a pid file in the state directory.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::command::{Start, Stop};
use super::device::Runtime;
use super::error::CtlError;
use super::output::{say, text_of};
use crate::protocol::files::{make_dir, read_text, write_atomically};
use crate::settings::{EdgeSettings, Layers};

const UNIT: &str = "edge-runtime.service";
const SYSTEM_CONFIG: &str = "/etc/edge-runtime/config.toml";
/// An ordered stop has deadlines of its own, which add up to less.
const STOP: Duration = Duration::from_secs(60);

/// Where the service keeps its things.
struct Place {
    config: Vec<PathBuf>,
    state: PathBuf,
    runtime: Runtime,
}

impl Place {
    fn find(config: &[PathBuf]) -> Result<Self, CtlError> {
        let mut config = config.to_vec();
        if config.is_empty() && Path::new(SYSTEM_CONFIG).exists() {
            config.push(SYSTEM_CONFIG.into());
        }
        let settings = Layers::read(&config, Vec::new())
            .and_then(|layers| EdgeSettings::load(&layers, "localhost"));
        let settings =
            settings.map_err(|e| CtlError::new("the settings are not good").because(e))?;
        let (state, socket) = (settings.settings.state.path, settings.settings.management.socket);
        Ok(Place { config, state, runtime: Runtime::new(socket) })
    }

    fn log(&self) -> PathBuf {
        self.state.join("edge-runtime.log")
    }

    fn pid_file(&self) -> PathBuf {
        self.state.join("edge-runtime.pid")
    }

    /// The process that holds the state directory, if one does: `123 (edge-runtime)` stands in
    /// its lock, and the kernel knows whether that process is still there.
    fn running(&self) -> Option<Pid> {
        let lock = read_text(&self.state.join("lock")).ok()?;
        let (pid, program) = lock.split_once(' ')?;
        let name = program.trim_matches(['(', ')']);
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let first = line.split(|&byte| byte == 0).next().unwrap_or_default();
        let is_it = String::from_utf8_lossy(first).rsplit('/').next() == Some(name);
        if is_it { Pid::from_raw(pid.parse().ok()?) } else { None }
    }
}

/// Whether the unit is installed.
fn has_unit() -> bool {
    let mut shown = Command::new("systemctl");
    shown.args(["cat", UNIT]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    shown.status().is_ok_and(|status| status.success())
}

fn systemctl(verb: &str) -> Result<(), CtlError> {
    let status = Command::new("systemctl").args([verb, UNIT]).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => {
            let error = CtlError::new(format!("systemctl {verb} {UNIT} failed")).because(status);
            Err(error.hint(format!("`journalctl -u {UNIT} -n 30` tells more")))
        }
        Err(e) => Err(CtlError::new("cannot run systemctl").because(e)),
    }
}

/// `start`.
pub(super) async fn start(args: &Start) -> Result<(), CtlError> {
    let place = Place::find(&args.config)?;
    if let Some(pid) = place.running() {
        say(&format!("edge-runtime runs already, as process {}", pid.as_raw_nonzero()));
        return Ok(());
    }
    let mut child = None;
    if args.config.is_empty() && has_unit() {
        systemctl("start")?;
    } else {
        child = Some(spawn(&place)?);
    }
    await_ready(&place, child.as_mut(), args.wait).await
}

fn spawn(place: &Place) -> Result<Child, CtlError> {
    let cannot = |e: &dyn std::fmt::Display| CtlError::new("cannot start edge-runtime").because(e);
    make_dir(&place.state, 0o755).map_err(|e| cannot(&e))?;
    let mut options = OpenOptions::new();
    let log = options.create(true).append(true).mode(0o640).open(place.log());
    let log = log.map_err(|e| cannot(&format!("{}: {e}", place.log().display())))?;
    let beside =
        std::env::current_exe().ok().and_then(|me| Some(me.parent()?.join("edge-runtime")));
    let program = beside.filter(|path| path.exists()).unwrap_or("edge-runtime".into());
    let mut command = Command::new(&program);
    for file in &place.config {
        command.arg("--config").arg(std::path::absolute(file).unwrap_or(file.clone()));
    }
    let output = log.try_clone().map_err(|e| cannot(&e))?;
    command.stdin(Stdio::null()).stdout(output).stderr(log).process_group(0);
    let child = command.spawn().map_err(|e| cannot(&format!("{}: {e}", program.display())))?;
    write_atomically(&place.pid_file(), child.id().to_string().as_bytes(), 0o644)
        .map_err(|e| cannot(&e))?;
    say(&format!("started process {}, log in {}", child.id(), place.log().display()));
    Ok(child)
}

async fn await_ready(
    place: &Place,
    mut child: Option<&mut Child>,
    limit: Duration,
) -> Result<(), CtlError> {
    let mut last = "it does not answer".to_owned();
    let waiting = async {
        loop {
            if let Some(child) = child.as_deref_mut()
                && let Ok(Some(status)) = child.try_wait()
            {
                return Err(format!("it ended with {status}:\n{}", last_lines(&place.log())));
            }
            match place.runtime.get("/status").await {
                Ok(status) if status["is_ready"] == true => return Ok(()),
                Ok(status) => last = not_ready(&status),
                Err(_) => {}
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    };
    let failed = |why: String| CtlError::new("edge-runtime is not ready").because(why);
    match tokio::time::timeout(limit, waiting).await {
        Ok(Ok(())) => {
            say("ready");
            Ok(())
        }
        Ok(Err(why)) => Err(failed(why)),
        Err(_) => Err(failed(last).hint(format!(
            "it goes on trying; `edgectl --socket PATH status` tells more, and {}",
            place.log().display()
        ))),
    }
}

fn not_ready(status: &Value) -> String {
    let parts = status["parts"].as_array().into_iter().flatten();
    let parts = parts.filter(|part| part["is_ready"] == false);
    let parts = parts.map(|part| format!("{}: {}", text_of(part, "name"), text_of(part, "why")));
    parts.collect::<Vec<_>>().join("; ")
}

fn last_lines(log: &Path) -> String {
    let text = read_text(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(8)..].join("\n")
}

/// `stop`.
pub(super) async fn stop(args: &Stop) -> Result<(), CtlError> {
    let place = Place::find(&args.config)?;
    if args.modules {
        place.runtime.post("/modules/stop").await?;
        say("modules stopped");
    }
    if args.config.is_empty() && has_unit() {
        return systemctl("stop");
    }
    let Some(pid) = place.running() else {
        say("edge-runtime does not run");
        return Ok(());
    };
    let number = pid.as_raw_nonzero();
    kill_process(pid, Signal::TERM).map_err(|e| {
        CtlError::new(format!("cannot stop process {number}"))
            .because(e)
            .hint("run edgectl as root")
    })?;
    let gone = async {
        while place.running().is_some() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let gone = tokio::time::timeout(STOP, gone).await;
    gone.map_err(|_| {
        let what = format!("process {number} does not stop within {} s", STOP.as_secs());
        CtlError::new(what).hint(format!("read {}", place.log().display()))
    })?;
    _ = std::fs::remove_file(place.pid_file());
    say("stopped");
    Ok(())
}
