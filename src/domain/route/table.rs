//! The routes in force, and who wins a message.

use std::sync::Arc;

use super::{Inbound, Route};
use crate::domain::row::{Endpoint, Priority};

/// Immutable, swapped whole, numbered by generation. A table of generation 0 was never set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteTable {
    generation: u64,
    /// By priority, then name by bytes: of several that go to one place the first wins.
    routes: Vec<Route>,
    global_ttl: Option<u64>,
}

/// A row that a message makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Win {
    /// Name of the route that won.
    pub route: Arc<str>,
    /// Whose row.
    pub endpoint: Endpoint,
    /// The input of the module, if the endpoint is one.
    pub input: Option<Arc<str>>,
    /// Of the route.
    pub priority: Priority,
    /// Of the route, in seconds; `None`: the global one applies.
    pub ttl: Option<u64>,
}

impl RouteTable {
    /// A table of these routes; `global_ttl` is for those without a time to live of their own.
    pub fn new(generation: u64, mut routes: Vec<Route>, global_ttl: Option<u64>) -> Self {
        routes.sort_by(|a, b| (a.priority, &a.name).cmp(&(b.priority, &b.name)));
        RouteTable { generation, routes, global_ttl }
    }

    /// Its number.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// By priority, then name.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// Seconds that messages live whose route says nothing; `None`: for ever.
    pub fn global_ttl(&self) -> Option<u64> {
        self.global_ttl
    }

    /// The route of this name.
    pub fn route(&self, name: &str) -> Option<&Route> {
        self.routes.iter().find(|route| &*route.name == name)
    }

    /// How many seconds messages of the route live: its own time to live, else the global one, which
    /// is also for what is stored of a route that is gone; `None`: for ever.
    pub fn ttl_of(&self, route: &str) -> Option<u64> {
        self.route(route).and_then(|route| route.ttl).or(self.global_ttl)
    }

    /// One row for each endpoint and input that a route takes the message to.
    pub fn winners(&self, message: &Inbound<'_>) -> Vec<Win> {
        let mut wins: Vec<Win> = Vec::new();
        for route in &self.routes {
            let is_taken =
                wins.iter().any(|win| win.endpoint == route.endpoint && win.input == route.input);
            if !is_taken && route.takes(message) {
                wins.push(Win {
                    route: route.name.clone(),
                    endpoint: route.endpoint.clone(),
                    input: route.input.clone(),
                    priority: route.priority,
                    ttl: route.ttl,
                });
            }
        }
        wins
    }
}
