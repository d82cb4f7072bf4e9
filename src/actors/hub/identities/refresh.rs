//! Reading the scope, page by page: when the link comes up, when the parent says that it has
//! changed, and once an hour.

use std::time::Duration;

use actix::prelude::*;
use tracing::{debug, info, warn};

use super::Identities;
use super::cache::{Page, Refresh};
use crate::domain::identity::Identity;
use crate::messages::upstream::{Ask, LinkAnswer, LinkChanged, NotConnected, Request};

/// Should a notice of the parent ever be lost.
pub(super) const EVERY: Duration = Duration::from_secs(3_600);
/// For one page.
const DEADLINE: Duration = Duration::from_secs(25);
/// After a page that did not come.
const AGAIN: Duration = Duration::from_secs(10);

/// Whether the scope is being read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    #[default]
    Idle,
    Running,
    /// It has changed since this reading began.
    Outdated,
}

impl Identities {
    pub(super) fn refresh(&mut self, ctx: &mut Context<Self>) {
        if self.refreshing != State::Idle {
            self.refreshing = State::Outdated;
            return;
        }
        self.refreshing = State::Running;
        self.ask_page(self.cache.refresh(), ctx);
    }

    fn ask_page(&mut self, refresh: Refresh, ctx: &mut Context<Self>) {
        let identity = Identity::module(&self.config.device_id, "$edgeHub");
        let identity = identity.expect("the id of this device was checked in the settings");
        let ask = Request { identity, what: Ask::Scope(refresh.since) };
        let answer = self.ports.request.ask(ask, DEADLINE);
        let answer = answer.into_actor(self).map(|answer, this, ctx| {
            match answer.map_err(|_| NOBODY.to_owned()).and_then(read) {
                Ok(page) => this.take_page(refresh, page, ctx),
                Err(why) => this.try_later(&why, ctx),
            }
        });
        answer.spawn(ctx);
    }

    fn take_page(&mut self, mut refresh: Refresh, page: Page, ctx: &mut Context<Self>) {
        let (since, has_more) = (refresh.since, page.more);
        if has_more && page.version == since {
            return self.try_later("a page says there is more, and does not go on", ctx);
        }
        let update = self.cache.take(&mut refresh, page);
        debug!(since, version = refresh.since, changed = update.touched.len(), "page of the scope");
        self.carry_out(update, ctx);
        if has_more {
            return self.ask_page(refresh, ctx);
        }
        if !std::mem::replace(&mut self.is_ready, true) {
            info!(known = self.cache.len(), "the scope was read: clients may log in");
        }
        if std::mem::take(&mut self.refreshing) == State::Outdated {
            return self.refresh(ctx); // it may have begun on an earlier link
        }
        self.tell_link();
    }

    /// Twins may talk to the parent from here on.
    fn tell_link(&mut self) {
        if !std::mem::replace(&mut self.is_link_told, true) {
            self.ports.link.tell(LinkChanged { is_up: true });
        }
    }

    fn try_later(&mut self, why: &str, ctx: &mut Context<Self>) {
        let is_outdated = std::mem::take(&mut self.refreshing) == State::Outdated;
        match why {
            NOT_CONNECTED if is_outdated => return self.refresh(ctx), // on a new link
            NOT_CONNECTED => return,                                  // the link says when it is up
            NOBODY => debug!("the link did not answer"),
            _ => warn!(why, "the scope cannot be read; it is tried again"),
        }
        self.tell_link(); // they do not wait for a parent that cannot say
        ctx.run_later(AGAIN, |this, ctx| this.refresh(ctx));
    }
}

const NOT_CONNECTED: &str = "the parent is not connected";
const NOBODY: &str = "nobody answered";

fn read(answer: Result<LinkAnswer, NotConnected>) -> Result<Page, String> {
    match answer {
        Err(NotConnected) => Err(NOT_CONNECTED.into()),
        Ok(LinkAnswer { status: 200, body, .. }) => {
            serde_json::from_slice(&body).map_err(|error| format!("a page is not one: {error}"))
        }
        Ok(LinkAnswer { status, .. }) => Err(format!("the parent answered {status}")),
    }
}
