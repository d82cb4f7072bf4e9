//! When a message came to the hub, by the hub's own clock.
//!
//! next: `clock.rs`

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use edge_runtime::domain::iso8601;

use crate::support::world::World;

/// Since 1970.
pub(crate) fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

/// Reads on in the hub's telemetry.
#[derive(Default)]
pub(crate) struct News(u64);

impl News {
    /// All that the hub took before `since`.
    pub(crate) fn skip(&mut self, world: &World, since: Duration) {
        while let Some((items, next)) = world.hub.service.telemetry(self.0) {
            if items.is_empty() || items.iter().any(|item| taken(item) >= since) {
                return;
            }
            self.0 = next;
        }
    }

    /// When the hub took the first message after `since`.
    pub(crate) fn first(&self, world: &World, since: Duration) -> Option<Duration> {
        let (items, _) = world.hub.service.telemetry(self.0)?;
        items.iter().map(taken).find(|at| *at >= since)
    }
}

fn taken(item: &serde_json::Value) -> Duration {
    iso8601::parse(item["enqueuedTime"].as_str().unwrap()).unwrap()
}
