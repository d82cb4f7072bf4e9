//! `edge-runtime`: EdgeAgent and EdgeHub, one process, one supervision tree.

use std::process::ExitCode;

use clap::Parser;
use edge_runtime::actors::{runtime, salvage};
use edge_runtime::cli::{EdgeCommand, EdgeRuntime, StoreCommand};
use edge_runtime::domain::tree::EDGE_RUNTIME;
use edge_runtime::protocol::logging;
use edge_runtime::settings::{EX_CONFIG, EdgeSettings, LogFormat, SettingsError, host_name};

fn main() -> ExitCode {
    let arguments = EdgeRuntime::parse();
    if let Some(EdgeCommand::Tree) = arguments.command {
        print!("{EDGE_RUNTIME}");
        return ExitCode::SUCCESS;
    }
    if let Some(EdgeCommand::Store(StoreCommand::Salvage { store, directory: Some(at), check })) =
        &arguments.command
    {
        return salvage::command(at, &runtime::recipe(*store), *check);
    }
    let layers = arguments.settings.layers();
    let loaded = match layers.and_then(|layers| EdgeSettings::load(&layers, &host_name())) {
        Ok(loaded) => loaded,
        Err(error) => {
            eprintln!("edge-runtime: {error}");
            return ExitCode::from(EX_CONFIG);
        }
    };
    if let Some(EdgeCommand::Config) = arguments.command {
        loaded.effective.iter().for_each(|setting| println!("{setting}"));
        return ExitCode::SUCCESS;
    }
    let shown = loaded.report();
    let settings = loaded.settings;
    if let Some(EdgeCommand::Store(StoreCommand::Salvage { store, check, .. })) = arguments.command
    {
        let at = runtime::store_directory(store, &settings);
        return salvage::command(&at, &runtime::recipe(store), check);
    }
    let is_json = settings.log.format == LogFormat::Json;
    let log = match logging::init(&settings.log.level, is_json, Some(settings.audit.to_file())) {
        Ok(log) => log,
        Err(error) => {
            eprintln!("edge-runtime: {error}");
            return ExitCode::from(EX_CONFIG);
        }
    };
    match runtime::run(settings, shown, log) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("edge-runtime: {error}");
            let is_config = error.is::<SettingsError>();
            if is_config { ExitCode::from(EX_CONFIG) } else { ExitCode::FAILURE }
        }
    }
}
