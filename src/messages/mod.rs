//! The words actors exchange: one file for each actor, or kind of actor, that answers to them.

pub mod agent;
pub mod client;
pub mod identities;
pub mod queue;
pub mod routes;
pub mod sessions;
pub mod state;
pub mod supervision;
pub mod twins;
pub mod upstream;
