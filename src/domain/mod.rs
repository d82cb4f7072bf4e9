//! Decisions. Nothing here sleeps, reads a clock, opens a file or knows an actor.

pub mod agent;
pub mod backoff;
pub mod bag;
pub mod calls;
pub mod connection_string;
pub mod delivery;
pub mod directory;
pub mod edge_twin;
pub mod features;
pub mod identity;
pub mod iso8601;
pub mod link;
pub mod method;
pub mod packet;
pub mod packet_ids;
pub mod registry;
pub mod restart;
pub mod route;
pub mod row;
pub mod sas;
pub mod service_error;
pub mod topic;
pub mod tree;
pub mod twin;
pub mod user_name;
pub mod workload;
