//! The parent's side: what is owed is sent, what is stale is read, patches are taken in.

use std::time::Duration;

use actix::prelude::*;
use serde_json::{Map, Value};
use tracing::{debug, warn};

use super::disk::{delete_patch, to_json};
use super::refused::refusal;
use super::{Entry, Twins};
use crate::domain::edge_twin::{Fate, Full, Patched};
use crate::domain::identity::Identity;
use crate::messages::sessions::{ListOnline, Online};
use crate::messages::twins::{DesiredPatched, TwinAnswer, TwinChanged};
use crate::messages::upstream::{Ask, LinkAnswer, LinkChanged, NotConnected, Request};

/// So many identities talk to the parent at once.
const MAX_TALKING: usize = 64;
/// A request is asked again by the link for so long.
const DEADLINE: Duration = Duration::from_secs(30);
/// After an answer that did not come, or said "not now".
const AGAIN: Duration = Duration::from_secs(5);
const ONLINE_DEADLINE: Duration = Duration::from_secs(2);

impl Handler<LinkChanged> for Twins {
    type Result = ();

    fn handle(&mut self, change: LinkChanged, ctx: &mut Self::Context) {
        self.is_up = change.is_up;
        for identity in std::mem::take(&mut self.due) {
            self.entry(&identity).is_busy = false;
        }
        if !change.is_up {
            // Their patches are on disk: they are answered so, as those who come now are.
            self.entries.values_mut().for_each(|entry| entry.waiting.clear());
        }
        if change.is_up && *self.is_loaded.borrow() {
            self.sync_all(ctx);
        }
    }
}

impl Handler<DesiredPatched> for Twins {
    type Result = ();

    fn handle(&mut self, patched: DesiredPatched, ctx: &mut Self::Context) {
        let DesiredPatched { identity, version, patch } = patched;
        let Ok(patch) = serde_json::from_slice::<Map<String, Value>>(&patch) else {
            return warn!(%identity, version, "the parent's patch is not an object: left out");
        };
        let entry = self.entry(&identity);
        entry.patches_seen += 1;
        match entry.twin.on_desired(version, &patch) {
            Patched::Applied(telling) => {
                self.save_and_tell(&identity, Some(telling), ctx);
                self.notify(TwinChanged::Desired(identity));
            }
            Patched::Outdated => {
                entry.is_stale = true;
                self.schedule(identity, ctx);
            }
        }
    }
}

impl Twins {
    /// Everything is to be established anew: our own twins first, then what is owed, then the
    /// twins of those who are online.
    pub(super) fn sync_all(&mut self, ctx: &mut Context<Self>) {
        for own in [self.edge_hub.clone(), self.edge_agent.clone()] {
            self.entry(&own).is_stale = true;
            self.schedule(own, ctx);
        }
        let owed = self.entries.iter().filter(|(_, entry)| !entry.outbox.is_empty());
        for identity in owed.map(|(identity, _)| identity.clone()).collect::<Vec<_>>() {
            self.schedule(identity, ctx);
        }
        self.sync_online(ctx);
    }

    fn sync_online(&mut self, ctx: &mut Context<Self>) {
        let online = self.ports.online.ask(ListOnline, ONLINE_DEADLINE);
        let online = online.into_actor(self).map(|online, this, ctx| {
            let Ok(online) = online else {
                // they do not answer now: their twins are read all the same
                ctx.run_later(AGAIN, |this, ctx| this.sync_online(ctx));
                return;
            };
            for Online { identity, features, .. } in online {
                let is_known = this.entries.get(&identity).is_some_and(|it| it.twin.is_known());
                if is_known || features.desired {
                    this.entry(&identity).is_stale = true;
                    this.schedule(identity, ctx);
                }
            }
        });
        online.spawn(ctx);
    }

    /// Lets an identity talk to the parent when it is its turn.
    pub(super) fn schedule(&mut self, identity: Identity, ctx: &mut Context<Self>) {
        let is_up = self.is_up;
        let entry = self.entry(&identity);
        if is_up && !entry.is_busy && (entry.is_stale || !entry.outbox.is_empty()) {
            entry.is_busy = true;
            self.due.push_back(identity);
            self.talk(ctx);
        }
    }

    fn talk(&mut self, ctx: &mut Context<Self>) {
        while self.is_up && self.talking < MAX_TALKING {
            let Some(identity) = self.due.pop_front() else { return };
            self.talking += 1;
            let entry = self.entry(&identity);
            match entry.outbox.send() {
                Some(sending) => {
                    let what = Ask::TwinPatch(to_json(&sending.patch));
                    self.ask(identity, what, ctx, Twins::on_patch_answer);
                }
                None => {
                    let seen = entry.patches_seen;
                    self.ask(identity, Ask::TwinGet, ctx, move |this, identity, answer, ctx| {
                        this.on_full_answer(identity, answer, seen, ctx)
                    });
                }
            }
        }
    }

