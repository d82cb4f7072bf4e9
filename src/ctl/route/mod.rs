//! `route …`: routes of this device. A file for each that does more than ask.

mod list;

use super::command::{Output, Route};
use super::device::{Runtime, segment};
use super::error::CtlError;
use super::output::{say, show};

pub(super) async fn run(runtime: &Runtime, output: Output, command: Route) -> Result<(), CtlError> {
    match command {
        Route::List => show(output, &runtime.get("/routes").await?, list::text),
        Route::Pause { name } => {
            runtime.post(&format!("/routes/{}/pause", segment(&name))).await?;
            say(&format!("{name} is paused: what it takes is kept; `edgectl route resume {name}`"));
            Ok(())
        }
        Route::Resume { name } => {
            runtime.post(&format!("/routes/{}/resume", segment(&name))).await?;
            say(&format!("{name} goes on"));
            Ok(())
        }
    }
}
