//! What programs and people on this machine ask the runtime: modules, operators, Prometheus.

pub mod management;
pub mod metrics;
pub mod overview;
#[cfg(test)]
mod probe;
mod socket;
pub mod workload;
