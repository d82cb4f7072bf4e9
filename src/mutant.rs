//! Deliberately broken behaviour that the fault loops in `integration/` must catch.
//!
//! Only in builds with the feature `faults`, and only the one that `EDGE_MUTANT` names:
//! `ack-before-commit`, `delete-before-ack`, `stale-routes`, `high-water-dedupe`.

/// Whether this process is the mutant `name`.
#[cfg(feature = "faults")]
pub fn is(name: &str) -> bool {
    static MUTANT: std::sync::LazyLock<String> =
        std::sync::LazyLock::new(|| std::env::var("EDGE_MUTANT").unwrap_or_default());
    *MUTANT == name
}

/// No mutant is built in.
#[cfg(not(feature = "faults"))]
pub const fn is(_: &str) -> bool {
    false
}
