//! `edge-load`: load for MQTT brokers from one thread, so that `edge-runtime` and its peers are
//! measured by the same means (`make bench`).
//!
//! next: `options.rs`, then `report.rs`
#![allow(clippy::disallowed_methods)] // it measures time, and waits
#![allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]

mod histogram;
mod idle;
mod log_in;
mod options;
mod process;
mod proxy;
mod publisher;
mod receiver;
mod report;
mod run;
mod sync;
mod transport;
mod wire;

use std::num::NonZeroU64;
use std::process::ExitCode;

use clap::Parser;
use options::{Command, Options};

fn main() -> ExitCode {
    // Timers to the microsecond: by default the kernel adds up to 50.
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
    let result = match Options::parse().command {
        Command::Run(options) => report::run(&options),
        Command::Idle(options) => idle::run(&options),
        Command::Proxy(options) => proxy::run(&options),
        Command::Sync(options) => sync::run(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}
