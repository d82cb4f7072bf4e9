//! `route …`: routes of this device. A file for each that does more than ask.

mod check;
mod explain;
mod files;
mod list;
mod message;
mod replay;
mod test;

use std::process::ExitCode;

use super::command::{Output, Route};
use super::device::{Runtime, segment};
use super::error::CtlError;
use super::output::{say, show};

pub(super) async fn run(
    runtime: &Runtime,
    output: Output,
    command: Route,
) -> Result<ExitCode, CtlError> {
    match command {
        Route::List => show(output, &runtime.get("/routes").await?, list::text)?,
        Route::Pause { name } => {
            runtime.post(&format!("/routes/{}/pause", segment(&name))).await?;
            say(&format!("{name} is paused: what it takes is kept; `edgectl route resume {name}`"));
        }
        Route::Resume { name } => {
            runtime.post(&format!("/routes/{}/resume", segment(&name))).await?;
            say(&format!("{name} goes on"));
        }
        Route::Check { file } => return check::check(output, &file),
        Route::Explain(args) => explain::explain(runtime, output, &args).await?,
        Route::Replay(args) => replay::replay(runtime, output, &args).await?,
        Route::Test(args) => return test::test(output, &args),
    }
    Ok(ExitCode::SUCCESS)
}
