//! A damaged store is salvaged in a process of its own (`… store salvage`), so that nothing that is
//! in it can end this one; then it is opened again.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use super::clock;
use super::process::{Milestone, Told};
use crate::messages::salvage::Report;
use crate::store::salvage::{Recipe, salvage};
use crate::store::{Environment, OpenError, inspect};

/// For so many seconds a salvage is among the warnings: 30 days.
const RECENT: u64 = 30 * 86_400;
/// A salvage that failed is tried again at every so many looks: 5 minutes.
const AGAIN: u32 = 60;

/// Opens a store that the process cannot do without: one that is damaged, or gone from where it
/// was, is salvaged first. Blocks.
pub fn opened<T>(
    store: &str,
    directory: &Path,
    open: impl Fn() -> Result<T, OpenError>,
) -> Result<T, OpenError> {
    match open() {
        Err(error @ (OpenError::Damaged(..) | OpenError::Missing(..))) => {
            tracing::error!(store, %error, "the store is salvaged");
            in_child(store, directory).map_err(|why| OpenError::Io(directory.into(), why))?;
            open()
        }
        opened => opened,
    }
}

/// Salvages the store in `directory`, as another process of this program. Blocks, for as long as
/// it takes to read and to copy the file.
pub fn in_child(store: &str, directory: &Path) -> Result<(), String> {
    let program = std::env::current_exe().map_err(|error| format!("no salvage: {error}"))?;
    let mut command = Command::new(program);
    command.args(["store", "salvage", store, "--directory"]).arg(directory);
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("the salvage cannot be started: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().replace('\n', "; ");
    if output.status.success() {
        tracing::error!(store, report = text(&output.stdout), "the store was salvaged");
        return Ok(());
    }
    let why = text(&output.stderr);
    Err(format!("the salvage of `{store}` failed ({}): {why}", output.status))
}

/// Tells a store how far the process that has it open came.
pub fn milestones(environment: impl Fn() -> Arc<Environment> + 'static) -> Told {
    Box::new(move |milestone| match milestone {
        Milestone::Ready => environment().note_ready(),
        Milestone::Well => environment().note_well(),
    })
}

/// Salvages that an operator is still to hear of.
pub fn recent(reports: &[Report]) -> impl Iterator<Item = &Report> {
    let now = clock::unix_time().as_secs();
    reports.iter().filter(move |report| now.saturating_sub(report.at) < RECENT)
}

/// Opens a store that the process can do without for a while. A damaged one is only said to be so
/// at first, so that nothing waits for its salvage; whoever looks again has it salvaged.
#[derive(Debug, Default)]
pub struct Patience(Mutex<Looks>);

#[derive(Debug, Default)]
struct Looks {
    at_damaged: u32,
    failure: String,
}

impl Patience {
    /// Blocks, from the second look on for as long as a salvage takes.
    pub fn opened<T>(
        &self,
        store: &str,
        directory: &Path,
        open: impl Fn() -> Result<T, OpenError>,
    ) -> Result<T, OpenError> {
        let error = match open() {
            Err(OpenError::Damaged(at, why)) => OpenError::Damaged(at, why),
            opened => return opened,
        };
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = looks.at_damaged;
        looks.at_damaged += 1;
        if at == 0 {
            return Err(error);
        }
        if at % AGAIN != 1 {
            return Err(OpenError::Io(directory.into(), looks.failure.clone()));
        }
        match in_child(store, directory) {
            Ok(()) => {
                looks.at_damaged = 0;
                open()
            }
            Err(why) => {
                looks.failure = format!("{error}; {why}");
                Err(OpenError::Io(directory.into(), looks.failure.clone()))
            }
        }
    }
}

/// The command `store salvage`: what it did goes to stdout. With `is_look` it only looks.
pub fn command(directory: &Path, recipe: &Recipe, is_look: bool) -> ExitCode {
    let done = if is_look {
        inspect(directory).map(|()| format!("store `{}` is whole\n", recipe.name))
    } else {
        salvage(directory, recipe, clock::unix_time()).map(|report| text(&report))
    };
    match done {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn text(report: &Report) -> String {
    use std::fmt::Write;
    let mut text = format!("{}\n", report.summary());
    for (name, table) in &report.tables {
        let (copied, older, damaged) = (table.copied, table.older, table.damaged);
        _ = writeln!(text, "table {name}: {copied} copied ({older} older), {damaged} damaged");
    }
    for loss in &report.lost {
        let (route, endpoint) = (&loss.route, &loss.endpoint);
        _ = writeln!(text, "route {route} to {endpoint}: {} messages lost", loss.messages);
    }
    if report.lost_without_account > 0 {
        _ = writeln!(text, "of no known route: {} messages lost", report.lost_without_account);
    }
    for wrong in &report.wrong {
        _ = writeln!(text, "found: {wrong}");
    }
    text
}
