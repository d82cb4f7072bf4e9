//! Routes: follows the desired properties of `$edgeHub`, swaps the route table whole, and starts
//! an actor for each route. Bad routes are named in the reported properties; good ones run.
//!
//! `kept.rs` remembers the last good form of each; `policy.rs` is that of local topics; `place.rs` has
//! the queue moved.

mod kept;
mod place;
mod policy;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use serde_json::json;

use self::kept::Kept;
use self::place::{Placing, Report};
use self::policy::Deployed;
use super::route::RouteActor;
use crate::actors::clock;
use crate::actors::endpoint::backend::Readiness;
use crate::actors::endpoint::local::Local;
use crate::actors::port::Port;
use crate::actors::supervision::{Brood, Obituary, Running, Supervised};
use crate::domain::identity::Identity;
use crate::domain::restart::{Intensity, RestartPolicy};
use crate::domain::route::{BadRoute, Route, RouteSet, RouteTable};
use crate::domain::row::Priority;
use crate::messages::queue::PlaceQueue;
use crate::messages::routes::{ListRoutes, RouteStatus, SetRoutes};
use crate::messages::state::{Fetch, Save};
use crate::messages::supervision::{ChildExited, Health, PanicAt, Snapshot, TakeSnapshot};
use crate::messages::twins::{Desired, GetDesired, PatchReported, TwinChanged};

const DEADLINE: Duration = Duration::from_secs(10);
/// Before asking again for what was not answered.
const RETRY: Duration = Duration::from_secs(1);
/// What was lost at the hub is reported again: not at once, as the hub may refuse it.
const REPORT_AGAIN: Duration = Duration::from_secs(10);

/// Whom the routes speak to.
#[derive(Clone, Default)]
pub struct RoutesPorts {
    /// Twins.
    pub desired: Port<GetDesired>,
    /// Twins tell of changes here.
    pub changed: Port<TwinChanged>,
    /// Twins.
    pub report: Port<PatchReported>,
    /// Queue.
    pub set: Port<SetRoutes>,
    /// Queue.
    pub place: Port<PlaceQueue>,
    /// For the management API.
    pub list: Port<ListRoutes>,
    /// `state`.
    pub fetch: Port<Fetch>,
    /// `state`.
    pub save: Port<Save>,
    /// Where the policy of local topics is put in force; `None`: they are off.
    pub local: Option<Local>,
}

/// See the module documentation.
pub struct Routes {
    /// `{device}/$edgeHub`.
    identity: Identity,
    ports: RoutesPorts,
    readiness: Readiness,
    version: Option<u64>,
    /// What was last in force, also before a restart; `None`: not read yet.
    kept: Option<Kept>,
    /// As they run: the last good form of each.
    good: BTreeMap<Arc<str>, Route>,
    bad: Vec<BadRoute>,
    /// The policy of local topics.
    deployed: Deployed,
    /// The newest desired properties cannot be read at all, and why.
    unreadable: Option<String>,
    /// The queue cannot be brought to where it is to lie, and why.
    misplaced: Option<String>,
    /// What was reported last.
    reported: Option<(u64, u16, String)>,
    /// It is to be reported again.
    is_to_report: bool,
    /// For this version it was reported that there is no queue, and why.
    trouble: Option<(u64, String)>,
    generation: u64,
    brood: Brood,
    obituary: Obituary,
}

/// What is to be in force.
#[derive(Default)]
struct Plan {
    version: u64,
    routes: Vec<Route>,
    /// Seconds; the global time to live.
    ttl: Option<u64>,
    /// Most bytes of the queue.
    max_bytes: Option<u64>,
    bad: Vec<BadRoute>,
    /// Status and description, told once it is in force; a twin without a deployment gets none.
    report: Report,
    placing: Placing,
}

impl Routes {
    /// For the edge device of `identity`.
    pub fn new(
        identity: Identity,
        ports: RoutesPorts,
        readiness: Readiness,
        obituary: Obituary,
    ) -> Self {
        Routes {
            identity,
            ports,
            readiness,
            version: None,
            kept: None,
            good: BTreeMap::new(),
            bad: Vec::new(),
            deployed: Deployed::default(),
            unreadable: None,
            misplaced: None,
            reported: None,
            is_to_report: false,
            trouble: None,
            // Generations go on after a restart of this actor or of the process.
            generation: clock::unix_time().as_millis() as u64,
            brood: Brood::new(&obituary, "route"),
            obituary,
        }
    }

