//! Which identities of modules go: those that this agent made, and that no module is wanted for.
//!
//! They come one by one: `plan/effort.rs` says when a module needs one.
//! next: `actors/agent/roster.rs`.

use std::collections::BTreeSet;

/// Of those that it made, by module, with what is known of each.
pub fn gone<T>(mut made: Vec<(String, T)>, wanted: &BTreeSet<String>) -> Vec<(String, T)> {
    made.retain(|(module, _)| !wanted.contains(module));
    made
}
