//! The route table as the store asks it.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::identity::Identity;
use crate::domain::route::{Inbound, RouteTable, SourceKind};
use crate::store::queue::{Lifetime, Matcher, Message, Win};

/// A route table at an edge device.
pub(super) struct Routed {
    table: Arc<RouteTable>,
    edge_device: String,
}

impl Routed {
    pub(super) fn new(table: Arc<RouteTable>, identity: &Identity) -> Self {
        Routed { table, edge_device: identity.device_id().into() }
    }
}

impl Matcher for Routed {
    fn winners(&self, message: &Message) -> Vec<Win> {
        let Message { sender, bag, body, .. } = message;
        let inbound = Inbound::of(sender, &self.edge_device, bag, body);
        let wins = self.table.winners(&inbound).into_iter().map(|win| Win {
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
        let inbound = Inbound::of(sender, &self.edge_device, bag, body);
        match (inbound.kind, sender.module_id(), inbound.output()) {
            (SourceKind::TwinChange, ..) => "/twinChangeNotifications".into(),
            (_, None, _) => "/messages".into(),
            (_, Some(module), None) => format!("/messages/modules/{module}"),
            (_, Some(module), Some(output)) => {
                format!("/messages/modules/{module}/outputs/{output}")
            }
        }
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
