//! `localhub`: a small self-hosted hub that speaks the IoT Hub protocols.

use std::process::ExitCode;

use clap::Parser;
use edge_runtime::actors::salvage;
use edge_runtime::cli::{HubCommand, Localhub, StoreCommand};
use edge_runtime::localhub::start;
use edge_runtime::protocol::logging;
use edge_runtime::settings::{EX_CONFIG, LocalhubSettings, LogFormat};

fn main() -> ExitCode {
    let arguments = Localhub::parse();
    if let Some(HubCommand::Store(StoreCommand::Salvage { directory: Some(at), check, .. })) =
        &arguments.command
    {
        return salvage::command(at, &start::recipe(), *check);
    }
    let loaded = arguments.settings.layers().and_then(|layers| LocalhubSettings::load(&layers));
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(error) => {
            eprintln!("localhub: {error}");
            return ExitCode::from(EX_CONFIG);
        }
    };
    if let Some(HubCommand::Config) = arguments.command {
        loaded.effective.iter().for_each(|setting| println!("{setting}"));
        return ExitCode::SUCCESS;
    }
    if let Some(HubCommand::Store(StoreCommand::Salvage { check, .. })) = arguments.command {
        let at = start::store_directory(&loaded.settings);
        return salvage::command(&at, &start::recipe(), check);
    }
    let log = &loaded.settings.log;
    if let Err(error) = logging::init(&log.level, log.format == LogFormat::Json, None) {
        eprintln!("localhub: {error}");
        return ExitCode::from(EX_CONFIG);
    }
    match start::run(loaded.settings) {
        Ok(code) => code,
        Err(error) => {
            tracing::error!(%error, "cannot start");
            eprintln!("localhub: {error}");
            ExitCode::FAILURE
        }
    }
}
