//! An open IoT Edge runtime: EdgeAgent, EdgeHub and a local hub, as one supervision tree.
//!
//! Start reading at `domain/tree.rs`, which declares every actor. ARCHITECTURE.md has the map.

#[cfg(panic = "abort")]
compile_error!("supervision needs panic = \"unwind\": a panic must end one actor, not the process");

pub mod actors;
pub mod cli;
pub mod ctl;
pub mod domain;
pub mod localhub;
pub mod messages;
pub mod mutant;
pub mod protocol;
pub mod settings;
pub mod store;
