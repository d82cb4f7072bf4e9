//! What programs and people on this machine ask the runtime: modules, operators, Prometheus.

pub mod workload;
