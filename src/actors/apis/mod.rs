//! What is asked of the runtime beside MQTT: by modules, operators, Prometheus.

pub mod bundle;
pub mod clients;
mod details;
pub mod logs;
pub mod management;
pub mod methods;
pub mod metrics;
pub mod overview;
#[cfg(test)]
mod probe;
mod refusals;
mod route_lines;
pub mod socket;
mod versions;
pub mod workload;