    fn read(&mut self, ctx: &mut Context<Self>) {
        if self.kept.is_none() {
            return; // done once it is read
        }
        let asked = self.ports.desired.ask(GetDesired(self.identity.clone()), DEADLINE);
        asked
            .into_actor(self)
            .map(|answer, this, ctx| match answer {
                Ok(Some(desired)) => this.apply(&desired, ctx),
                Ok(None) => {} // told when it was read for the first time
                Err(_) => {
                    ctx.run_later(RETRY, Self::read);
                }
            })
            .spawn(ctx);
    }

    fn apply(&mut self, desired: &Desired, ctx: &mut Context<Self>) {
        let version = desired.version;
        if self.version == Some(version) {
            return;
        }
        let kept = self.kept.clone().unwrap_or_default();
        if desired.properties.as_object().is_some_and(|all| all.is_empty()) {
            // Nothing was ever deployed: a known, empty set.
            self.deploy_policy(&desired.properties);
            let placing = Placing::At(None);
            return self.swap(Plan { version, placing, ..Plan::default() }, ctx);
        }
        let set = RouteSet::parse(&desired.properties, self.identity.device_id());
        self.unreadable = set.schema_error.clone();
        if let Some(error) = &set.schema_error {
            tracing::error!(%error, version, "deployment of $edgeHub refused: the last good one runs on");
            self.report(version, 400, &error.to_string());
            if self.version.is_none() {
                let routes = kept.routes.into_values().collect();
                let Kept { ttl, max_bytes, .. } = kept;
                self.swap(Plan { version, routes, ttl, max_bytes, ..Plan::default() }, ctx);
            }
            return;
        }
        for BadRoute { name, error, .. } in &set.bad {
            tracing::error!(route = name, %error, "bad route: its last good form, if any, runs on");
        }
        let is_bad = |name: &str| set.bad.iter().any(|bad| bad.name == name);
        let mut routes = set.good;
        routes.extend(kept.routes.into_values().filter(|route| is_bad(&route.name)));
        let mut errors: Vec<_> = set.bad.iter().map(|bad| bad.error.to_string()).collect();
        errors.extend(self.deploy_policy(&desired.properties));
        let placing = match set.bad_location {
            Some(error) => {
                errors.push(error);
                Placing::Stay
            }
            None => Placing::At(set.location),
        };
        let code = if errors.is_empty() { 200 } else { 400 };
        let report = Some((code, errors.join("; ")));
        let (ttl, max_bytes, bad) = (set.global_ttl, set.max_bytes, set.bad);
        self.swap(Plan { version, routes, ttl, max_bytes, bad, report, placing }, ctx);
    }

    fn swap(&mut self, plan: Plan, ctx: &mut Context<Self>) {
        self.generation += 1;
        let table = RouteTable::new(self.generation, plan.routes.clone(), plan.ttl)
            .with_max_bytes(plan.max_bytes);
        let set = self.ports.set.ask(SetRoutes(Arc::new(table)), DEADLINE).into_actor(self);
        set.map(move |set, this, ctx| match set {
            Ok(()) => this.on_set(plan, ctx),
            Err(_) => {
                this.report_missing_queue(&plan);
                ctx.run_later(RETRY, Self::read);
            }
        })
        .spawn(ctx);
    }

    /// A queue that is being restarted is soon there; one that cannot be had is reported, once.
    fn report_missing_queue(&mut self, plan: &Plan) {
        let Some(why) = self.readiness.why_not("queue").filter(|_| plan.report.is_some()) else {
            return;
        };
        let trouble = (plan.version, format!("the queue cannot be had: {why}"));
        if self.trouble.as_ref() != Some(&trouble) {
            self.report(trouble.0, 500, &trouble.1);
            self.trouble = Some(trouble);
        }
    }

    /// Messages are matched by these routes from here on.
    fn on_set(&mut self, plan: Plan, ctx: &mut Context<Self>) {
        let Plan { version, routes, ttl, max_bytes, bad, report, placing } = plan;
        self.version = Some(version);
        self.bad = bad;
        (self.trouble, self.misplaced) = (None, None);
        self.place(version, placing, report, ctx);
        let before = std::mem::take(&mut self.good);
        self.good = routes.into_iter().map(|route| (Arc::clone(&route.name), route)).collect();
        for name in before.keys().filter(|name| !self.good.contains_key(*name)) {
            self.brood.stop(name);
        }
        for (name, route) in &self.good {
            if before.get(name).is_none_or(|old| old.text != route.text) {
                let route = route.clone();
                let start = move |obituary| {
                    Running::worker(&RouteActor::new(route.clone(), obituary).start())
                };
                let rule = (RestartPolicy::Always, Intensity::ESCALATES);
                self.brood.start(name, rule, start, ctx.address().recipient());
            }
        }
        self.keep((ttl, max_bytes), ctx);
        tracing::info!(version, routes = self.good.len(), bad = self.bad.len(), "routes in force");
        self.readiness.is_ready("routes");
    }

