//! Twins: desired and reported properties with their versions, shared by EdgeHub and localhub.
//!
//! `merge.rs` how a patch changes a document, `limits.rs` what a patch may hold, `document.rs` a
//! twin as a client sees it, `pending.rs` patches on their way to the parent, `tracked.rs` a
//! document with the times of its changes, as a service sees it.

pub mod document;
pub mod limits;
pub mod merge;
pub mod pending;
pub mod service;
pub mod tracked;

pub use self::document::{Applied, Document, Properties, apply_desired, patch_json};
pub use self::limits::{TwinError, validate_desired, validate_reported};
pub use self::merge::{diff, merge};
pub use self::pending::PendingPatches;
pub use self::service::ServiceTwin;
pub use self::tracked::Tracked;

#[cfg(test)]
mod tests;
