//! What is asked of the runtime beside MQTT: by modules, operators, Prometheus.

pub mod clients;
pub mod management;
pub mod metrics;
pub mod overview;
#[cfg(test)]
mod probe;
mod route_lines;
mod socket;
pub mod workload;
