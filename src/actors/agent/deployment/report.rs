//! The way back: reported properties of `$edgeAgent`, as patches; sent counts when it is answered.

use std::time::{Duration, Instant};

use actix::prelude::*;
use serde_json::Value;

use super::{Deployment, part};
use crate::actors::agent::AgentPorts;
use crate::actors::clock;
use crate::domain::agent::diff::diff;
use crate::domain::agent::reported::{Report, document};
use crate::domain::identity::Identity;
use crate::messages::twins::{GetTwin, PatchReported};

/// Changes within it go as one patch.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);
/// After a patch that was not taken.
const RETRY: Duration = Duration::from_secs(10);
const DEADLINE: Duration = Duration::from_secs(30);
/// An ordered stop does not wait longer for its last report.
const LAST: Duration = Duration::from_secs(2);

/// What the twin has, as far as is known.
#[derive(Debug, Default)]
pub(super) struct Reporting {
    /// None: not read yet, in this life.
    known: Option<Value>,
    is_dirty: bool,
    is_sending: bool,
    not_before: Option<Instant>,
}

impl Reporting {
    /// Something changed.
    pub(super) fn mark(&mut self) {
        self.is_dirty = true;
    }
}

impl Deployment {
    /// Sends what changed, if nothing is under way.
    pub(super) fn report(&mut self, ctx: &mut Context<Self>) {
        let is_early = self.reporting.not_before.is_some_and(|at| clock::now() < at);
        if !self.reporting.is_dirty || self.reporting.is_sending || is_early {
            return;
        }
        let (ports, own) = (self.ports.clone(), self.own.clone());
        let Some(known) = self.reporting.known.clone() else {
            self.reporting.is_sending = true;
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
        if let Err(why) = &known {
            tracing::warn!(%why, "reported properties of $edgeAgent were not taken; again later");
            self.reporting.is_dirty = true;
            self.reporting.not_before = Some(clock::now() + RETRY);
        }
        self.reporting.known = known.ok();
    }

    /// Says that nobody watches from now on, then stops.
    pub(super) fn report_last(&mut self, ctx: &mut Context<Self>) {
        let known = self.reporting.known.clone();
        let whole = known.as_ref().and_then(|known| self.whole(known, true));
        let (Some(known), Some(whole)) = (known, whole) else { return ctx.stop() };
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
