//! The endpoint: MQTT for clients, the same for EdgeHub and localhub, over ports.
//!
//! ```text
//!  listener ─stream─► sessions ─greeting─► connection (or link server)
//!                        │ who is online       │ packets
//!                        └──── ports ──────────┴───► queue, twins, identities, …
//! ```
//!
//! next: `listener.rs`

pub mod backend;
pub mod budget;
pub mod connection;
pub mod doorkeeper;
pub mod greeting;
pub mod link_server;
pub mod listener;
pub mod local;
pub mod reader;
pub mod sessions;
pub mod stream;
pub mod watch;
pub mod writer;
