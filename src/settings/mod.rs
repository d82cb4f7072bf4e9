//! Settings of the programs: typed, layered, and every mistake in them named with its place.
//!
//! `schema.rs` lists the keys, `layers.rs` puts the sources on top of each other,
//! `edge.rs` and `hub.rs` are what the programs get.

mod apis;
mod certificates;
mod checks;
mod edge;
mod error;
mod file;
mod hub;
mod images;
mod kind;
mod layers;
mod local_topics;
mod schema;
mod store;
#[cfg(test)]
mod tests;
mod values;

pub use self::apis::{Audit, Management};
pub use self::certificates::Certificates;
pub use self::edge::{
    Agent, Device, EdgeSettings, Hub, Metrics, RegistryCredential, State, Upstream,
};
pub use self::error::SettingsError;
pub use self::hub::{LocalhubSettings, Telemetry};
pub use self::images::Images;
pub use self::layers::{Effective, Layers, Loaded};
pub use self::local_topics::LocalTopics;
pub use self::store::Store;
pub use self::values::{Age, Log, LogFormat, Size};

/// Exit status of bad settings (`EX_CONFIG`): a service manager does not try again.
pub const EX_CONFIG: u8 = 78;

/// Name of this machine.
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
