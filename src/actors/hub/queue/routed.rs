//! The route table as the store asks it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::domain::identity::Identity;
use crate::domain::route::{Inbound, RouteTable};
use crate::store::queue::{Lifetime, Matcher, Message, Win};

/// A route table at an edge device.
pub(super) struct Routed {
    table: Arc<RouteTable>,
    edge_device: String,
    not_json: Arc<AtomicU64>,
}

impl Routed {
    pub(super) fn new(table: Arc<RouteTable>, identity: &Identity) -> Self {
        Routed { table, edge_device: identity.device_id().into(), not_json: Arc::default() }
    }

    /// Counts messages whose body a condition asked for, and which is not the JSON that they say it is.
    pub(super) fn counting(self, not_json: Arc<AtomicU64>) -> Self {
        Routed { not_json, ..self }
    }
}

impl Matcher for Routed {
    fn winners(&self, message: &Message) -> Vec<Win> {
        let Message { sender, bag, body, .. } = message;
        let inbound = Inbound::of(sender, &self.edge_device, bag, body);
        let outcome = self.table.judge(&inbound, &mut ());
        if outcome.is_body_bad {
            self.not_json.fetch_add(1, Ordering::Relaxed);
        }
        let wins = outcome.wins.into_iter().map(|win| Win {
            endpoint: win.endpoint,
            input: win.input,
            route: win.route,
            priority: win.priority,
            time_to_live: win.ttl.map(seconds),
        });
        wins.collect()
    }

    fn source(&self, message: &Message) -> String {
        let Message { sender, bag, body, .. } = message;
        Inbound::of(sender, &self.edge_device, bag, body).source()
    }

    fn lifetime(&self, route: &str) -> Lifetime {
        match self.table.route(route) {
            Some(route) => route.ttl.map_or(Lifetime::Global, |ttl| Lifetime::Own(seconds(ttl))),
            None => Lifetime::Unknown,
        }
    }
}

fn seconds(ttl: u64) -> Duration {
    Duration::from_secs(ttl)
}
