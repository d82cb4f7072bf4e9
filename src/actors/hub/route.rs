//! One route: what an operator sees of it. Messages are matched with the table as a whole, so a
//! route that fails holds up nothing.

use actix::prelude::*;

use crate::actors::supervision::{Obituary, Supervised};
use crate::domain::route::Route;
use crate::messages::supervision::Health;

/// See the module documentation.
pub struct RouteActor {
    route: Route,
    obituary: Obituary,
}

impl RouteActor {
    /// Stands for `route` in the tree.
    pub fn new(route: Route, obituary: Obituary) -> Self {
        RouteActor { route, obituary }
    }
}

impl Actor for RouteActor {
    type Context = Context<Self>;
}

impl Supervised for RouteActor {
    fn obituary(&mut self) -> &mut Obituary {
        &mut self.obituary
    }

    fn health(&self) -> Health {
        Health { state: format!("active: {}", self.route.text) }
    }
}
crate::supervised!(RouteActor);
