//! Who is online: identities behind an edge, what is sent to clients, and telling the backend.

use std::time::Duration;

use actix::prelude::*;

use super::{Sessions, TABLE};
use crate::actors::supervision::Supervised;
use crate::domain::features::Features;
use crate::domain::identity::Identity;
use crate::messages::client::{Down, Downlink};
use crate::messages::sessions::{
    Attach, Detach, ListOnline, Online, PresenceChanged, Send as SendDown,
};
use crate::messages::state::Change;
use crate::messages::twins::WatchDesired;
use crate::messages::upstream::LinkChanged;

/// How long a SUBACK waits for the parent to know of the features (link.md, attach).
const TELL: Duration = Duration::from_secs(2);

impl Sessions {
    /// Tells the backend what an identity has asked for now. The parent hears of it before its
    /// twin is read, so that no patch falls in between.
    pub(super) fn announce(
        &self,
        identity: &Identity,
        had: Features,
    ) -> impl Future<Output = ()> + use<> {
        let features = self.directory.seat(identity).map(|seat| seat.features);
        let identity = identity.clone();
        let told = self
            .backend
            .presence
            .ask(PresenceChanged { identity: identity.clone(), features }, TELL);
        let is_watching = !had.desired && features.is_some_and(|features| features.desired);
        let watched =
            is_watching.then(|| self.backend.watch_desired.ask(WatchDesired(identity), TELL));
        async move {
            let _ = told.await; // it is told again when the link comes up
            if let Some(watched) = watched {
                let _ = watched.await; // later, or not at all: then it has nothing yet
            }
        }
    }

    /// Like `announce`, for those who do not wait.
    pub(super) fn arrived(&self, identity: &Identity) {
        self.hail(identity);
        if self.directory.seat(identity).is_some_and(|seat| seat.features.desired) {
            self.backend.watch_desired.tell(WatchDesired(identity.clone())); // read again when the link comes up
        }
    }

    /// Tells the backend who is here.
    fn hail(&self, identity: &Identity) {
        self.is_changed.set(true);
        let features = self.directory.seat(identity).map(|seat| seat.features);
        self.backend.presence.tell(PresenceChanged { identity: identity.clone(), features }); // idempotent
    }

    /// Whoever bears this id from now on is somebody else: no subscription of the old one holds.
    fn forget(&mut self, identity: &Identity, ctx: &mut Context<Self>) {
        if let Some(clients) = &mut self.clients {
            clients.on_gone(identity);
            self.is_changed.set(true);
        }
        if self.directory.forget(identity) {
            let saved = self.save(vec![Change::delete(TABLE, identity.as_str())]).into_actor(self);
            let done = saved.map(|saved, this, ctx| {
                if let Err(error) = saved {
                    this.fail(&error, ctx);
                }
            });
            done.spawn(ctx);
        }
    }

    /// Tells the backend that somebody left.
    pub(super) fn farewell(&self, identity: Identity) {
        self.is_changed.set(true);
        self.backend.presence.tell(PresenceChanged { identity, features: None }); // idempotent
    }
}

impl Handler<Attach> for Sessions {
    type Result = ();

    fn handle(&mut self, attach: Attach, ctx: &mut Self::Context) {
        let Attach { identity, features, link, epoch } = attach;
        self.directory.attach(identity.clone(), features, epoch, link);
        self.arrived(&identity);
        self.reached(&identity, ctx);
    }
}

impl Handler<Detach> for Sessions {
    type Result = ();

    fn handle(&mut self, Detach { identity, epoch }: Detach, ctx: &mut Self::Context) {
        for gone in self.directory.detach(identity.as_ref(), epoch) {
            if identity.is_none() {
                self.unlinked(&gone, ctx); // else its edge says how calls to it end
            }
            self.farewell(gone);
        }
    }
}

impl Handler<SendDown> for Sessions {
    type Result = bool;

    fn handle(&mut self, SendDown { to, what }: SendDown, ctx: &mut Self::Context) -> bool {
        let what = match what {
            Down::Gone(why) => {
                self.forget(&to, ctx);
                Down::Close(why)
            }
            other => other,
        };
        if matches!(what, Down::Close(_) | Down::DeviceKeysChanged) {
            for (_, held) in self.held.values().filter(|(identity, _)| *identity == to) {
                held.do_send(Downlink { to: to.clone(), what: what.clone() }); // idempotent
            }
        }
        let Some(seat) = self.directory.seat(&to) else { return false };
        let is_wanted = match &what {
            Down::Owed => seat.features.c2d || seat.features.inputs,
            Down::CloudToDevice { .. } => seat.features.c2d,
            Down::Desired { .. } => seat.features.desired,
            Down::Method { .. } => seat.features.methods,
            Down::LocalOwed | Down::LocalChanged => false, // told by `local-topics` itself
            Down::ScopeChanged { .. } | Down::Rewind(_) | Down::DeviceKeysChanged => true,
            Down::Close(_) | Down::Gone(_) => true,
        };
        if is_wanted {
            seat.handle.do_send(Downlink { to, what }); // bounded by its sender
        }
        is_wanted
    }
}

/// The parent knows nothing of anybody yet: it is told of everybody, once.
impl Handler<LinkChanged> for Sessions {
    type Result = ();

    fn handle(&mut self, link: LinkChanged, _: &mut Self::Context) {
        if link.is_up {
            for (identity, _) in self.directory.online() {
                self.hail(identity);
            }
        }
    }
}

impl Handler<ListOnline> for Sessions {
    type Result = MessageResult<ListOnline>;

    fn handle(&mut self, _: ListOnline, _: &mut Self::Context) -> Self::Result {
        let online = self.directory.online().map(|(identity, seat)| Online {
            identity: identity.clone(),
            features: seat.features,
            is_behind_edge: seat.is_behind_edge,
        });
        MessageResult(online.collect())
    }
}
