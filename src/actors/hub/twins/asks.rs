//! What clients ask of their twins, and what others in this process ask.

use std::time::Duration;

use actix::prelude::*;
use serde_json::Value;
use tokio::sync::oneshot;

use super::disk::{delete_patch, put_patch};
use super::{Early, Twins};
use crate::domain::identity::Identity;
use crate::domain::twin::validate_reported;
use crate::messages::sessions::json;
use crate::messages::twins::{Desired, GetDesired, GetTwin, PatchReported, TwinAnswer};
use crate::messages::upstream::{Ask, LinkAnswer, Request};

/// Then the local copy has to do.
const GET_DEADLINE: Duration = Duration::from_secs(5);
/// A client is answered when its patch is on disk; so long it waits for the parent's version.
const VERSION_DEADLINE: Duration = Duration::from_secs(3);

impl Handler<GetTwin> for Twins {
    type Result = ResponseActFuture<Self, TwinAnswer>;

    fn handle(&mut self, GetTwin(identity): GetTwin, _: &mut Self::Context) -> Self::Result {
        let ready = self.when_loaded().into_actor(self);
        Box::pin(ready.then(move |(), this, _| this.get(identity)))
    }
}

impl Handler<PatchReported> for Twins {
    type Result = ResponseActFuture<Self, TwinAnswer>;

    /// At once, if it can be: who is gone with the next message has no say after that.
    fn handle(&mut self, patch: PatchReported, _: &mut Self::Context) -> Self::Result {
        if *self.is_loaded.borrow() {
            return self.accept_or_refuse(&patch);
        }
        let (client, answered) = oneshot::channel();
        self.early.push(Early::Reported(patch, client));
        let none = |_| TwinAnswer::error(503, "twins could not be read");
        let answered = answered.into_actor(self);
        Box::pin(answered.map(move |answer, _, _| answer.unwrap_or_else(none)))
    }
}

impl Handler<GetDesired> for Twins {
    type Result = MessageResult<GetDesired>;

    fn handle(&mut self, GetDesired(identity): GetDesired, _: &mut Self::Context) -> Self::Result {
        let entry = self.entries.get(&identity).filter(|entry| entry.twin.is_known());
        let desired = entry.map(|entry| &entry.twin.desired);
        MessageResult(desired.map(|desired| Desired {
            version: desired.version,
            properties: Value::Object(desired.properties.clone()),
        }))
    }
}

fn refuse(status: u16, why: &str) -> ResponseActFuture<Twins, TwinAnswer> {
    Box::pin(actix::fut::ready(TwinAnswer::error(status, why)))
}

impl Twins {
    fn accept_or_refuse(&mut self, patch: &PatchReported) -> ResponseActFuture<Self, TwinAnswer> {
        self.accept(patch).unwrap_or_else(|(status, why)| refuse(status, &why))
    }

    /// It waited until everything was read.
    pub(super) fn accept_early(
        &mut self,
        patch: &PatchReported,
        client: oneshot::Sender<TwinAnswer>,
        ctx: &mut Context<Self>,
    ) {
        let answer = self.accept_or_refuse(patch);
        answer.map(move |answer, _, _| drop(client.send(answer))).spawn(ctx);
    }

    pub(super) fn when_loaded(&self) -> impl Future<Output = ()> + 'static + use<> {
        let mut is_loaded = self.is_loaded.subscribe();
        async move {
            let _ = is_loaded.wait_for(|is_loaded| *is_loaded).await; // else the actor is gone
        }
    }

    /// The parent's twin, or the local copy of it, or an empty one: an error would be answered by
    /// a hot loop of asking (spec sdk.md, trap 3).
    fn get(&mut self, identity: Identity) -> ResponseActFuture<Self, TwinAnswer> {
        if !self.is_up {
            return Box::pin(actix::fut::ready(self.document(&identity)));
        }
        let entry = self.entry(&identity);
        let (seen, birth) = (entry.patches_seen, entry.birth);
        let ask = Request { identity: identity.clone(), what: Ask::TwinGet };
        let answer = self.ports.request.ask(ask, GET_DEADLINE).into_actor(self);
        Box::pin(answer.map(move |answer, this, ctx| {
            let is_living = this.living(&identity, birth).is_some();
            if let Ok(Ok(LinkAnswer { status: 200, body, .. })) = answer
                && is_living
            {
                this.take_full(&identity, &body, seen, false, ctx);
                this.schedule(identity.clone(), ctx); // if it is stale again
            }
            let document = this.document(&identity);
            if is_living {
                this.save_and_tell(&identity, None, ctx);
            }
            document
        }))
    }

    /// What the client gets it then has.
    fn document(&mut self, identity: &Identity) -> TwinAnswer {
        let twin = &mut self.entry(identity).twin;
        twin.on_read();
        TwinAnswer { status: 200, body: json(&twin.document()), version: None }
    }

    /// Checks a patch, merges it, keeps it, and answers once it is on disk.
    fn accept(
        &mut self,
        ask: &PatchReported,
    ) -> Result<ResponseActFuture<Self, TwinAnswer>, (u16, String)> {
        let patch = match validate_reported(&ask.patch) {
            Ok(Value::Object(patch)) => patch,
            Ok(_) => return Err((400, "reported properties are not an object".into())),
            Err(error) => return Err((400, error.to_string())),
        };
        let identity = ask.identity.clone();
        let entry = self.entry(&identity);
        let number = entry.outbox.push(patch.clone());
        let number = number.ok_or((429, "too many patches wait for the parent".to_owned()))?;
        entry.twin.on_reported(&patch);
        let mut changes = vec![put_patch(&identity, number, &patch)];
        if let Some((gone, stays, patch)) = entry.outbox.coalesce() {
            changes.push(delete_patch(&identity, gone));
            changes.push(put_patch(&identity, stays, patch));
        }
        changes.push(self.twin_change(&identity));
        changes.extend(self.owe_change(&identity, &ask.patch));
        let saved = self.save(changes);
        Ok(Box::pin(saved.then(move |is_saved, this, ctx| {
            this.route_changes(ctx);
            let done = this.on_saved(&identity, number, is_saved, ctx);
            done.into_actor(this)
        })))
    }

    /// With the link up, the client may as well hear the parent's version, or its refusal.
    fn on_saved(
        &mut self,
        identity: &Identity,
        number: u64,
        is_saved: bool,
        ctx: &mut Context<Self>,
    ) -> impl Future<Output = TwinAnswer> + 'static + use<> {
        let (answer, answered) = oneshot::channel();
        // The parent may have spoken of it before it was on disk.
        if is_saved && self.is_up && self.entry(identity).outbox.has(number) {
            self.entry(identity).waiting.push((number, answer));
            self.schedule(identity.clone(), ctx);
        } // else nobody will answer, and that is heard at once
        async move {
            if !is_saved {
                return TwinAnswer::error(503, "the patch is not on disk; send it again");
            }
            let kept = TwinAnswer { status: 204, body: Default::default(), version: None };
            let answered = tokio::time::timeout(VERSION_DEADLINE, answered).await;
            answered.ok().and_then(Result::ok).unwrap_or(kept)
        }
    }
}
