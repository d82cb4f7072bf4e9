//! What a set of routes makes of many messages: only counts.

use std::collections::BTreeMap;

use serde::Serialize;

use super::case::place;
use super::condition::Observer;
use super::{Inbound, Judged, Route, RouteTable};

/// The counts so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Messages.
    pub messages: u64,
    /// … that no route takes.
    pub unrouted: u64,
    /// … whose records cannot be read; they are not among the messages.
    pub damaged: u64,
    /// Every route, by priority, then name.
    pub routes: Vec<RouteTally>,
    /// How many each endpoint and input gets.
    pub endpoints: BTreeMap<String, u64>,
}

/// Of one route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RouteTally {
    /// Its name.
    pub name: String,
    /// `$upstream`, or `device/module/input`.
    pub endpoint: String,
    /// Source and condition are right.
    pub matched: u64,
    /// … and no other route takes the message to the same place before it.
    pub wins: u64,
}

impl Tally {
    /// Nothing was counted yet.
    pub fn new(table: &RouteTable) -> Self {
        let line = |route: &Route| RouteTally {
            name: route.name.to_string(),
            endpoint: place(&route.endpoint.0, route.input.as_deref()),
            ..RouteTally::default()
        };
        Tally { routes: table.routes().iter().map(line).collect(), ..Tally::default() }
    }

    /// Counts a message; `table` is always the same.
    pub fn count(&mut self, table: &RouteTable, message: &Inbound<'_>) {
        let outcome = table.judge(message, &mut Lines { lines: self.routes.iter_mut() });
        self.messages += 1;
        self.unrouted += u64::from(outcome.wins.is_empty());
        for win in outcome.wins {
            let place = place(&win.endpoint.0, win.input.as_deref());
            *self.endpoints.entry(place).or_default() += 1;
        }
    }
}

/// Is told of every route, in order.
struct Lines<'t> {
    lines: std::slice::IterMut<'t, RouteTally>,
}

impl Observer for Lines<'_> {
    const EVERY: bool = true;

    fn route(&mut self, _: &Route, judged: Judged) {
        let Some(line) = self.lines.next() else { return };
        line.matched += u64::from(matches!(judged, Judged::Wins | Judged::Beaten));
        line.wins += u64::from(judged == Judged::Wins);
    }
}
