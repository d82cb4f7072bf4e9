//! Whether EdgeHub can be reached from within a container: a firewall on the machine may drop it.

use std::net::SocketAddr;
use std::time::Duration;

use actix::prelude::*;

use super::Container;
use super::finding::Finding;
use crate::domain::agent::observed::{Observed, Phase};
use crate::protocol::netns::reach;

/// Nothing on the same machine takes that long.
const PATIENCE: Duration = Duration::from_secs(3);

impl Container {
    /// Tries the way once per run, and again at every look while it is blocked.
    pub(super) fn try_way(&mut self, observed: &Observed, ctx: &mut Context<Self>) {
        let Some(address) = self.job.assignment.hub_address else { return };
        let Some(pid) = observed.pid.filter(|_| observed.phase == Phase::Running) else { return };
        let Some(before) = self.way.ask() else { return };
        let tried = reach(pid, address, PATIENCE).into_actor(self);
        ctx.spawn(tried.map(move |reached, this, ctx| {
            this.way = match reached {
                Err(error) if error.is_blocked() => Finding::Bad(advice(address, &error)),
                _ => Finding::Good, // or at least not blocked
            };
            this.on_found(&this.way.clone(), &before, "way from the container to EdgeHub", ctx);
        }));
    }
}

fn advice(address: SocketAddr, why: &dyn std::fmt::Display) -> String {
    let (ip, port) = (address.ip(), address.port());
    let tables = if ip.is_ipv6() { "ip6tables" } else { "iptables" };
    format!(
        "EdgeHub at {address} cannot be reached from its container ({why}): a firewall on this \
         machine? allow it: {tables} -I INPUT -d {ip} -p tcp --dport {port} -j ACCEPT"
    )
}
