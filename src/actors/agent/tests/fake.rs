//! Twins, identities, sockets and a container engine that answer out of a world in memory.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use futures_util::FutureExt;
use serde_json::{Value, json};
use tokio::runtime::{Handle, Id};

use super::world::{Shared, World};
use crate::actors::agent::deployment::Deployment;
use crate::actors::agent::modules::Modules;
use crate::actors::agent::{AgentConfig, AgentPorts, ImagesConfig, Registrar};
use crate::actors::clock;
use crate::actors::supervision::Obituary;
use crate::domain::agent::observed::{Observed, Phase};
use crate::domain::agent::restarts;
use crate::domain::identity::Identity;
use crate::messages::agent::{AgentStatus, GetAgentStatus, ModuleStatusLine, ModulesChanged};
use crate::messages::engine::*;
use crate::messages::identities::{IdentityRecord, Lookup};
use crate::messages::state::{Fetch, Save, StoreError};
use crate::messages::supervision::Shutdown;
use crate::messages::twins::*;

/// Answers for all that EdgeAgent asks, but for EdgeAgent itself.
pub(super) struct Fake(pub(super) Shared);

impl Actor for Fake {
    type Context = Context<Self>;
}

macro_rules! answers {
    ($message:ty, $result:ty, |$this:ident, $ask:ident| $answer:expr) => {
        impl Handler<$message> for Fake {
            type Result = ResponseFuture<$result>;
            fn handle(&mut self, $ask: $message, _: &mut Self::Context) -> Self::Result {
                let $this = self.0.clone();
                Box::pin(async move { $answer })
            }
        }
    };
}

fn away(world: &Shared) -> Result<(), EngineError> {
    if world.borrow().is_away { Err(EngineError::Away("gone".into())) } else { Ok(()) }
}

answers!(GetEngineStatus, EngineStatus, |world, _ask| {
    let is_ready = !world.borrow().is_away;
    let text = if is_ready { "ready" } else { "away: gone" };
    let (text, version, architecture) = (text.into(), "28".into(), "x".into());
    EngineStatus { is_ready, text, version, architecture, ..EngineStatus::default() }
});
answers!(ListContainers, Result<Vec<Observed>, EngineError>, |world, ask| {
    away(&world)?;
    let all = world.borrow().containers.clone();
    let is_it = |it: &Observed| ask.module.as_ref().is_none_or(|module| it.module == *module);
    Ok(all.into_iter().filter(is_it).collect())
});
/// Counts a change; waits for ever if the runtime was killed before it.
async fn alive(world: &Shared) {
    let is_dead = match &mut world.borrow_mut().dies_after {
        Some(0) => true,
        Some(left) => {
            *left -= 1;
            false
        }
        None => false,
    };
    if is_dead {
        std::future::pending::<()>().await;
    }
}

answers!(Run, Result<Done, EngineError>, |world, ask| {
    away(&world)?;
    if !matches!(ask, Run::EnsureNetwork(_) | Run::Judge { .. }) {
        alive(&world).await;
    }
    let mut world = world.borrow_mut();
    world.run(ask)
});
answers!(PullImage, Result<Pulled, EngineError>, |world, ask| {
    away(&world)?;
    world.borrow_mut().log.push(format!("pull {}", ask.image));
    while world.borrow().slow_images.contains(&ask.image) {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if let Some(progress) = &ask.progress {
            let text = "downloaded 1.0 of 2.0 MB (50 %)".into();
            progress.do_send(PullProgress { text, percent: Some(57) });
        }
    }
    if world.borrow().bad_images.contains(&ask.image) {
        let (image, log_in) = (ask.image, ask.credential.map(|it| it.password)); // quotes it
        return Err(EngineError::Refused(format!("image {image} cannot be had {log_in:?}")));
    }
    Ok(Pulled::default())
});
answers!(GetDesired, Option<Desired>, |world, _ask| {
    let desired = world.borrow().desired.clone();
    desired.map(|(version, properties)| Desired { version, properties })
});
answers!(GetTwin, TwinAnswer, |world, _ask| {
    world.borrow_mut().reads += 1;
    let (reported, status) = (world.borrow().reported.clone(), world.borrow().twin_status);
    let body = json!({"desired": {}, "reported": reported}).to_string().into();
    TwinAnswer { status: if status == 0 { 200 } else { status }, body, version: None }
});
answers!(PatchReported, TwinAnswer, |world, ask| {
    let seconds = world.borrow().patch_seconds;
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let mut world = world.borrow_mut();
    let status = world.patch_status;
    if status < 300 {
        let patch: Value = serde_json::from_slice(&ask.patch).unwrap();
        merge(&mut world.reported, &patch);
        world.patches.push(patch);
    }
    TwinAnswer { status, body: Default::default(), version: None }
});
answers!(Lookup, Result<Option<IdentityRecord>, StoreError>, |world, ask| {
    let module = ask.identity.module_id().unwrap_or_default().to_owned();
    if world.borrow().unknown.contains(&module) {
        return Ok(None);
    }
    Ok(Some(IdentityRecord {
        id: ask.identity.clone(),
        keys: Vec::new(),
        thumbprints: Vec::new(),
        ca: false,
        status: Default::default(),
        generation: format!("g-{module}"),
    }))
});
answers!(ModulesChanged, Result<(), String>, |world, ask| {
    world.borrow_mut().log.push(format!("sockets {}", ask.0.join(" ")));
    Ok(())
});
answers!(Fetch, Result<Option<Vec<u8>>, StoreError>, |world, ask| {
    let world = world.borrow();
    Ok(if ask.1 == GOOD { world.kept.clone() } else { world.stored.get(&ask.1).cloned() })
});
answers!(Save, Result<(), StoreError>, |world, ask| {
    alive(&world).await;
    let mut world = world.borrow_mut();
    if world.is_full {
        return Err(StoreError::Full { used: 1, limit: 1 });
    }
    for change in ask.0 {
        match change.value {
            _ if change.key == GOOD => world.kept = change.value,
            Some(value) => drop(world.stored.insert(change.key, value)),
            None => drop(world.stored.remove(&change.key)),
        }
    }
    Ok(())
});
/// Key of the last good deployment.
const GOOD: &[u8] = b"last-good";

