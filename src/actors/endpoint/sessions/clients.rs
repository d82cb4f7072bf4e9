//! Who is connected, in the reported properties of `$edgeHub`: one patch for all that has changed.

use std::time::Duration;

use actix::prelude::*;

use super::Sessions;
use crate::actors::clock;
use crate::domain::identity::Identity;
use crate::messages::sessions::json;
use crate::messages::twins::PatchReported;

/// 5,000 clients that come at once make two patches, not 5,000.
const EVERY: Duration = Duration::from_secs(5);
const DEADLINE: Duration = Duration::from_secs(30);

impl Sessions {
    /// On an edge.
    pub(super) fn report_clients_ever(&self, ctx: &mut Context<Self>) {
        let device = self.backend.edge_device.as_deref();
        let edge_hub = device.and_then(|device| Identity::module(device, "$edgeHub").ok());
        let Some(edge_hub) = edge_hub else { return };
        self.report_clients_later(edge_hub, ctx);
    }

    fn report_clients_later(&self, edge_hub: Identity, ctx: &mut Context<Self>) {
        ctx.run_later(EVERY, |this, ctx| this.report_clients(edge_hub, ctx));
    }

    fn report_clients(&mut self, edge_hub: Identity, ctx: &mut Context<Self>) {
        let patch = self.clients.as_mut().filter(|_| self.is_changed.take()).and_then(|clients| {
            let online = self.directory.online().map(|(identity, _)| identity);
            clients.on_online(online, clock::unix_time());
            clients.patch()
        });
        let Some(patch) = patch else { return self.report_clients_later(edge_hub, ctx) };
        self.is_changed.set(true); // the first patch clears only
        let report = PatchReported { identity: edge_hub.clone(), patch: json(&patch) };
        let reported = self.backend.patch_reported.ask(report, DEADLINE).into_actor(self);
        let reported = reported.map(|reported, this, ctx| {
            let is_taken = reported.is_ok_and(|answer| answer.status < 300);
            if let Some(clients) = this.clients.as_mut().filter(|_| !is_taken) {
                tracing::warn!("which clients are connected cannot be reported now");
                clients.on_not_reported();
            }
            this.report_clients_later(edge_hub, ctx);
        });
        reported.spawn(ctx);
    }
}
