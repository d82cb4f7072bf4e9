//! The way back: reported properties of `$edgeAgent`, as patches; sent counts when it is answered.

use std::time::{Duration, Instant};

use actix::prelude::*;
use serde_json::Value;

use super::{Deployment, part};
use crate::actors::agent::AgentPorts;
use crate::actors::clock;
use crate::domain::agent::diff::diff;
use crate::domain::agent::reported::{Report, document};
use crate::domain::backoff::Backoff;
use crate::domain::identity::Identity;
use crate::messages::twins::{GetTwin, PatchReported};

/// Changes within it go as one patch.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);
/// After one that was not taken, or was lost at the hub: it may be so again.
const RETRY: Backoff = Backoff { first: Duration::from_secs(2), max: Duration::from_secs(300) };
/// Without trouble for so long, the next one is the first.
const CALM: Duration = Duration::from_secs(1200);
/// What the twin has is read anew now and then.
const REREAD: Duration = Duration::from_secs(3600);
const DEADLINE: Duration = Duration::from_secs(30);
/// An ordered stop does not wait longer for its last report.
const LAST: Duration = Duration::from_secs(2);

/// What the twin has, as far as is known.
#[derive(Debug, Default)]
pub(super) struct Reporting {
    /// None: not read yet, in this life, or it is another by now.
    known: Option<Value>,
    /// When it was read last.
    read_at: Option<Instant>,
    is_dirty: bool,
    is_sending: bool,
    /// What is under way was overtaken: the twin is to be read anew in any case.
    is_doubted: bool,
    tries: u32,
    not_before: Option<Instant>,
}

impl Reporting {
    /// Something changed.
    pub(super) fn mark(&mut self) {
        self.is_dirty = true;
    }

    /// The twin has something else than was reported: it is read anew, and the difference sent.
    pub(super) fn doubt(&mut self) {
        tracing::info!("the hub has other reported properties of $edgeAgent: they are sent anew");
        self.is_doubted = self.is_sending;
        self.try_again();
    }

    fn try_again(&mut self) {
        let now = clock::now();
        if self.not_before.is_none_or(|at| now > at + CALM) {
            self.tries = 0;
        }
        self.not_before = Some(now + RETRY.delay(self.tries));
        self.tries = self.tries.saturating_add(1);
        self.known = None;
        self.is_dirty = true;
    }
}

impl Deployment {
    /// Sends what changed, if nothing is under way.
    pub(super) fn report(&mut self, ctx: &mut Context<Self>) {
        let now = clock::now();
        if self.reporting.read_at.is_some_and(|at| now > at + REREAD) {
            (self.reporting.known, self.reporting.is_dirty) = (None, true);
        }
        let is_early = self.reporting.not_before.is_some_and(|at| now < at);
        if !self.reporting.is_dirty || self.reporting.is_sending || is_early {
            return;
        }
        let (ports, own) = (self.ports.clone(), self.own.clone());
        let Some(known) = self.reporting.known.clone() else {
            self.reporting.is_sending = true;
            self.reporting.read_at = Some(now);
            ctx.spawn(read(ports, own).into_actor(self).map(|known, this, _| this.on_known(known)));
            return;
        };
        let Some(whole) = self.whole(&known, false) else { return };
        self.reporting.is_sending = true;
        self.reporting.is_dirty = false;
        let send = send(ports, own, known, whole, DEADLINE);
        ctx.spawn(send.into_actor(self).map(|known, this, _| this.on_known(known)));
    }

    /// What the twin has now; or why nobody knows: then it is read again.
    fn on_known(&mut self, known: Result<Value, String>) {
        self.reporting.is_sending = false;
        let is_doubted = std::mem::take(&mut self.reporting.is_doubted);
        match known {
            Ok(known) => self.reporting.known = Some(known).filter(|_| !is_doubted),
            Err(why) => {
                tracing::warn!(%why, "reported properties of $edgeAgent were not taken; again later");
                self.reporting.try_again();
            }
        }
    }

    /// Says that nobody watches from now on, then stops.
    pub(super) fn report_last(&mut self, ctx: &mut Context<Self>) {
        // While nobody knows what the twin has, all is said.
        let known = self.reporting.known.clone().filter(|_| !self.reporting.is_sending);
        let known = known.unwrap_or_else(|| Value::Object(Default::default()));
        let Some(whole) = self.whole(&known, true) else { return ctx.stop() };
        let (ports, own) = (self.ports.clone(), self.own.clone());
        let send = async move {
            let send = send(ports, own, known, whole, LAST);
            let _ = tokio::time::timeout(LAST, send).await; // whether or not: it is the end
        };
        ctx.spawn(send.into_actor(self).map(|(), _, ctx| ctx.stop()));
    }

    fn whole(&self, known: &Value, is_last: bool) -> Option<Value> {
        let deployment = self.current.as_ref()?;
        let (code, why) = self.outcome();
        let report = Report {
            version: &self.config.version,
            engine_version: &self.engine.version,
            architecture: &self.engine.architecture,
            started: self.started,
            desired_version: self.version.unwrap_or_default(),
            deployment,
            outcome: (code, &why),
            states: &self.states,
            is_last,
        };
        Some(document(&report, known))
    }
}

async fn read(ports: AgentPorts, identity: Identity) -> Result<Value, String> {
    let twin = ports.get_twin.ask(GetTwin(identity), DEADLINE).await;
    let twin = twin.map_err(|error| error.to_string())?;
    if twin.status != 200 {
        return Err(format!("its twin cannot be read: status {}", twin.status));
    }
    Ok(part(&twin.body, "reported").ok_or("its twin is not JSON")?)
}

/// Answers with what the twin has then.
async fn send(
    ports: AgentPorts,
    identity: Identity,
    known: Value,
    whole: Value,
    deadline: Duration,
) -> Result<Value, String> {
    let Some(patch) = diff(&known, &whole) else { return Ok(whole) };
    let patch = PatchReported { identity, patch: patch.to_string().into() };
    let answer = ports.patch_reported.ask(patch, deadline).await.map_err(|it| it.to_string())?;
    if answer.status < 300 {
        return Ok(whole);
    }
    let body = String::from_utf8_lossy(&answer.body).chars().take(300).collect::<String>();
    Err(format!("status {}: {body}", answer.status))
}
