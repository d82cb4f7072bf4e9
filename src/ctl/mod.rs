//! `edgectl`: the operator's command line. Speaks to the service over its management socket, to a
//! hub over REST.
//!
//! next: `command.rs`, what may be said; then a file for each.

pub mod command;
mod configure;
mod dead_letter;
mod deploy;
mod device;
pub mod error;
mod hub;
mod manifest;
mod modules;
mod output;
mod plan;
mod queue;
mod rest;
mod route;
mod service;
mod status;
mod support_bundle;
mod telemetry;
#[cfg(test)]
mod tests;
mod trace;

use std::process::ExitCode;

use clap::CommandFactory;

use self::command::{Command, Edgectl, LocalModule, Queue};
use self::device::Runtime;
use self::error::CtlError;
use self::rest::Hub;

/// Does what was asked; says what went wrong on standard error.
pub async fn run(line: Edgectl) -> ExitCode {
    match carry_out(line).await {
        Ok(code) => code,
        Err(error) => {
            output::say(&error.to_string());
            error.exit_code()
        }
    }
}

async fn carry_out(line: Edgectl) -> Result<ExitCode, CtlError> {
    let common = line.common;
    let output = common.output;
    let runtime = Runtime::new(common.socket.clone());
    let hub = || Hub::new(common.hub.as_deref(), common.ca.as_deref());
    match line.command {
        Command::List { watch } => modules::list(&runtime, output, watch).await?,
        Command::Status => {
            let in_sync = status::status(&runtime, output).await?;
            return Ok(ExitCode::from(u8::from(!in_sync)));
        }
        Command::Refused => status::refused(&runtime, output).await?,
        Command::Logs { module, follow, tail, since, until } => {
            let tail = tail.map_or("all".into(), |tail| tail.to_string());
            let mut query = format!("tail={tail}&follow={follow}");
            query.push_str(&device::times(since.as_deref(), until.as_deref()));
            modules::logs(&runtime, &module, &query).await?;
        }
        Command::SupportBundle(args) => support_bundle::make(&runtime, &args).await?,
        Command::Restart { module } => modules::restart(&runtime, &module).await?,
        Command::Module(LocalModule::Env { module }) => {
            modules::env(&runtime, output, &module).await?;
        }
        Command::Why { module } => modules::why(&runtime, output, &module).await?,
        Command::Route(command) => return route::run(&runtime, output, command).await,
        Command::DeadLetter(command) => dead_letter::run(&runtime, output, command).await?,
        Command::Queue(Queue::Compact) => queue::compact(&runtime, output).await?,
        Command::Queue(Queue::Discard(args)) => queue::discard(&runtime, output, &args).await?,
        Command::Queue(Queue::Peek(args)) => trace::peek(&runtime, output, &args).await?,
        Command::Trace { id } => trace::trace(&runtime, output, &id).await?,
        Command::Plan { file } => return plan::plan(&runtime, output, &file).await,
        Command::Deploy(deploy) if deploy.dry_run => {
            return plan::plan(&runtime, output, &deploy.file).await;
        }
        Command::Deploy(deploy) => deploy::deploy(&hub()?, &runtime, output, &deploy).await?,
        Command::Telemetry(args) => telemetry::telemetry(&hub()?, output, &args).await?,
        Command::Hub(command) => hub::run(&hub()?, output, command).await?,
        Command::Configure(args) => configure::configure(&args)?,
        Command::Start(args) => service::start(&args).await?,
        Command::Stop(args) => service::stop(&args).await?,
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Edgectl::command(), "edgectl", &mut text);
            output::print(&String::from_utf8_lossy(&text))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
