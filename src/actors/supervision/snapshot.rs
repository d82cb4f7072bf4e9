//! The running tree, as its actors tell it: held against the declared one by a test.

use std::time::Duration;

use actix::prelude::*;
use futures_util::future::join_all;

use super::child::Running;
use super::supervisor::Supervisor;
use crate::actors::clock;
use crate::messages::supervision::{PanicAt, Probe, Snapshot, TakeSnapshot};

/// An actor that does not answer in this time is reported as unresponsive.
const DEADLINE: Duration = Duration::from_secs(2);

/// Asks one child, and those below it. Paths begin with `name`.
pub async fn snapshot_of(
    name: String,
    running: Option<Running>,
    restarts: u64,
    last_error: Option<String>,
) -> Vec<Snapshot> {
    let mut own = Snapshot {
        path: name.clone(),
        status: "waiting".into(),
        health: Default::default(),
        lag: None,
        restarts,
        last_error,
    };
    let Some(running) = running else { return vec![own] };
    let asked = clock::now();
    match running.probe.send(Probe).timeout(DEADLINE).await {
        Ok(health) => {
            own.status = "running".into();
            own.health = health;
            own.lag = Some(clock::now() - asked);
        }
        Err(_) => own.status = "unresponsive".into(),
    }
    let mut all = vec![own];
    if let Some(below) = running.snapshot
        && let Ok(below) = below.send(TakeSnapshot).timeout(DEADLINE * 2).await
    {
        let prefixed =
            below.into_iter().map(|one| Snapshot { path: format!("{name}/{}", one.path), ..one });
        all.extend(prefixed);
    }
    all
}

/// Makes a child, or one below it, panic; answers whether there is one.
pub fn panic_below(running: Option<Running>, path: Vec<String>) -> ResponseFuture<bool> {
    Box::pin(async move {
        let Some(running) = running else { return false };
        if path.is_empty() {
            running.panic.do_send(crate::messages::supervision::Panic);
            return true;
        }
        match running.panic_at {
            Some(below) => below.send(PanicAt(path)).await.unwrap_or(false),
            None => false,
        }
    })
}

impl Handler<TakeSnapshot> for Supervisor {
    type Result = ResponseFuture<Vec<Snapshot>>;

    fn handle(&mut self, _: TakeSnapshot, _: &mut Self::Context) -> Self::Result {
        let each = self.children.iter().map(|child| {
            let (running, error) = (child.running.clone(), child.last_error.clone());
            snapshot_of(child.name.clone(), running, child.restarts, error)
        });
        let all = join_all(each.collect::<Vec<_>>());
        Box::pin(async move { all.await.concat() })
    }
}
