//! The command line of `edgectl`: definitions only.

mod hub;
mod queue;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

pub use self::hub::{C2d, CreateDevice, Device, Hub, Method, Module, Twin, UploadedFile};
pub use self::queue::{
    DeadLetter, Discard, Explain, Letters, OfEndpoint, Peek, Queue, Replay, Route, Test,
};

const EXAMPLES: &str = "\
Examples:
  edgectl list -w                                  modules of this device, live
  edgectl deploy deployment.json --wait            deploy, and wait until it runs
  edgectl route list                               what each route took, and what waits
  edgectl route explain --message m.json           which routes take a message, and why
  edgectl hub device create leaf --parent gw       a new device; prints its connection string
  edgectl hub twin set gw temperature-filter threshold=30

Exit status: 0 done, 1 failed (status: not in sync; route check, test: not all good), 2 wrong usage.";

/// The operator's command line.
#[derive(Clone, Debug, Parser)]
#[command(name = "edgectl", version, about = "Looks after an edge-runtime and its hub")]
#[command(after_help = EXAMPLES)]
pub struct Edgectl {
    /// Whom to speak to, and how to print.
    #[command(flatten)]
    pub common: Common,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// See [`Edgectl`].
#[derive(Clone, Args)]
pub struct Common {
    /// Management socket of the edge-runtime on this machine
    #[arg(
        long,
        value_name = "PATH",
        env = "EDGECTL_SOCKET",
        default_value = "/var/lib/edge-runtime/mgmt.sock",
        global = true
    )]
    pub socket: PathBuf,
    /// Service connection string of the hub, or a file that holds it
    #[arg(
        long,
        value_name = "CONNECTION_STRING",
        env = "EDGECTL_HUB",
        hide_env_values = true,
        global = true
    )]
    pub hub: Option<String>,
    /// Certificate authorities of the hub, PEM (default: those that this machine trusts)
    #[arg(long, value_name = "FILE", env = "EDGECTL_CA", global = true)]
    pub ca: Option<PathBuf>,
    /// How to print data
    #[arg(long, short, value_enum, default_value = "text", global = true)]
    pub output: Output,
}

impl std::fmt::Debug for Common {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "socket {}", self.socket.display())
    }
}

/// See [`Common`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// See [`Edgectl`].
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Modules: status, since when, restarts, why and when next
    List {
        /// Go on, every two seconds
        #[arg(long, short)]
        watch: bool,
    },
    /// Link, queue, clients, and whether actual is as desired (exit status 1 if not)
    Status,
    /// Reported properties that the hub refused, of whom, and why
    Refused,
    /// What a module wrote; edgeHub and edgeAgent too
    Logs {
        /// Module
        module: String,
        /// Go on as it writes
        #[arg(long, short)]
        follow: bool,
        /// Only the last lines
        #[arg(long, value_name = "N")]
        tail: Option<usize>,
        /// From then on: a date, seconds of Unix time, or how long ago (`1h 20m`)
        #[arg(long, value_name = "TIME")]
        since: Option<String>,
        /// Until then
        #[arg(long, value_name = "TIME")]
        until: Option<String>,
    },
    /// All that somebody far away needs to see why this device is as it is, as a zip file, without
    /// secrets: status, settings, logs, containers
    SupportBundle(SupportBundle),
    /// Restart a module's container
    Restart {
        /// Module
        module: String,
    },
    /// Why a module is as it is
    Why {
        /// Module
        module: String,
    },
    /// One module, outside of its container
    #[command(subcommand)]
    Module(LocalModule),
    /// Routes: what they took, what waits; pause and resume them; check, explain and test them
    #[command(subcommand)]
    Route(Route),
    /// Messages that an endpoint refused for good
    #[command(subcommand)]
    DeadLetter(DeadLetter),
    /// What waits, and what is owed to an endpoint
    #[command(subcommand)]
    Queue(Queue),
    /// The life of a message, as long as it is stored and a while after: received, stored by which
    /// routes, sent, its end
    Trace {
        /// Its id, as `queue peek` and `dead-letter list` show it; or the message id that its client
        /// gave it
        id: String,
    },
    /// What a manifest would do to this device (exit status 0 nothing, 2 changes, 1 wrong)
    Plan {
        /// Manifest, as `deploy` takes it
        file: PathBuf,
    },
    /// Deploy a manifest, as `az iot edge set-modules` takes it
    Deploy(Deploy),
    /// Telemetry that reached the hub
    Telemetry(Telemetry),
    /// Look after the hub: devices, modules, twins, methods, messages
    #[command(subcommand)]
    Hub(Hub),
    /// Write a settings file for edge-runtime
    Configure(Box<Configure>),
    /// Start edge-runtime: its systemd unit if that is installed, else a detached process
    Start(Start),
    /// Stop edge-runtime; containers keep running
    Stop(Stop),
    /// Print completions for a shell
    Completions {
        /// Which
        shell: Shell,
    },
}

/// See [`Command`].
#[derive(Clone, Debug, Args)]
pub struct SupportBundle {
    /// File to write; `-` is standard output (default: support_bundle_TIME_UTC.zip)
    #[arg(long, short = 'f', value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Logs from then on: a date, seconds of Unix time, or how long ago
    #[arg(long, value_name = "TIME", default_value = "1 day")]
    pub since: String,
    /// Logs until then
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Only of the runtime, not of modules
    #[arg(long, short = 'e')]
    pub edge_runtime_only: bool,
}

