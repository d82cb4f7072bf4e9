//! The one place that reads the wall clock.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970, for token expiry.
#[allow(clippy::disallowed_methods)] // a token carries wall-clock time; nothing else here reads it
pub(crate) fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Something that differs from one process and attempt to the next: for jitter only.
#[allow(clippy::disallowed_methods)] // the nanoseconds of the clock are noise enough for jitter
pub(crate) fn noise() -> u32 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.subsec_nanos())
}
