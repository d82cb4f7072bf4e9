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
    /// `active`, `draining`, or `bad`.
    pub state: String,
    /// Why it is bad.
    pub error: Option<String>,
}
