//! Deliberately broken behaviour that the fault loops in `integration/` must catch.
//!
//! Besides, `EDGE_DIE_AT` names a point at which the process is killed: see [`point`].
//!
//! Only in builds with the feature `faults`, and only the one that `EDGE_MUTANT` names:
//! `ack-before-commit`, `delete-before-ack`, `stale-routes`, `high-water-dedupe`, `nosync`.

/// Whether this process is the mutant `name`.
#[cfg(feature = "faults")]
pub fn is(name: &str) -> bool {
    static MUTANT: std::sync::LazyLock<String> =
        std::sync::LazyLock::new(|| std::env::var("EDGE_MUTANT").unwrap_or_default());
    *MUTANT == name
}

/// A step after which a crash must do no harm: the process ends here, as by a SIGKILL, if
/// `EDGE_DIE_AT` names it.
#[cfg(any(test, feature = "faults"))]
pub fn point(name: &str) {
    die_where(|named| named == name);
}

/// The same for a step that is done for one of many: `EDGE_DIE_AT` may name it, too, after a space.
#[cfg(any(test, feature = "faults"))]
pub fn point_of(name: &str, whose: &str) {
    die_where(|named| named == name || named.split_once(' ') == Some((name, whose)));
}

#[cfg(any(test, feature = "faults"))]
fn die_where(is_it: impl Fn(&str) -> bool) {
    use rustix::process::{Signal, getpid, kill_process};
    static POINT: std::sync::LazyLock<String> =
        std::sync::LazyLock::new(|| std::env::var("EDGE_DIE_AT").unwrap_or_default());
    if is_it(&POINT) {
        let _ = kill_process(getpid(), Signal::KILL); // there is nobody left to tell
        std::thread::park();
    }
}

/// Nothing happens.
#[cfg(not(any(test, feature = "faults")))]
pub const fn point(_: &str) {}

/// Nothing happens.
#[cfg(not(any(test, feature = "faults")))]
pub const fn point_of(_: &str, _: &str) {}

/// No mutant is built in.
#[cfg(not(feature = "faults"))]
pub const fn is(_: &str) -> bool {
    false
}
