//! The supervisor of modules: one child for each, by startup order; one's trouble is one's own.
//!
//! Started by `edge-agent`. It keeps no state: `deployment` assigns, after each start of it too.
//! next: `turns.rs`, `children.rs`, then `actors/agent/module/mod.rs`.

mod children;
mod turns;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use actix::prelude::*;
use futures_util::future::join_all;

use self::children::Child;
use super::{AgentConfig, AgentPorts, Registrar};
use crate::actors::supervision::{Obituary, Supervised, panic_below, snapshot_of};
use crate::messages::agent::{RestartModule, StopModules};
use crate::messages::engine::EngineNotice;
use crate::messages::modules::{Assign, Assignment, Halt, Look, ModuleChanged, ModulesStarted};
use crate::messages::supervision::{
    ChildExited, Health, PanicAt, Shutdown, Snapshot, TakeSnapshot,
};

/// Stopping all containers, each with the time it was given.
const STOPPING: Duration = Duration::from_secs(320);

/// See the module documentation.
pub struct Modules {
    config: AgentConfig,
    ports: AgentPorts,
    registrar: Registrar,
    children: BTreeMap<String, Child>,
    /// Groups whose turn has not come yet.
    groups: VecDeque<Vec<Assignment>>,
    /// Modules of the present group that are not settled yet.
    unsettled: BTreeSet<String>,
    /// Modules of later groups that are to be otherwise when their turn comes; and why not yet.
    waiting: BTreeMap<String, String>,
    patience: Option<SpawnHandle>,
    is_leaving: bool,
    obituary: Obituary,
}

impl Modules {
    /// Without modules yet.
    pub fn new(
        config: AgentConfig,
        ports: AgentPorts,
        registrar: Registrar,
        obituary: Obituary,
    ) -> Self {
        Modules {
            config,
            ports,
            registrar,
            children: BTreeMap::new(),
            groups: VecDeque::new(),
            unsettled: BTreeSet::new(),
            waiting: BTreeMap::new(),
            patience: None,
            is_leaving: false,
            obituary,
        }
    }
}

impl Actor for Modules {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let own = ctx.address();
        self.ports.engine_to_modules.plug(&own);
        self.ports.assign.plug(&own);
        self.ports.restart.plug(&own);
        self.ports.stop.plug(&own);
        self.ports.modules_started.tell(ModulesStarted);
    }
}

impl Supervised for Modules {
    fn obituary(&mut self) -> &mut Obituary {
        &mut self.obituary
    }

    fn health(&self) -> Health {
        Health { state: format!("{} modules", self.children.len()) }
    }

    /// Containers run on; their actors end.
    fn shut_down(&mut self, ctx: &mut Context<Self>) {
        self.is_leaving = true;
        self.tell_to_stop();
        if self.children.values().all(|child| child.running.is_none()) {
            ctx.stop();
        }
    }
}
crate::supervised!(Modules);

impl Modules {
    fn tell_to_stop(&self) {
        for child in self.children.values() {
            if let Some(running) = &child.running {
                running.shutdown.do_send(Shutdown); // idempotent
            }
        }
    }
}

/// Even if it panics it leaves no module behind.
impl Drop for Modules {
    fn drop(&mut self) {
        self.tell_to_stop();
    }
}

impl Handler<Assign> for Modules {
    type Result = ();

    fn handle(&mut self, assign: Assign, ctx: &mut Self::Context) {
        let wanted: BTreeSet<&str> =
            assign.modules.iter().map(|it| it.spec.name.as_str()).collect();
        let is_kept = |name: &str| assign.kept.iter().any(|kept| kept == name);
        let known = self.children.keys().chain(&assign.unwanted);
        let unwanted: Vec<String> = known
            .filter(|name| !wanted.contains(name.as_str()) && !is_kept(name))
            .cloned()
            .collect();
        for name in unwanted {
            self.remove(&name, ctx);
        }
        let mut groups: BTreeMap<u32, Vec<Assignment>> = BTreeMap::new();
        for assignment in assign.modules {
            groups.entry(assignment.want.startup_order).or_default().push(assignment);
        }
        self.take_turns(groups.into_values().collect(), &assign.running, ctx);
    }
}

impl Handler<ModuleChanged> for Modules {
    type Result = ();

    fn handle(&mut self, ModuleChanged(state): ModuleChanged, ctx: &mut Self::Context) {
        self.on_module(state, ctx);
    }
}

impl Handler<ChildExited> for Modules {
    type Result = ();

    fn handle(&mut self, exited: ChildExited, ctx: &mut Self::Context) {
        self.on_child_gone(exited, ctx);
    }
}

impl Handler<EngineNotice> for Modules {
    type Result = ();

    fn handle(&mut self, notice: EngineNotice, _: &mut Self::Context) {
        let (only, was_away) = match notice {
            EngineNotice::Up => (None, true),
            EngineNotice::Down => (None, false),
            EngineNotice::Container(module) => (Some(module), false),
        };
        for (name, child) in &self.children {
            if let Some(links) = &child.links
                && only.as_ref().is_none_or(|only| only == name)
            {
                links.look.do_send(Look { was_away }); // idempotent
            }
        }
    }
}

impl Handler<RestartModule> for Modules {
    type Result = ResponseFuture<Result<(), String>>;

    fn handle(
        &mut self,
        RestartModule(name): RestartModule,
        _: &mut Self::Context,
    ) -> Self::Result {
        let halt = self.children.get(&name).and_then(|it| it.links.as_ref()).map(|it| &it.halt);
        let asked = halt.map(|halt| halt.send(Halt::Restart).timeout(STOPPING));
        Box::pin(async move {
            let asked = asked.ok_or_else(|| format!("there is no module {name} on this device"))?;
            asked.await.map_err(|_| format!("module {name} did not answer in time"))?
        })
    }
}

impl Handler<StopModules> for Modules {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: StopModules, _: &mut Self::Context) -> Self::Result {
        let links = self.children.values().filter_map(|child| child.links.as_ref());
        let asked = links.map(|it| it.halt.send(Halt::Stop).timeout(STOPPING)).collect::<Vec<_>>();
        Box::pin(async move {
            join_all(asked).await;
        })
    }
}

impl Handler<TakeSnapshot> for Modules {
    type Result = ResponseFuture<Vec<Snapshot>>;

    fn handle(&mut self, _: TakeSnapshot, _: &mut Self::Context) -> Self::Result {
        let each = self.children.iter().map(|(name, child)| {
            let (running, error) = (child.running.clone(), child.last_error.clone());
            snapshot_of(children::kind_and(name), running, child.restarts, error)
        });
        let all = join_all(each.collect::<Vec<_>>());
        Box::pin(async move { all.await.concat() })
    }
}

impl Handler<PanicAt> for Modules {
    type Result = ResponseFuture<bool>;

    fn handle(&mut self, PanicAt(path): PanicAt, _: &mut Self::Context) -> Self::Result {
        let is_it = |name: &str| path.first().is_some_and(|it| *it == children::kind_and(name));
        let child = self.children.iter().find(|(name, _)| is_it(name));
        let running = child.and_then(|(_, child)| child.running.clone());
        panic_below(running, path.into_iter().skip(1).collect())
    }
}