/// See [`Command`].
#[derive(Clone, Debug, Subcommand)]
pub enum LocalModule {
    /// The variables that make a program on this machine that module, as NAME=VALUE
    #[command(after_help = "Example: env $(edgectl module env filter) python main.py")]
    Env {
        /// A module of the deployment; best with `"status": "stopped"` there
        module: String,
    },
}

/// See [`Command`].
#[derive(Clone, Debug, Args)]
pub struct Deploy {
    /// Manifest: bare, or wrapped in `content`
    pub file: PathBuf,
    /// Edge device (default: the one on this machine)
    #[arg(long, value_name = "ID")]
    pub device: Option<String>,
    /// Wait until every module runs as desired, 120 s or so long
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true,
          default_missing_value = "120s", value_parser = time)]
    pub wait: Option<Duration>,
    /// Only say what it would do to this device, as `edgectl plan` does
    #[arg(long, conflicts_with_all = ["device", "wait"])]
    pub dry_run: bool,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
}

/// See [`Command`].
#[derive(Clone, Debug, Args)]
pub struct Telemetry {
    /// Go on as it arrives; from now, unless --since says otherwise
    #[arg(long, short)]
    pub follow: bool,
    /// From this offset on
    #[arg(long, value_name = "N")]
    pub since: Option<u64>,
    /// Only of this device, and its modules
    #[arg(long, value_name = "ID")]
    pub device: Option<String>,
}

/// See [`Command`].
#[derive(Clone, Args)]
pub struct Configure {
    /// Settings file to write; what is set in it and not named here stays
    #[arg(long, value_name = "FILE", default_value = "/etc/edge-runtime/config.toml")]
    pub file: PathBuf,
    /// Connection string of this edge device; `-` reads it from standard input
    #[arg(long, value_name = "CONNECTION_STRING")]
    pub connection_string: Option<String>,
    /// The name by which clients reach this device
    #[arg(long, value_name = "NAME")]
    pub gateway_hostname: Option<String>,
    /// Certificate authorities of the parent, PEM
    #[arg(long, value_name = "FILE")]
    pub trusted_ca: Option<PathBuf>,
    /// Registry to log in to
    #[arg(long, value_name = "ADDRESS", requires = "username")]
    pub registry: Option<String>,
    /// User of the registry
    #[arg(long, value_name = "NAME", requires = "registry")]
    pub username: Option<String>,
    /// File with the registry's password; without it the password is read from standard input
    #[arg(long, value_name = "FILE", requires = "registry")]
    pub password_file: Option<PathBuf>,
    /// Any other setting; a list or a number as in TOML
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

impl std::fmt::Debug for Configure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "configure {}", self.file.display())
    }
}

/// See [`Command`].
#[derive(Clone, Debug, Args)]
pub struct Start {
    /// Settings files (default: /etc/edge-runtime/config.toml if it is there)
    #[arg(long, value_name = "FILE")]
    pub config: Vec<PathBuf>,
    /// How long to wait until it is ready
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = time)]
    pub wait: Duration,
}

/// See [`Command`].
#[derive(Clone, Debug, Args)]
pub struct Stop {
    /// Stop the modules' containers first
    #[arg(long)]
    pub modules: bool,
    /// Settings files (default: /etc/edge-runtime/config.toml if it is there)
    #[arg(long, value_name = "FILE")]
    pub config: Vec<PathBuf>,
}

/// `90`, `90s`, `2m`.
fn time(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.trim_end_matches(char::is_alphabetic).len());
    let seconds: u64 = number.parse().map_err(|_| "expects a time as 90s or 2m".to_owned())?;
    match unit {
        "" | "s" => Ok(Duration::from_secs(seconds)),
        "m" | "min" => Ok(Duration::from_secs(seconds * 60)),
        "h" => Ok(Duration::from_secs(seconds * 3600)),
        _ => Err("expects a time as 90s or 2m".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definitions_hold_together() {
        Edgectl::command().debug_assert();
    }

    #[test]
    fn times_have_units_and_wait_has_a_default() {
        assert_eq!(time("2m"), Ok(Duration::from_secs(120)));
        assert!(time("soon").is_err() && time("1d").is_err());
        let wait = |args: &[&str]| {
            let line = [&["edgectl", "deploy", "f"], args].concat();
            match Edgectl::try_parse_from(line).unwrap().command {
                Command::Deploy(deploy) => deploy.wait,
                _ => None,
            }
        };
        assert_eq!(wait(&[]), None);
        assert_eq!(wait(&["--wait"]), Some(Duration::from_secs(120)));
        assert_eq!(wait(&["--wait=5s"]), Some(Duration::from_secs(5)));
    }

    #[test]
    fn whom_to_speak_to_may_stand_before_or_after_the_command() {
        for line in
            [["edgectl", "--output", "json", "list"], ["edgectl", "list", "--output", "json"]]
        {
            assert_eq!(Edgectl::try_parse_from(line).unwrap().common.output, Output::Json);
        }
    }
}