pub(super) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else { return target.clone_from(patch) };
    if !target.is_object() {
        *target = json!({});
    }
    let target = target.as_object_mut().unwrap();
    for (name, value) in patch {
        if value.is_null() {
            target.remove(name);
        } else {
            merge(target.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}

/// EdgeAgent over a world in memory.
pub(super) struct Agent {
    pub(super) world: Shared,
    pub(super) ports: AgentPorts,
    pub(super) modules: Addr<Modules>,
    pub(super) deployment: Addr<Deployment>,
}

impl Agent {
    pub(super) async fn start(world: World) -> Self {
        Self::start_as(world, |_| {}).await
    }

    pub(super) async fn start_as(world: World, set: impl Fn(&mut AgentConfig)) -> Self {
        thread_local!(static PAUSED: Cell<Option<Id>> = const { Cell::new(None) });
        let runtime = Handle::current().id();
        if PAUSED.replace(Some(runtime)) != Some(runtime) {
            tokio::time::pause(); // once for each test, also if it starts more than one
        }
        let world = Rc::new(RefCell::new(World { patch_status: 204, ..world }));
        let ports = AgentPorts::default();
        let fake = Fake(world.clone()).start();
        ports.engine_status.plug(&fake);
        ports.list.plug(&fake);
        ports.run.plug(&fake);
        ports.pull.plug(&fake);
        ports.get_desired.plug(&fake);
        ports.get_twin.plug(&fake);
        ports.patch_reported.plug(&fake);
        ports.lookup.plug(&fake);
        ports.sockets.plug(&fake);
        ports.fetch.plug(&fake);
        ports.save.plug(&fake);
        let mut config = AgentConfig {
            device: Identity::parse("edge-1").unwrap(),
            hub: "hub".into(),
            gateway_hostname: "gw".into(),
            parent_hostname: None,
            network: "net".into(),
            docker: String::new(),
            allow_elevated: true,
            credentials: Vec::new(),
            images: ImagesConfig::default(),
            state: "/s".into(),
            instance: "i1".into(),
            version: "0.1.0".into(),
            vault: None,
            restart_backoff: restarts::UNIT,
            boot: "boot-1".into(),
            update_deadline: Duration::from_secs(60),
            startup_deadline: Duration::from_secs(60),
        };
        set(&mut config);
        let known = world.clone();
        let registrar: Registrar = Rc::new(move |identity| {
            let known = known.clone();
            async move {
                let mut known = known.borrow_mut();
                known.log.push(format!("register {identity}"));
                if let Some(error) = &known.registrar_error {
                    return Err(error.clone());
                }
                known.unknown.remove(identity.module_id().unwrap());
                Ok(())
            }
            .boxed_local()
        });
        let obituary = Obituary::unsupervised;
        let deployment = Deployment::new(config.clone(), ports.clone(), obituary()).start();
        let modules = Modules::new(config, ports.clone(), registrar, obituary()).start();
        let agent = Agent { world, ports, modules, deployment };
        agent.settle(3).await;
        agent
    }

    /// Ends it; what there is outside of it.
    pub(super) async fn end_of_process(self) -> World {
        let world = std::mem::take(&mut *self.world.borrow_mut());
        self.modules.do_send(Shutdown);
        self.deployment.do_send(Shutdown);
        self.settle(3).await;
        World { log: Vec::new(), ..world }
    }

    /// Lets so many seconds of virtual time go by.
    pub(super) async fn settle(&self, seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }

    pub(super) async fn deploy(&self, version: u64, modules: Value) {
        self.world.borrow_mut().desired = Some((version, deployment(modules)));
        let own = Identity::parse("edge-1/$edgeAgent").unwrap();
        self.ports.twin_changed.tell(TwinChanged::Desired(own));
        self.settle(3).await;
    }

    /// The container of a module ends, and the engine tells so.
    pub(super) async fn end(&self, module: &str, code: i64) {
        {
            let mut world = self.world.borrow_mut();
            let container = world.container(module);
            container.phase = Phase::Exited;
            container.exit_code = Some(code);
            container.finished = Some(clock::unix_time());
        }
        self.ports.engine_to_modules.tell(EngineNotice::Container(module.into()));
        self.settle(1).await;
    }

    pub(super) async fn status(&self) -> AgentStatus {
        self.ports.status.ask(GetAgentStatus, Duration::from_secs(5)).await.unwrap()
    }

    pub(super) async fn module(&self, name: &str) -> ModuleStatusLine {
        let status = self.status().await;
        let found = status.modules.into_iter().find(|line| line.name == name);
        found.unwrap_or_else(|| panic!("no line for {name}"))
    }
}

/// A whole document around some modules.
pub(super) fn deployment(modules: Value) -> Value {
    json!({
        "schemaVersion": "1.1", "runtime": {"type": "docker"},
        "systemModules": {"edgeAgent": {"settings": {"image": "agent:1"}}}, "modules": modules,
    })
}

/// A running module of this image, with changes.
pub(super) fn module(image: &str, change: Value) -> Value {
    let mut module = json!({"type": "docker", "status": "running", "settings": {"image": image}});
    for (name, value) in change.as_object().unwrap() {
        module[name] = value.clone();
    }
    module
}
