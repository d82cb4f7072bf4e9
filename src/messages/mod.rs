//! The words actors exchange: one file for each actor, or kind of actor, that answers to them.

pub mod agent;
pub mod certificates;
pub mod chain;
pub mod client;
pub mod dead_letters;
pub mod devicebound;
pub mod engine;
pub mod identities;
pub mod local_topics;
pub mod modules;
pub mod queue;
pub mod registry;
pub mod routes;
pub mod salvage;
pub mod service_twins;
pub mod sessions;
pub mod state;
pub mod supervision;
pub mod telemetry;
pub mod trace;
pub mod twins;
pub mod upstream;
