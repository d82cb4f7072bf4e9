//! Whether EdgeHub can be reached from within a container: a firewall on the machine may drop it.

use std::net::SocketAddr;
use std::time::Duration;

use actix::prelude::*;

use super::Container;
use crate::domain::agent::observed::{Observed, Phase};
use crate::protocol::netns::reach;

/// Nothing on the same machine takes that long.
const PATIENCE: Duration = Duration::from_secs(3);

/// What is known of the way to EdgeHub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Not tried, or it cannot be.
    Unknown,
    /// Being tried.
    Trying,
    /// It is there, or at least not blocked.
    Open,
    /// It is blocked, with the rule to add.
    Blocked(String),
}

impl Way {
    /// A note, with what is to be said of the way.
    pub(super) fn added_to(&self, note: String) -> String {
        match (self, note.is_empty()) {
            (Way::Blocked(why), true) => why.clone(),
            (Way::Blocked(why), false) => format!("{note}; {why}"),
            _ => note,
        }
    }
}

impl Container {
    /// Tries the way once per run, and again at every look while it is blocked.
    pub(super) fn try_way(&mut self, observed: &Observed, ctx: &mut Context<Self>) {
        let Some(address) = self.job.assignment.hub_address else { return };
        let Some(pid) = observed.pid.filter(|_| observed.phase == Phase::Running) else { return };
        if matches!(self.way, Way::Trying | Way::Open) {
            return;
        }
        let before = self.way.clone();
        if !is_blocked(&before) {
            self.way = Way::Trying; // what is blocked is said until it is known to be otherwise
        }
        let tried = reach(pid, address, PATIENCE).into_actor(self);
        ctx.spawn(tried.map(move |reached, this, ctx| {
            this.way = match reached {
                Err(error) if error.is_blocked() => Way::Blocked(advice(address, &error)),
                _ => Way::Open,
            };
            if this.way != before && (is_blocked(&this.way) || is_blocked(&before)) {
                let module = &this.job.assignment.spec.name;
                tracing::warn!(module, way = ?this.way, "way from the container to EdgeHub");
                this.look(ctx);
            }
        }));
    }
}

fn is_blocked(way: &Way) -> bool {
    matches!(way, Way::Blocked(_))
}

fn advice(address: SocketAddr, why: &dyn std::fmt::Display) -> String {
    let (ip, port) = (address.ip(), address.port());
    let tables = if ip.is_ipv6() { "ip6tables" } else { "iptables" };
    format!(
        "EdgeHub at {address} cannot be reached from its container ({why}): a firewall on this \
         machine? allow it: {tables} -I INPUT -d {ip} -p tcp --dport {port} -j ACCEPT"
    )
}
