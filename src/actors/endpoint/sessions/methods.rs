//! Direct methods: the shell of `domain/calls`.

use actix::prelude::*;
use tokio::sync::oneshot;

use super::Sessions;
use crate::actors::clock;
use crate::domain::calls::Effect;
use crate::domain::identity::Identity;
use crate::domain::method::Outcome;
use crate::messages::client::Down;
use crate::messages::sessions::{Invoke, MethodAnswered};

impl Sessions {
    fn carry_out(&mut self, effects: Vec<Effect>, ctx: &mut Context<Self>) {
        for effect in effects {
            match effect {
                Effect::Send(number, target, call) => {
                    let (name, payload) = (call.name, call.payload);
                    self.send(&target, Down::Method { call: number, name, payload });
                }
                Effect::End(number, outcome) => {
                    if let Some(caller) = self.callers.remove(&number) {
                        let _ = caller.send(outcome); // it may have gone
                    }
                }
            }
        }
        self.wake_in_time(ctx);
    }

    fn wake_in_time(&mut self, ctx: &mut Context<Self>) {
        if let Some(at) = self.calls.next_deadline() {
            ctx.run_later(at.saturating_duration_since(clock::now()), |this, ctx| {
                let effects = this.calls.on_time(clock::now());
                if !effects.is_empty() {
                    this.carry_out(effects, ctx);
                }
            });
        }
    }

    /// A client of our own has left.
    pub(super) fn left(&mut self, identity: &Identity, ctx: &mut Context<Self>) {
        self.calls.on_left(identity, clock::now());
        self.wake_in_time(ctx);
    }

    /// The link that an identity was reached by is gone.
    pub(super) fn unlinked(&mut self, identity: &Identity, ctx: &mut Context<Self>) {
        let effects = self.calls.on_link_lost(identity, clock::now());
        self.carry_out(effects, ctx);
    }

    /// An identity came, or changed its subscriptions: calls may have waited for that.
    pub(super) fn reached(&mut self, identity: &Identity, ctx: &mut Context<Self>) {
        self.calls.on_back(identity);
        if self.is_callable(identity) {
            let effects = self.calls.on_reachable(identity, clock::now());
            if !effects.is_empty() {
                self.carry_out(effects, ctx);
            }
        }
    }

    fn is_callable(&self, identity: &Identity) -> bool {
        self.directory.seat(identity).is_some_and(|seat| seat.features.methods)
    }
}

impl Handler<Invoke> for Sessions {
    type Result = ResponseFuture<Outcome>;

    fn handle(&mut self, Invoke { target, call }: Invoke, ctx: &mut Self::Context) -> Self::Result {
        let is_reachable = self.is_callable(&target);
        let (number, effects) = self.calls.on_invoked(target, call, is_reachable, clock::now());
        let (caller, outcome) = oneshot::channel();
        self.callers.insert(number, caller);
        self.carry_out(effects, ctx);
        // Only a restart of this actor loses a call: it may have run, so it is not tried again.
        Box::pin(async move { outcome.await.unwrap_or(Outcome::TimedOut) })
    }
}

impl Handler<MethodAnswered> for Sessions {
    type Result = ();

    fn handle(&mut self, answered: MethodAnswered, ctx: &mut Self::Context) {
        let MethodAnswered { from, call, outcome } = answered;
        let effects = self.calls.on_answered(&from, call, outcome);
        self.carry_out(effects, ctx);
    }
}
