//! What the parent sends: to whom it goes on.

use std::time::Duration;

use actix::prelude::*;
use bytes::Bytes;
use tracing::{debug, warn};

use super::Upstream;
use crate::actors::clock;
use crate::domain::identity::Identity;
use crate::domain::link::down::LinkDown;
use crate::domain::link::up::LinkUp;
use crate::domain::method::{Call, Outcome};
use crate::messages::client::Down;
use crate::messages::identities::ScopeChanged;
use crate::messages::sessions::{self, Invoke};
use crate::messages::twins::DesiredPatched;
use crate::messages::upstream::LinkAnswer;

/// The longest that a method may take; the parent's own time-out is not on the wire, and sooner.
const METHOD: Duration = Duration::from_secs(300);
/// The sessions end each call in time; this is for when they are gone.
const METHOD_DEADLINE: Duration = Duration::from_secs(305);

impl Upstream {
    pub(super) fn on_received(&mut self, topic: &str, payload: Bytes, ctx: &mut Context<Self>) {
        let Ok(down) = LinkDown::parse(topic) else {
            return debug!(topic, "the parent sends what the link does not have");
        };
        match down {
            LinkDown::Answer { status, rid, version, .. } => {
                self.on_answered(rid, LinkAnswer { status, body: payload, version }, ctx);
            }
            LinkDown::Refused(_, status, stamp) => {
                self.on_refused(status, stamp, &payload, ctx);
            }
            LinkDown::ScopePatch(_, version) => self.ports.scope.tell(ScopeChanged { version }),
            LinkDown::Desired(identity, version) => {
                self.ports.desired.tell(DesiredPatched { identity, version, patch: payload });
            }
            LinkDown::Method(target, name, rid) => self.invoke(target, name, rid, payload, ctx),
            LinkDown::CloudToDevice(to, lock, _) if self.settled.has(&to, &lock, clock::now()) => {
                self.publish(&LinkUp::Settle(to, lock), Bytes::new(), ctx); // it has not heard of it
            }
            LinkDown::CloudToDevice(to, lock, bag) => {
                // nobody there: the parent keeps it, and gives it again
                let what = Down::CloudToDevice { lock, bag, body: payload };
                self.ports.send.tell(sessions::Send { to, what });
            }
        }
    }

    fn invoke(
        &mut self,
        target: Identity,
        name: String,
        rid: u64,
        payload: Bytes,
        ctx: &mut Context<Self>,
    ) {
        let payload = if payload.is_empty() { Bytes::from_static(b"null") } else { payload };
        let call =
            Call { name, payload, response_timeout: METHOD, connect_timeout: Duration::ZERO };
        let port = match target == self.edge_agent {
            true => &self.ports.of_agent,
            false => &self.ports.invoke,
        };
        let was_there = port.is_live();
        let ended = port.ask(Invoke { target: target.clone(), call }, METHOD_DEADLINE);
        let generation = self.generation;
        let ended = ended.into_actor(self).map(move |outcome, this, ctx| {
            if this.generation != generation {
                return warn!(%target, "a method ended after its link was lost: not answered");
            }
            let (topic, payload) = match outcome {
                Ok(Outcome::Answered(status, payload)) => {
                    (LinkUp::MethodAnswer(target, status, rid), payload)
                }
                Ok(Outcome::TimedOut) => (LinkUp::MethodError(target, 504, rid), Bytes::new()),
                Err(_) if was_there => (LinkUp::MethodError(target, 504, rid), Bytes::new()),
                Ok(Outcome::NotConnected) | Err(_) => {
                    (LinkUp::MethodError(target, 404, rid), Bytes::new())
                }
            };
            this.publish(&topic, payload, ctx);
        });
        ended.spawn(ctx);
    }
}
