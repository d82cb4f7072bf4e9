//! A real program as a child process: its log, its readiness, and its death.

use std::fs::{File, OpenOptions};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::wait_for;

/// Long, as many tests may share two cores.
const START: Duration = Duration::from_secs(90);

/// A variable for the words of a `ulimit` before a program.
pub const OPEN_FILES: &str = "TEST_OPEN_FILES";

/// Where a program is: built with this test, or in `EDGE_BIN_DIR` (the mutants).
pub fn binary(name: &str) -> PathBuf {
    if let Ok(folder) = std::env::var("EDGE_BIN_DIR") {
        return Path::new(&folder).join(name);
    }
    match name {
        "localhub" => env!("CARGO_BIN_EXE_localhub").into(),
        "edgectl" => env!("CARGO_BIN_EXE_edgectl").into(),
        "edge-runtime" => env!("CARGO_BIN_EXE_edge-runtime").into(),
        other => panic!("there is no program {other}"),
    }
}

/// A loopback address that no other program of this or another test process has.
pub fn own_address() -> Ipv4Addr {
    static LAST: AtomicU32 = AtomicU32::new(0);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let next = LAST.fetch_add(1, Ordering::Relaxed) % 100 + 100;
    Ipv4Addr::new(127, u8::try_from(next).unwrap(), high, low.clamp(1, 254))
}

/// See the module documentation. Killed when it is dropped; the account of an edge must be whole
/// then, or the test fails.
pub struct Program {
    name: &'static str,
    environment: Vec<(String, String)>,
    log: PathBuf,
    /// Length of the log when the process began.
    began: u64,
    child: Child,
    is_unchecked: bool,
}

impl Program {
    /// Starts it; its output goes to `log`. It has no other settings than `environment`.
    pub fn start(name: &'static str, log: PathBuf, environment: Vec<(String, String)>) -> Self {
        let (child, began) = spawn(name, &log, &environment);
        Program { name, environment, log, began, child, is_unchecked: false }
    }

    /// Starts it again, with the same environment, after it has ended.
    pub fn again(&mut self) {
        (self.child, self.began) = spawn(self.name, &self.log, &self.environment);
    }

    /// Changes a variable for the next start.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.environment.retain(|(other, _)| other != name);
        self.environment.push((name.to_owned(), value.into()));
    }

    /// What it is started with.
    pub fn environment(&self) -> &[(String, String)] {
        &self.environment
    }

    /// The test has damaged its queue, or left it to another program: nobody counts it at the end.
    pub fn leave_unchecked(&mut self, why: &str) {
        println!("the account of {} is not looked at in the end: {why}", self.name);
        self.is_unchecked = true;
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the line in the log.
    #[track_caller]
    pub fn wait_ready(&mut self) {
        self.wait_log("process: ready", START); // and not "not ready"
    }

    pub fn is_ready(&self) -> bool {
        self.log_since_start().contains("process: ready")
    }

    /// The same; says why it is not, if it ends or takes too long.
    pub fn try_ready(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + START;
        loop {
            if self.is_ready() {
                return Ok(());
            }
            let ended = self.ended();
            let log = self.log_since_start();
            // Waiting does not mend that.
            let is_lost = ["is damaged", "is broken"].iter().any(|word| log.contains(word));
            if ended.is_some() || is_lost || Instant::now() > deadline {
                let last = log.lines().last().unwrap_or_default();
                return Err(format!("{} is not back ({ended:?}): {last}", self.name));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for a word in what it has logged since its start.
    #[track_caller]
    pub fn wait_log(&mut self, word: &str, within: Duration) {
        let what = format!("`{word}` in the log of {}", self.name);
        wait_for(&what, within, || {
            if let Some(status) = self.ended() {
                panic!("{} ended with {status} before `{word}`", self.name);
            }
            let has = |line: &str| {
                line.split_whitespace().any(|it| it == word)
                    || (word.contains(' ') && line.contains(word))
            };
            self.log_since_start().lines().any(has).then_some(())
        });
    }

    /// What it has logged since its start.
    pub fn log_since_start(&self) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        let from = usize::try_from(self.began).unwrap().min(log.len());
        String::from_utf8_lossy(&log[from..]).into_owned()
    }

    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and waits for its end.
    #[track_caller]
    pub fn terminate(&mut self) -> ExitStatus {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let what = format!("the end of {}", self.name);
        wait_for(&what, Duration::from_secs(30), || self.child.try_wait().unwrap())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log_since_start();
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(40)..].join("\n");
            eprintln!("---- last lines of {} ({}):\n{tail}\n----", self.name, self.log.display());
        } else if self.name == "edge-runtime" && !self.is_unchecked {
            let wrong = super::account::broken_queue(self);
            assert!(wrong.is_empty(), "received is not stored and ends together: {wrong:#?}");
        }
    }
}

fn command(name: &str, environment: &[(String, String)]) -> Command {
    let mut command = Command::new(binary(name));
    let by_shell = |(name, _): &(String, String)| name == OPEN_FILES || name == "WATCHDOG_USEC";
    if environment.iter().any(by_shell) {
        let script = "[ -z \"${TEST_OPEN_FILES-}\" ] || ulimit $TEST_OPEN_FILES; \
                      export WATCHDOG_PID=$$; exec \"$0\"";
        command = Command::new("sh");
        command.args(["-c", script]).arg(binary(name));
    }
    let inherited = std::env::vars_os().filter(|(name, _)| {
        let name = name.to_string_lossy();
        ["EDGE_RUNTIME__", "LOCALHUB__", "EDGECTL_"].iter().any(|it| name.starts_with(it))
    });
    for (name, _) in inherited {
        command.env_remove(name);
    }
    command.envs(environment.iter().cloned()).stdin(Stdio::null());
    command
}

fn spawn(name: &'static str, log: &Path, environment: &[(String, String)]) -> (Child, u64) {
    let mut options = OpenOptions::new();
    let open = |options: &mut OpenOptions| -> File {
        options.create(true).append(true).open(log).unwrap()
    };
    let output = open(&mut options);
    let began = output.metadata().unwrap().len();
    let mut command = command(name, environment);
    command.stdout(output.try_clone().unwrap()).stderr(output);
    let child = command.spawn();
    (child.unwrap_or_else(|e| panic!("cannot start {}: {e}", binary(name).display())), began)
}

/// Runs it to its end; for what must not start.
pub fn run(name: &'static str, arguments: &[&str], environment: &[(String, String)]) -> Output {
    command(name, environment).args(arguments).output().unwrap()
}
