//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Load for MQTT brokers from one thread. Prints one line of NAME=NUMBER on standard output.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Publishers and at most one subscriber; checks order, gaps and duplicates
    Run(Run),
    /// Connections that do nothing; what the broker takes for them
    Idle(Idle),
    /// Passes connections on and counts their bytes, into a file
    Proxy(Proxy),
    /// What an fdatasync costs: 4 KiB, overwritten
    Sync(Sync),
}

/// Where the broker is and who comes. With --hub and --key as IoT Hub's clients do: the device
/// `PREFIX-0007` sends to `devices/PREFIX-0007/messages/events/`. Without them under the same names.
#[derive(Args)]
pub(crate) struct Broker {
    /// Address and port
    #[arg(long)]
    pub(crate) to: SocketAddr,
    /// Through TLS, trusting the authorities of this PEM file
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_ca: Option<PathBuf>,
    /// Address that the broker's certificate is for, if it is another
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) tls_name: Option<std::net::IpAddr>,
    /// Host name of the hub, for log-ins with shared access signatures
    #[arg(long, requires = "key")]
    pub(crate) hub: Option<String>,
    /// Key of all clients, base64
    #[arg(long, requires = "hub")]
    pub(crate) key: Option<String>,
    /// Clients are PREFIX-0000, PREFIX-0001, …
    #[arg(long, default_value = "load")]
    pub(crate) prefix: String,
    /// Process of the broker, to measure its processor time and memory
    #[arg(long)]
    pub(crate) pid: Option<u32>,
}

#[derive(Args)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) broker: Broker,
    #[arg(long, default_value_t = 1)]
    pub(crate) publishers: u32,
    /// Messages of one publisher that are not acknowledged yet
    #[arg(long, default_value_t = 100)]
    pub(crate) window: u16,
    /// Bytes of a body, at least 24
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(24..))]
    pub(crate) size: u32,
    /// Messages per second of all publishers together; 0: as many as the windows allow
    #[arg(long, default_value_t = 0)]
    pub(crate) rate: u64,
    /// Seconds to measure, after the warm-up
    #[arg(long, default_value_t = 5.0)]
    pub(crate) seconds: f64,
    /// Seconds of load before that
    #[arg(long, default_value_t = 1.0)]
    pub(crate) warm_up: f64,
    /// Ends after so many messages, if not before
    #[arg(long, default_value_t = u64::MAX, hide_default_value = true)]
    pub(crate) messages: u64,
    /// Who receives: `device/module`, or any client id
    #[arg(long, requires = "filter", value_name = "ID")]
    pub(crate) subscriber: Option<String>,
    /// What it subscribes
    #[arg(long)]
    pub(crate) filter: Option<String>,
    /// Seconds without any progress after which what is missing is lost
    #[arg(long, default_value_t = 10.0)]
    pub(crate) patience: f64,
    /// Seconds after the last message was sent after which what is still on its way is left there
    #[arg(long, default_value_t = 600.0)]
    pub(crate) limit: f64,
}

#[derive(Args)]
pub(crate) struct Idle {
    #[command(flatten)]
    pub(crate) broker: Broker,
    #[arg(long)]
    pub(crate) connections: u32,
    /// Seconds between pings of each; 0: none
    #[arg(long, default_value_t = 0)]
    pub(crate) ping: u16,
    /// Seconds that they stay
    #[arg(long, default_value_t = 2.0)]
    pub(crate) seconds: f64,
}

#[derive(Args)]
pub(crate) struct Proxy {
    #[arg(long)]
    pub(crate) listen: SocketAddr,
    #[arg(long)]
    pub(crate) to: SocketAddr,
    /// `up=BYTES down=BYTES connections=COUNT`, written anew every 100 ms
    #[arg(long)]
    pub(crate) counts: PathBuf,
}

#[derive(Args)]
pub(crate) struct Sync {
    /// On the disk in question
    #[arg(long)]
    pub(crate) folder: PathBuf,
    #[arg(long, default_value_t = 1000)]
    pub(crate) count: u32,
}
