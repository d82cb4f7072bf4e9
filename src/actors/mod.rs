//! Thin shells: each turns a message into a `domain` call, and its effects into messages.

pub mod agent;
pub mod apis;
pub mod certificates;
pub mod clock;
pub mod endpoint;
pub mod hub;
pub(crate) mod in_order;
pub mod port;
pub mod process;
pub mod runtime;
pub mod salvage;
#[cfg(test)]
pub(crate) mod stand_in;
pub mod supervision;
pub(crate) mod suspect;
