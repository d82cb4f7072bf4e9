//! What the route actors, and those that follow the route table, answer to.

use std::sync::Arc;

use actix::Message;

use crate::domain::route::RouteTable;

/// The table to match with from now on; swapped whole, numbered by generation. Answers once it
/// is in force.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct SetRoutes(pub Arc<RouteTable>);

/// The account of the routes as set.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Vec<RouteStatus>")]
pub struct ListRoutes;

/// One route.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RouteStatus {
    /// Name; empty if it is the desired properties of `$edgeHub` as a whole that are bad.
    pub name: String,
    /// Its text.
    pub text: String,
    /// `active` or `bad`.
    pub state: String,
    /// `$upstream` or `device/module/input`; empty if it is bad.
    pub endpoint: String,
    /// 0 to 9; `None`: after those.
    pub priority: Option<u8>,
    /// Its own.
    pub time_to_live_seconds: Option<u64>,
    /// Its own, or else the global one; `None`: its messages do not expire.
    pub lives_seconds: Option<u64>,
    /// Why it is bad.
    pub error: Option<String>,
}

/// A route at an endpoint, for an operator: what was set, and its account.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RouteLine {
    /// As it was set; of a route that is gone only its name is known.
    #[serde(flatten)]
    pub route: RouteStatus,
    /// Messages that it took here.
    pub matched: u64,
    /// Those that the endpoint has.
    pub delivered: u64,
    /// Still owed.
    pub lag: Lag,
    /// Refused for good, and kept.
    pub dead_letters: Lag,
    /// Their time to live was over.
    pub expired: u64,
    /// By an operator.
    pub discarded: u64,
}

/// What waits.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Lag {
    /// How many.
    pub messages: u64,
    /// Of properties and bodies.
    pub bytes: u64,
    /// Age of the oldest in seconds of store time, if it is known.
    pub oldest_seconds: Option<u64>,
    /// … or at most that.
    pub oldest_is_at_most: bool,
}
