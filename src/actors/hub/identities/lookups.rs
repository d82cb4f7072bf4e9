//! Asking the parent for one identity: once at a time, and not over and over.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use actix::prelude::*;
use tokio::sync::oneshot;

use super::Identities;
use crate::actors::clock;
use crate::domain::door::{Pace, Place};
use crate::domain::identity::Identity;
use crate::messages::identities::IdentityRecord;
use crate::messages::upstream::{Ask, LinkAnswer, NotConnected, Request};

/// A client waits for its CONNACK.
const DEADLINE: Duration = Duration::from_secs(5);
/// An answer that is no older is not asked for again.
const FRESH: Duration = Duration::from_secs(5);
/// So many are asked for at once; strangers are not to keep the link busy.
const MAX_PENDING: usize = 64;

/// Done, or why the parent could not be asked.
pub(super) type Looked = Result<(), &'static str>;

#[derive(Debug, Default)]
pub(super) struct Lookups {
    pending: BTreeMap<Identity, Vec<oneshot::Sender<Looked>>>,
    fresh: BTreeMap<Identity, Instant>,
    pace: Pace,
}

impl Lookups {
    fn is_fresh(&mut self, id: &Identity, now: Instant) -> bool {
        self.fresh.retain(|_, at| now.saturating_duration_since(*at) < FRESH);
        self.fresh.contains_key(id)
    }
}

impl Lookups {
    /// Nothing is fresh any more.
    pub(super) fn forget(&mut self) {
        self.fresh.clear();
    }
}

impl Identities {
    /// Brings what is known of `id` up to date, as for [`Self::look_up`], whatever was answered
    /// just before: for who has made it at the parent since.
    pub(super) fn look_up_anew(
        &mut self,
        id: &Identity,
        ctx: &mut Context<Self>,
    ) -> impl Future<Output = Looked> + 'static + use<> {
        self.lookups.fresh.remove(id);
        self.look_up(id, ctx)
    }

    /// As [`Self::look_up`], for one that may not come in as far as is known, from `place`: no
    /// more often than the parent is to be asked because of strangers.
    pub(super) fn look_up_for_stranger(
        &mut self,
        id: &Identity,
        place: Option<Place>,
        ctx: &mut Context<Self>,
    ) -> impl Future<Output = Looked> + 'static + use<> {
        let lookups = &mut self.lookups;
        let now = clock::now();
        let is_asked = lookups.pending.contains_key(id) || lookups.is_fresh(id, now);
        let is_paced = !is_asked && !lookups.pace.take(place, now);
        let looked = (!is_paced).then(|| self.look_up(id, ctx));
        async move {
            match looked {
                Some(looked) => looked.await,
                None => Err("the parent is not asked more often because of log-ins that fail"),
            }
        }
    }

    /// Brings what is known of `id` up to date; the cache holds the answer when this is `Ok`.
    pub(super) fn look_up(
        &mut self,
        id: &Identity,
        ctx: &mut Context<Self>,
    ) -> impl Future<Output = Looked> + 'static + use<> {
        let (done, looked) = oneshot::channel();
        let now = clock::now();
        let lookups = &mut self.lookups;
        if lookups.is_fresh(id, now) {
            let _ = done.send(Ok(()));
        } else if let Some(waiting) = lookups.pending.get_mut(id) {
            waiting.push(done);
        } else if lookups.pending.len() >= MAX_PENDING {
            let _ = done.send(Err("too many clients are looked up at once"));
        } else {
            lookups.pending.insert(id.clone(), vec![done]);
            self.ask_parent(id.clone(), ctx);
        }
        async move { looked.await.unwrap_or(Err("identities were restarted")) }
    }

    fn ask_parent(&mut self, identity: Identity, ctx: &mut Context<Self>) {
        let ask = Request { identity: identity.clone(), what: Ask::Lookup };
        let answer = self.ports.request.ask(ask, DEADLINE);
        let answer = answer.into_actor(self).map(move |answer, this, ctx| {
            let looked = match read(answer.unwrap_or(Err(NotConnected))) {
                Ok(record) => {
                    this.lookups.fresh.insert(identity.clone(), clock::now());
                    let update = this.cache.take_one(&identity, record);
                    this.carry_out(update, ctx);
                    Ok(())
                }
                Err(why) => Err(why),
            };
            for waiting in this.lookups.pending.remove(&identity).into_iter().flatten() {
                let _ = waiting.send(looked);
            }
        });
        answer.spawn(ctx);
    }
}

fn read(answer: Result<LinkAnswer, NotConnected>) -> Result<Option<IdentityRecord>, &'static str> {
    match answer {
        Err(NotConnected) => Err("the parent is not connected"),
        Ok(LinkAnswer { status: 200, body, .. }) => {
            serde_json::from_slice(&body).map(Some).map_err(|_| "the parent's answer is not one")
        }
        Ok(LinkAnswer { status: 403 | 404, .. }) => Ok(None),
        Ok(_) => Err("the parent cannot tell now"),
    }
}
