//! The clocks of the shells. Timers and `now` follow tokio's clock, which tests can pause.

use std::time::{Duration, Instant};

/// Monotonic time.
pub fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Wall-clock time since the epoch. Only for tokens, certificates and what people read.
#[expect(clippy::disallowed_methods, reason = "the one place where the wall clock is read")]
pub fn unix_time() -> Duration {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.unwrap_or_default();
    #[cfg(test)]
    let now = now + AHEAD.get();
    now
}

#[cfg(test)]
thread_local! {
    /// By how much the wall clock of a test was put forward.
    static AHEAD: std::cell::Cell<Duration> = const { std::cell::Cell::new(Duration::ZERO) };
}

/// Puts the wall clock of this test forward, in all.
#[cfg(test)]
pub fn put_forward(by: Duration) {
    AHEAD.set(by);
}
