//! The clocks of the shells. Timers and `now` follow tokio's clock, which tests can pause.

use std::time::{Duration, Instant};

/// Monotonic time.
pub fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Wall-clock time since the epoch. Only for tokens, certificates and what people read.
#[expect(clippy::disallowed_methods, reason = "the one place where the wall clock is read")]
pub fn unix_time() -> Duration {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default()
}
