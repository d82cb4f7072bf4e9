//! The local hub: a backend of its own behind the shared endpoint, and REST for service clients.
//!
//! ```text
//!  endpoint ─LogIn, AskScope────► registry ──┐
//!     │─────GetTwin, Patch──────► twins ─────┤ Save, then answer
//!     │─────Ingest──────────────► telemetry ─┼────────────────► state
//!     │◄────Pull, Finish────────► devicebound┤
//!     └─────PresenceChanged─────► presence ──┘
//!                 rest ─► asks them all, and sessions for direct methods; uploads go to files
//! ```
//!
//! next: `registry/mod.rs`

pub mod devicebound;
pub mod files;
pub mod presence;
pub mod random;
pub mod registry;
pub mod rest;
pub mod start;
pub mod tables;
pub mod telemetry;
#[cfg(test)]
mod testing;
pub mod twins;
mod wires;
