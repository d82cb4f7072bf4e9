//! The actors of the hub: what EdgeHub is made of, and in part the local hub.

pub mod identities;
pub mod local_topics;
pub mod queue;
pub mod route;
pub mod routes;
pub mod state;
pub mod twins;
pub mod upstream;
