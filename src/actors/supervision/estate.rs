//! What a supervisor that panicked leaves behind: children that nobody watches.
//!
//! They stop bottom to top, and only then its end is told: the next life of it and of its children
//! does not meet the last one.

use std::time::Duration;

use tokio::sync::oneshot;

use super::Obituary;
use super::child::Running;
use crate::messages::supervision::Shutdown;

/// Between two looks whether a child is gone.
const LOOK: Duration = Duration::from_millis(5);

/// Children, the youngest first, and the notice of their supervisor's end.
pub(super) struct Estate {
    pub(super) children: Vec<Running>,
    pub(super) obituary: Obituary,
}

/// Whoever winds it up, in wait for as long as the supervisor lives.
pub(super) fn executor() -> oneshot::Sender<Estate> {
    let (bequeath, estate) = oneshot::channel();
    actix::spawn(async move {
        if let Ok(estate) = estate.await {
            wind_up(estate).await;
        }
    });
    bequeath
}

async fn wind_up(Estate { children, obituary }: Estate) {
    for child in children {
        child.shutdown.do_send(Shutdown); // idempotent
        let gone = async {
            while child.probe.connected() {
                tokio::time::sleep(LOOK).await;
            }
        };
        if tokio::time::timeout(child.deadline(), gone).await.is_err() {
            tracing::error!(supervisor = obituary.path(), "a child is left behind");
        }
    }
    drop(obituary); // the notice
}
