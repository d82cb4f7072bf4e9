//! Twins: desired and reported properties with their versions, shared by EdgeHub and localhub.
//!
//! `merge.rs` how a patch changes a document, `limits.rs` what a patch may hold, `document.rs` a
//! patch as a client sees it, `tracked.rs` a document with the times of its changes, as a service
//! sees it. What an edge adds to that is in `domain/edge_twin`.

pub mod document;
pub mod limits;
pub mod merge;
pub mod service;
pub mod tracked;

pub use self::document::{Properties, patch_json};
pub use self::limits::{TwinError, validate_desired, validate_reported};
pub use self::merge::{diff, diff_object, merge, merge_object};
pub use self::service::ServiceTwin;
pub use self::tracked::Tracked;

#[cfg(test)]
mod tests;