    fn report_again(&mut self, ctx: &mut Context<Self>) {
        if std::mem::replace(&mut self.is_to_report, true) {
            return;
        }
        ctx.run_later(REPORT_AGAIN, |this, _| {
            let last = this.reported.clone().filter(|_| this.is_to_report);
            this.is_to_report = false;
            if let Some((version, code, description)) = last {
                this.report(version, code, &description);
            }
        });
    }

    fn report(&mut self, version: u64, code: u16, description: &str) {
        self.reported = Some((version, code, description.to_owned()));
        let patch = json!({
            "schemaVersion": "1.0",
            "version": { "version": env!("CARGO_PKG_VERSION") },
            "lastDesiredVersion": version,
            "lastDesiredStatus": { "code": code, "description": description },
        });
        let (identity, patch) = (self.identity.clone(), patch.to_string().into());
        let report = self.ports.report.ask(PatchReported { identity, patch }, DEADLINE);
        actix::spawn(async move {
            match report.await {
                Ok(answer) if answer.status < 300 => {}
                answer => tracing::warn!(?answer, "state of routes cannot be reported"),
            }
        });
    }
}

impl Actor for Routes {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.readiness.waits("routes", "the deployment of $edgeHub was never read");
        self.ports.changed.plug(&ctx.address());
        self.ports.list.plug(&ctx.address());
        self.load(ctx);
        self.load_policy(ctx);
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.readiness.waits("routes", "not running");
    }
}

impl Supervised for Routes {
    fn obituary(&mut self) -> &mut Obituary {
        &mut self.obituary
    }

    fn health(&self) -> Health {
        let (good, bad) = (self.good.len(), self.bad.len());
        Health { state: format!("{good} active, {bad} bad, version {:?}", self.version) }
    }
}
crate::supervised!(Routes);

impl Handler<TwinChanged> for Routes {
    type Result = ();

    fn handle(&mut self, changed: TwinChanged, ctx: &mut Self::Context) {
        match changed {
            TwinChanged::Desired(who) if who == self.identity => self.read(ctx),
            TwinChanged::Reported(who) if who == self.identity => self.report_again(ctx),
            TwinChanged::Desired(_) | TwinChanged::Reported(_) => {}
        }
    }
}

impl Handler<ListRoutes> for Routes {
    type Result = MessageResult<ListRoutes>;

    fn handle(&mut self, _: ListRoutes, _: &mut Self::Context) -> Self::Result {
        let good = self.good.values().map(|route| RouteStatus {
            name: route.name.to_string(),
            text: route.text.clone(),
            state: "active".into(),
            endpoint: match &route.input {
                Some(input) => format!("{}/{input}", route.endpoint.0),
                None => route.endpoint.0.to_string(),
            },
            priority: Some(route.priority.0).filter(|_| route.priority != Priority::DEFAULT),
            time_to_live_seconds: route.ttl,
            lives_seconds: route.ttl.or(self.kept.as_ref().and_then(|kept| kept.ttl)),
            error: None,
        });
        let bad = self.bad.iter().map(|bad| RouteStatus {
            name: bad.name.clone(),
            text: bad.text.clone(),
            state: "bad".into(),
            error: Some(bad.error.to_string()),
            ..RouteStatus::default()
        });
        let whole = self.unreadable.iter().chain(&self.deployed.error).chain(&self.misplaced);
        let whole = whole.map(|error| RouteStatus {
            state: "bad".into(),
            error: Some(error.clone()),
            ..RouteStatus::default()
        });
        MessageResult(good.chain(bad).chain(whole).collect())
    }
}

impl Handler<ChildExited> for Routes {
    type Result = ();

    fn handle(&mut self, exited: ChildExited, ctx: &mut Self::Context) {
        if let Some((name, delay)) = self.brood.on_exited(exited) {
            ctx.run_later(delay, move |this, ctx| {
                this.brood.start_again(&name, ctx.address().recipient());
            });
        }
    }
}

impl Handler<TakeSnapshot> for Routes {
    type Result = ResponseFuture<Vec<Snapshot>>;

    fn handle(&mut self, _: TakeSnapshot, _: &mut Self::Context) -> Self::Result {
        Box::pin(self.brood.snapshot())
    }
}

impl Handler<PanicAt> for Routes {
    type Result = ResponseFuture<bool>;

    fn handle(&mut self, PanicAt(path): PanicAt, _: &mut Self::Context) -> Self::Result {
        self.brood.panic_at(path)
    }
}

#[cfg(test)]
mod tests;
