//! Being asked to stop. PID 1 of a container has no default signal handlers: without this a
//! module from scratch ignores SIGTERM and is killed after the grace period.

use tokio::signal::unix::{SignalKind, signal};

/// Resolves on SIGTERM or SIGINT; never if handlers cannot be installed.
pub async fn stopped() {
    let (Ok(mut term), Ok(mut int)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => (),
        _ = int.recv() => (),
    }
}
