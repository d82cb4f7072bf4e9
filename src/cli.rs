//! Command lines of `edge-runtime` and `localhub`: definitions only. That of `edgectl` is in
//! `ctl/command.rs`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::settings::{Layers, SettingsError};

/// The service: EdgeAgent and EdgeHub.
#[derive(Debug, Parser)]
#[command(name = "edge-runtime", version, about = "An open IoT Edge runtime: agent and hub in one")]
pub struct EdgeRuntime {
    /// Where settings come from.
    #[command(flatten)]
    pub settings: SettingsArgs,
    /// What to do; `run` without.
    #[command(subcommand)]
    pub command: Option<EdgeCommand>,
}

/// The local hub.
#[derive(Debug, Parser)]
#[command(
    name = "localhub",
    version,
    about = "A small local hub that speaks the IoT Hub protocols"
)]
pub struct Localhub {
    /// Where settings come from.
    #[command(flatten)]
    pub settings: SettingsArgs,
    /// What to do; `serve` without.
    #[command(subcommand)]
    pub command: Option<HubCommand>,
}

/// Where settings come from.
#[derive(Clone, Debug, Default, Args)]
pub struct SettingsArgs {
    /// Settings file (TOML); may be given more than once, later ones win
    #[arg(long, value_name = "FILE")]
    pub config: Vec<PathBuf>,
    /// One setting, above files and environment: `--set log.level=debug`
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

impl SettingsArgs {
    /// The layers that they name, with the process's environment.
    pub fn layers(self) -> Result<Layers, SettingsError> {
        Layers::read(&self.config, self.set)
    }
}

/// See [`EdgeRuntime`].
#[derive(Clone, Debug, Subcommand)]
pub enum EdgeCommand {
    /// Run the service (the default)
    Run,
    /// Print the supervision tree as declared
    Tree,
    /// Print every setting in force and where its value came from
    Config,
    /// See to what is stored on this device; the service must not run
    #[command(subcommand)]
    Store(StoreCommand<StoreName>),
}

/// What can be done to a store.
#[derive(Clone, Debug, Subcommand)]
pub enum StoreCommand<N: clap::ValueEnum + Send + Sync + 'static> {
    /// Copy what is whole out of a damaged store into a new one, which takes its place. The damaged
    /// file is kept beside it; what was lost is counted and told. The service does this by itself
    /// when it finds a store damaged. Status: 0 done, 1 failed (nothing was changed), 2 wrong usage
    Salvage {
        /// Which store
        store: N,
        /// Where it lies, if not where the settings say
        #[arg(long, value_name = "DIR")]
        directory: Option<PathBuf>,
        /// Only look at every page, and tell whether it is whole (0) or damaged (1)
        #[arg(long)]
        check: bool,
    },
}

/// The stores of `edge-runtime`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum StoreName {
    /// Messages that are stored, to be forwarded
    Queue,
    /// Identities, sessions, twins, the agent's state
    State,
}

/// The store of `localhub`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum HubStoreName {
    /// Everything
    Hub,
}

/// See [`Localhub`].
#[derive(Clone, Debug, Subcommand)]
pub enum HubCommand {
    /// Run the hub (the default)
    Serve,
    /// Print every setting in force and where its value came from
    Config,
    /// See to what is stored; the hub must not run
    #[command(subcommand)]
    Store(StoreCommand<HubStoreName>),
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definitions_hold_together() {
        EdgeRuntime::command().debug_assert();
        Localhub::command().debug_assert();
    }

    #[test]
    fn files_and_flags_stand_before_the_command() {
        let line = ["edge-runtime", "--config", "a", "--config", "b", "--set", "x=y", "config"];
        let parsed = EdgeRuntime::try_parse_from(line).unwrap();
        assert!(matches!(parsed.command, Some(EdgeCommand::Config)));
        assert!(parsed.settings.config.len() == 2 && parsed.settings.set == ["x=y"]);
        assert!(EdgeRuntime::try_parse_from(["edge-runtime"]).unwrap().command.is_none());
        assert!(EdgeRuntime::try_parse_from(["edge-runtime", "walk"]).is_err());
    }
}
