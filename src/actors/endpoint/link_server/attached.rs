//! Who is behind the edge: attach and detach, scope, tokens, twins. Only identities in the scope
//! of the edge are served.

use std::time::Duration;

use actix::prelude::*;
use bytes::Bytes;

use super::LinkServer;
use crate::domain::features::Features;
use crate::domain::identity::Identity;
use crate::domain::link;
use crate::domain::link::down::LinkDown;
use crate::domain::packet::QoS;
use crate::messages::identities::LogIn;
use crate::messages::registry::{AskScope, ScopeAsk};
use crate::messages::sessions::{Attach, Detach};
use crate::messages::twins::{GetTwin, PatchReported, TwinAnswer};

/// Well below the 10 s after which the edge asks again.
const ASK: Duration = Duration::from_secs(8);

impl LinkServer {
    /// Whether the identity is in the scope of this edge: 200, 403, 404, or 503.
    pub(super) fn check_scope(&self, who: &Identity) -> impl Future<Output = u16> + use<> {
        let is_known = self.in_scope.contains(who);
        let edge = self.edge.device_id().to_owned();
        let what = ScopeAsk::Attach(who.clone());
        let asked = (!is_known).then(|| self.backend.scope.ask(AskScope { edge, what }, ASK));
        async move {
            match asked {
                None => 200,
                Some(asked) => asked.await.map_or(503, |answer| answer.status),
            }
        }
    }

    /// Goes on with `then` if the identity is in scope; else answers with the status.
    fn if_in_scope(
        &mut self,
        who: Identity,
        rid: u64,
        ctx: &mut Context<Self>,
        then: impl FnOnce(&mut Self, Identity, &mut Context<Self>) + 'static,
    ) {
        let checked = self.check_scope(&who).into_actor(self);
        checked
            .map(move |status, this, ctx| {
                if status == 200 {
                    this.in_scope.insert(who.clone());
                    then(this, who, ctx);
                } else {
                    tracing::warn!(edge = %this.edge, identity = %who, status, "not in the scope of this edge: refused");
                    let text = format!("{{\"message\":\"{who} is not in the scope of this edge\"}}");
                    this.answer(who, rid, status, Bytes::from(text));
                }
            })
            .spawn(ctx);
    }

    pub(super) fn attach(
        &mut self,
        who: Identity,
        rid: u64,
        payload: &Bytes,
        ctx: &mut Context<Self>,
    ) {
        let Ok(features) = serde_json::from_slice::<Features>(payload) else {
            return self.answer(
                who,
                rid,
                400,
                Bytes::from_static(b"{\"message\":\"not a feature set\"}"),
            );
        };
        self.if_in_scope(who, rid, ctx, move |this, identity, ctx| {
            let link = ctx.address().recipient();
            let epoch = this.epoch;
            // Idempotent; sessions are older and never ask back.
            this.backend.attach.tell(Attach { identity: identity.clone(), features, link, epoch });
            this.set_outbox(&identity, features.c2d, ctx);
            this.answer(identity, rid, 200, Bytes::new());
        });
    }

    pub(super) fn detach(&mut self, who: Identity, rid: u64) {
        let (identity, epoch) = (Some(who.clone()), self.epoch);
        self.backend.detach.tell(Detach { identity, epoch }); // idempotent
        self.outboxes.remove(&who); // what it has not settled is at the head of its queue again
        self.answer(who, rid, 200, Bytes::new());
    }

    pub(super) fn renew(
        &mut self,
        who: Identity,
        rid: u64,
        payload: &Bytes,
        ctx: &mut Context<Self>,
    ) {
        if who != self.edge {
            return self.answer(who, rid, 403, Bytes::new());
        }
        let token = String::from_utf8(payload.to_vec()).ok();
        let link = Some(link::VERSION);
        let (certificate, place) = (None, None);
        let log_in = LogIn { identity: who.clone(), token, certificate, link, place };
        let granted = self.backend.log_in.ask(log_in, ASK).into_actor(self);
        granted
            .map(move |granted, this, _| match granted {
                Ok(Ok(granted)) => {
                    this.by_device = granted.by_device;
                    this.pulse.renew(granted.until);
                    this.answer(who, rid, 200, Bytes::new());
                }
                Ok(Err(refusal)) => {
                    tracing::warn!(edge = %this.edge, %refusal, "new token refused");
                    this.answer(who, rid, 401, Bytes::new());
                }
                Err(_) => this.answer(who, rid, 503, Bytes::new()),
            })
            .spawn(ctx);
    }

    pub(super) fn scope(
        &mut self,
        who: Identity,
        rid: u64,
        since: Option<u64>,
        ctx: &mut Context<Self>,
    ) {
        let what = match since {
            Some(since) => ScopeAsk::Since(since),
            None if who == self.edge => ScopeAsk::Since(0),
            None => ScopeAsk::One(who.clone()),
        };
        let edge = self.edge.device_id().to_owned();
        let asked = self.backend.scope.ask(AskScope { edge, what }, ASK).into_actor(self);
        asked
            .map(move |answer, this, _| {
                if let Ok(answer) = answer {
                    if matches!(answer.status, 403 | 404) {
                        tracing::info!(edge = %this.edge, identity = %who, status = answer.status, "asked for by an edge, and not in the scope of it");
                    }
                    this.answer(who, rid, answer.status, answer.body);
                }
            })
            .spawn(ctx);
    }

    pub(super) fn twin_get(&mut self, who: Identity, rid: u64, ctx: &mut Context<Self>) {
        self.if_in_scope(who, rid, ctx, move |this, who, ctx| {
            let asked = this.backend.get_twin.ask(GetTwin(who.clone()), ASK).into_actor(this);
            asked.map(move |answer, this, _| this.answer_twin(who, rid, answer.ok())).spawn(ctx);
        });
    }

    pub(super) fn twin_patch(
        &mut self,
        who: Identity,
        rid: u64,
        patch: Bytes,
        ctx: &mut Context<Self>,
    ) {
        self.if_in_scope(who, rid, ctx, move |this, who, ctx| {
            let patch = PatchReported { identity: who.clone(), patch };
            let asked = this.backend.patch_reported.ask(patch, ASK).into_actor(this);
            asked.map(move |answer, this, _| this.answer_twin(who, rid, answer.ok())).spawn(ctx);
        });
    }

    fn answer_twin(&mut self, identity: Identity, rid: u64, answer: Option<TwinAnswer>) {
        // Without an answer the edge asks again.
        let Some(TwinAnswer { status, body, version }) = answer else { return };
        let answer = LinkDown::Answer { identity, is_twin: true, status, rid, version };
        self.publish(&answer, QoS::AtMostOnce, body);
    }
}
