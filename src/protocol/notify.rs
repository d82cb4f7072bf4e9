//! Tells the service manager how we do (`sd_notify`); nothing happens where there is none.

use std::time::Duration;

use sd_notify::NotifyState;

/// We serve. Sent once, when every part is up.
pub fn ready(status: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// One line for `systemctl status`.
pub fn status(line: &str) {
    send(&[NotifyState::Status(line)]);
}

/// We stop, in order.
pub fn stopping() {
    send(&[NotifyState::Stopping]);
}

/// The root supervisor is alive: to be called at least every [`watchdog_period`].
pub fn watchdog() {
    send(&[NotifyState::Watchdog]);
}

/// How often the watchdog wants to be fed: half of what the service manager tolerates.
pub fn watchdog_period() -> Option<Duration> {
    let mut micros = 0;
    sd_notify::watchdog_enabled(false, &mut micros).then(|| Duration::from_micros(micros / 2))
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(why) = sd_notify::notify(false, states) {
        tracing::debug!(%why, "the service manager cannot be told");
    }
}
