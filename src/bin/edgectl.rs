//! `edgectl`: see `ctl/`.

use std::process::ExitCode;

use clap::Parser;
use edge_runtime::ctl::command::Edgectl;

fn main() -> ExitCode {
    let line = Edgectl::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(edge_runtime::ctl::run(line)),
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            ExitCode::FAILURE
        }
    }
}
