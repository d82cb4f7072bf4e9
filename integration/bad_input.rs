//! What bad input gets, from outside, with the real programs: it is refused, the reason is said
//! where it is looked for, nothing is stored, and nobody else is disturbed.
//!
//! `engine.rs` needs a container engine; the rest needs loopback only.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "bad_input/clients.rs"]
mod clients;
#[path = "bad_input/connects.rs"]
mod connects;
#[path = "bad_input/door.rs"]
mod door;
#[path = "bad_input/engine.rs"]
mod engine;
#[path = "agent/image.rs"]
mod image;
#[path = "bad_input/instances.rs"]
mod instances;
#[path = "bad_input/log_in.rs"]
mod log_in;
#[path = "bad_input/routes.rs"]
mod routes;
#[path = "bad_input/settings.rs"]
mod settings;
#[path = "bad_input/sockets.rs"]
mod sockets;
mod support;
#[path = "bad_input/witness.rs"]
mod witness;
