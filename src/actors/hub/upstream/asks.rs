//! Requests on the link: of others in this process, of presence, and of the link itself.

use std::time::Duration;

use actix::prelude::*;
use bytes::Bytes;
use tokio::sync::oneshot;
use tracing::warn;

use super::Upstream;
use crate::actors::clock;
use crate::domain::identity::Identity;
use crate::domain::link::up::LinkUp;
use crate::messages::sessions::{PresenceChanged, Settle};
use crate::messages::upstream::{Ask, LinkAnswer, NotConnected, Request};

/// A client's SUBACK waits no longer for the parent.
const PRESENCE_DEADLINE: Duration = Duration::from_secs(2);

/// A request that is not answered yet.
pub(super) enum Pending {
    /// Of another actor.
    Ask(Identity, Ask, oneshot::Sender<LinkAnswer>),
    /// The features that the identity has when it is sent; or that it left.
    Presence(Identity, Vec<oneshot::Sender<()>>),
    /// A new token.
    Token(String),
}

impl Handler<Request> for Upstream {
    type Result = ResponseFuture<Result<LinkAnswer, NotConnected>>;

    fn handle(&mut self, request: Request, ctx: &mut Self::Context) -> Self::Result {
        let (answer, answered) = oneshot::channel();
        if self.line.is_up() {
            self.requests.push(Pending::Ask(request.identity, request.what, answer));
            self.send_requests(ctx);
        } // else `answer` is gone, and that is the answer
        Box::pin(async move { answered.await.map_err(|_| NotConnected) })
    }
}

impl Handler<PresenceChanged> for Upstream {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, presence: PresenceChanged, ctx: &mut Self::Context) -> Self::Result {
        let PresenceChanged { identity, features } = presence;
        let is_news = self.attached.on_presence(&identity, features);
        let (done, told) = oneshot::channel();
        if self.line.is_up() && is_news {
            self.push_presence(&identity, vec![done]);
            self.send_requests(ctx);
        } else if let Some(rid) = self.attached.telling(&identity)
            && let Some(Pending::Presence(_, waiting)) = self.requests.get_mut(rid)
        {
            waiting.push(done); // the parent is being told of just this
        } // else `done` is gone, and the answer is there
        Box::pin(async move {
            let _ = tokio::time::timeout(PRESENCE_DEADLINE, told).await;
        })
    }
}

impl Handler<Settle> for Upstream {
    type Result = ();

    fn handle(&mut self, Settle { identity, lock }: Settle, ctx: &mut Self::Context) {
        self.settled.on_settled(&identity, &lock, clock::now());
        // Without a link it is told when it gives the message again.
        self.publish(&LinkUp::Settle(identity, lock), Bytes::new(), ctx);
    }
}

impl Upstream {
    /// Tells the parent how an identity stands now; an earlier telling must not come after it.
    pub(super) fn push_presence(
        &mut self,
        identity: &Identity,
        mut waiting: Vec<oneshot::Sender<()>>,
    ) {
        let earlier = self.attached.telling(identity).and_then(|rid| self.requests.take(rid));
        if let Some(Pending::Presence(_, earlier)) = earlier {
            waiting.extend(earlier);
        }
        let rid = self.requests.push(Pending::Presence(identity.clone(), waiting));
        self.attached.on_telling(identity, rid);
    }

    pub(super) fn send_requests(&mut self, ctx: &mut Context<Self>) {
        while self.line.is_up() {
            let Some((rid, pending)) = self.requests.send(clock::now()) else { return };
            let (topic, payload) = match pending {
                Pending::Ask(_, _, answer) if answer.is_closed() => {
                    self.requests.take(rid); // nobody waits any more
                    continue;
                }
                Pending::Ask(who, Ask::TwinGet, _) => {
                    (LinkUp::TwinGet(who.clone(), rid), Bytes::new())
                }
                Pending::Ask(who, Ask::TwinPatch(patch), _) => {
                    (LinkUp::TwinPatch(who.clone(), rid), patch.clone())
                }
                Pending::Ask(who, Ask::Scope(since), _) => {
                    (LinkUp::Scope(who.clone(), rid, Some(*since)), Bytes::new())
                }
                Pending::Ask(who, Ask::Lookup, _) => {
                    (LinkUp::Scope(who.clone(), rid, None), Bytes::new())
                }
                Pending::Presence(who, _) => match self.attached.features(who) {
                    Some(features) => {
                        let features = serde_json::to_vec(&features).expect("three flags are JSON");
                        (LinkUp::Attach(who.clone(), rid), features.into())
                    }
                    None => (LinkUp::Detach(who.clone(), rid), Bytes::new()),
                },
                Pending::Token(token) => {
                    (LinkUp::Token(self.edge_hub.clone(), rid), token.clone().into())
                }
            };
            self.publish(&topic, payload, ctx);
        }
    }

    /// Puts something on the wire that is not owed to the parent once the link is lost.
    pub(super) fn publish(&mut self, topic: &LinkUp, payload: Bytes, ctx: &mut Context<Self>) {
        let Some(connection) = self.connection.as_ref().filter(|_| self.line.is_up()) else {
            return;
        };
        self.number += 1;
        let sent = connection.sender.publish(self.number, topic.to_string(), payload);
        if let Err(stuck) = sent {
            self.drop_connection(&stuck.to_string(), ctx);
        }
    }

    /// The parent answered a request.
    pub(super) fn on_answered(&mut self, rid: u64, answer: LinkAnswer, ctx: &mut Context<Self>) {
        match self.requests.take(rid) {
            None => return, // late, or answered twice
            Some(Pending::Ask(_, _, asked)) => drop(asked.send(answer)),
            Some(Pending::Presence(identity, waiting)) => {
                self.attached.on_told(&identity, rid);
                if answer.status >= 300 {
                    let status = answer.status;
                    warn!(%identity, status, "the parent does not attach it");
                }
                for done in waiting {
                    let _ = done.send(()); // it may have waited long enough
                }
            }
            Some(Pending::Token(_)) => self.on_renewed(answer.status < 300, ctx),
        }
        self.send_requests(ctx); // there is room for one more
    }

    /// Asks again for what was not answered.
    pub(super) fn look_after_requests(&mut self, ctx: &mut Context<Self>) {
        let overdue = self.requests.on_wake(clock::now());
        for pending in overdue.given_up {
            match pending {
                Pending::Ask(..) => {} // whoever waits hears that there is no answer
                Pending::Presence(identity, _) => self.push_presence(&identity, Vec::new()),
                Pending::Token(_) => self.on_renewed(false, ctx),
            }
        }
        self.send_requests(ctx);
    }
}
