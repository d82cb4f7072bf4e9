//! The routes that were last in force, on disk: a route that has become bad runs on in its last
//! good form, also after a restart of this actor or of the process.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;

use super::{RETRY, Routes};
use crate::domain::route::{Route, RouteSet};
use crate::messages::state::{Change, Fetch, Save, StoreError};

const TABLE: &str = "meta";
const KEY: &str = "routes";
const STORE_DEADLINE: Duration = Duration::from_secs(30);

/// See the module documentation.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Kept {
    pub(super) routes: BTreeMap<Arc<str>, Route>,
    /// Seconds; the global time to live.
    pub(super) ttl: Option<u64>,
    /// Most bytes of the queue.
    pub(super) max_bytes: Option<u64>,
}

impl Routes {
    /// Reads them, then what is desired: not before, or a bad route would have no good form.
    pub(super) fn load(&mut self, ctx: &mut Context<Self>) {
        let fetched = self.ports.fetch.ask(Fetch(TABLE, KEY.into()), STORE_DEADLINE);
        let fetched = fetched.into_actor(self).map(|fetched, this, ctx| {
            match fetched.unwrap_or(Err(StoreError::Unavailable)) {
                Ok(bytes) => {
                    this.kept = Some(this.read_kept(&bytes.unwrap_or_default()));
                    this.read(ctx);
                }
                Err(_) => drop(ctx.run_later(RETRY, Self::load)),
            }
        });
        fetched.spawn(ctx);
    }

    fn read_kept(&self, bytes: &[u8]) -> Kept {
        let desired = serde_json::from_slice(bytes).unwrap_or_default();
        let set = RouteSet::parse(&desired, self.identity.device_id());
        let RouteSet { good, bad, global_ttl, max_bytes, .. } = set;
        for bad in bad {
            tracing::warn!(route = bad.name, error = %bad.error, "was good, and is not any more");
        }
        let routes = good.into_iter().map(|route| (Arc::clone(&route.name), route)).collect();
        Kept { routes, ttl: global_ttl, max_bytes }
    }

    /// Writes what is in force now, until it is written.
    pub(super) fn keep(
        &mut self,
        (ttl, max_bytes): (Option<u64>, Option<u64>),
        ctx: &mut Context<Self>,
    ) {
        let kept = Some(Kept { routes: self.good.clone(), ttl, max_bytes });
        if self.kept != kept {
            self.kept = kept;
            self.save_kept(ctx);
        }
    }

    fn save_kept(&mut self, ctx: &mut Context<Self>) {
        let Some(Kept { routes, ttl, max_bytes }) = &self.kept else { return };
        let mut desired = RouteSet::to_desired(routes.values(), *ttl);
        desired["storeAndForwardConfiguration"]["storeLimits"]["maxSizeBytes"] =
            (*max_bytes).into();
        let save = Save(vec![Change::put(TABLE, KEY, desired.to_string())]);
        let saved = self.ports.save.ask(save, STORE_DEADLINE).into_actor(self);
        saved
            .map(|saved, _, ctx| {
                if let Err(error) = saved.unwrap_or(Err(StoreError::Unavailable)) {
                    tracing::warn!(%error, "the routes in force are not on disk yet; again later");
                    ctx.run_later(STORE_DEADLINE, Self::save_kept);
                }
            })
            .spawn(ctx);
    }
}