    /// `then` says whether the identity may go on at once.
    fn ask(
        &mut self,
        identity: Identity,
        what: Ask,
        ctx: &mut Context<Self>,
        then: impl FnOnce(&mut Self, &Identity, Option<LinkAnswer>, &mut Context<Self>) -> bool
        + 'static,
    ) {
        let birth = self.entry(&identity).birth;
        let answer = self.ports.request.ask(Request { identity: identity.clone(), what }, DEADLINE);
        let answer = answer.into_actor(self).map(move |answer, this, ctx| {
            this.talking -= 1;
            let Some(entry) = this.living(&identity, birth) else {
                return this.talk(ctx); // it is gone, or another one
            };
            entry.is_busy = false;
            let answer = answer.unwrap_or(Err(NotConnected)).ok();
            if then(this, &identity, answer, ctx) {
                this.schedule(identity, ctx);
            } else if this.is_up {
                ctx.run_later(AGAIN, move |this, ctx| {
                    if this.living(&identity, birth).is_some() {
                        this.schedule(identity, ctx);
                    }
                });
            }
            this.talk(ctx);
        });
        answer.spawn(ctx);
    }

    fn on_patch_answer(
        &mut self,
        identity: &Identity,
        answer: Option<LinkAnswer>,
        ctx: &mut Context<Self>,
    ) -> bool {
        let entry = self.entry(identity);
        let (status, version) = answer.as_ref().map_or((0, None), |it| (it.status, it.version));
        match entry.outbox.on_answered(status) {
            Fate::Later => return false,
            Fate::Split => {}
            Fate::Accepted(numbers) => {
                entry.patches_seen += 1; // a twin that was asked for before may lack it
                entry.twin.reported.version = version.unwrap_or(entry.twin.reported.version);
                let last = numbers.last().copied().unwrap_or_default();
                let done = TwinAnswer { status: 204, body: Default::default(), version };
                entry.answer(last, &done);
                let mut changes: Vec<_> =
                    numbers.iter().map(|number| delete_patch(identity, *number)).collect();
                changes.push(self.twin_change(identity));
                self.save(changes).map(|_, _, _| ()).spawn(ctx);
            }
            Fate::Refused(number, patch) => {
                let refused = answer.map(|it| refusal(identity, &it, patch.into()));
                let refused = refused.unwrap_or_default();
                let why = &refused.why;
                warn!(%identity, status, why, "the parent refuses a reported patch: dead-lettered");
                entry.is_stale = true; // our copy shows what was refused
                let said = format!("the hub refused the patch: {why}");
                entry.answer(number, &TwinAnswer::error(status, &said));
                let mut moved = vec![delete_patch(identity, number)];
                moved.extend(entry.keep_refused(identity, number, &refused));
                self.save(moved).map(|_, _, _| ()).spawn(ctx);
            }
        }
        true
    }

    fn on_full_answer(
        &mut self,
        identity: &Identity,
        answer: Option<LinkAnswer>,
        seen: u64,
        ctx: &mut Context<Self>,
    ) -> bool {
        match answer {
            Some(LinkAnswer { status: 200, body, .. }) => {
                self.take_full(identity, &body, seen, true, ctx)
            }
            Some(LinkAnswer { status: status @ (403 | 404), .. }) => {
                debug!(%identity, status, "the parent has no twin for it");
                self.entry(identity).is_stale = false;
                self.entry(identity).watching.clear(); // they wait for nothing
                true
            }
            _ => false,
        }
    }

    /// Takes the parent's whole twin in, and answers whether it was one. One that was asked for
    /// before the last patch came may be older than it: it is read again.
    pub(super) fn take_full(
        &mut self,
        identity: &Identity,
        body: &[u8],
        seen: u64,
        is_to_be_told: bool,
        ctx: &mut Context<Self>,
    ) -> bool {
        let Some(full) = Full::parse(body) else {
            warn!(%identity, "the parent's twin is not one");
            return false;
        };
        let entry = self.entry(identity);
        entry.is_stale = entry.patches_seen != seen;
        if entry.is_stale && entry.twin.is_known() {
            return true;
        }
        let news = entry.twin.on_full(full, &entry.outbox);
        self.save_and_tell(identity, news.telling.filter(|_| is_to_be_told), ctx);
        self.on_read_for(identity, ctx);
        if news.desired {
            self.notify(TwinChanged::Desired(identity.clone()));
        }
        if news.reported {
            self.notify(TwinChanged::Reported(identity.clone()));
        }
        true
    }
}

impl Entry {
    /// The parent has spoken of all patches up to this one.
    fn answer(&mut self, number: u64, answer: &TwinAnswer) {
        for (_, client) in self.waiting.extract_if(.., |(waited, _)| *waited <= number) {
            let _ = client.send(answer.clone());
        }
    }
}
