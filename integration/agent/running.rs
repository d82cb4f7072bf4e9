//! EdgeAgent's own actors over a real container engine; the rest of the tree is played here.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use edge_runtime::actors::agent::deployment::Deployment;
use edge_runtime::actors::agent::engine::Engine;
use edge_runtime::actors::agent::modules::Modules;
use edge_runtime::actors::agent::{AgentConfig, AgentPorts, ImagesConfig, Registrar};
use edge_runtime::actors::supervision::Obituary;
use edge_runtime::domain::identity::Identity;
use edge_runtime::domain::workload;
use edge_runtime::messages::agent::{
    AgentStatus, GetAgentStatus, GetLogs, ModulesChanged, RestartModule,
};
use edge_runtime::messages::identities::{IdentityRecord, Lookup};
use edge_runtime::messages::state::{Change, Fetch, Save, Scan, StoreError};
use edge_runtime::messages::supervision::Shutdown;
use edge_runtime::messages::twins::{
    Desired, GetDesired, GetTwin, PatchReported, TwinAnswer, TwinChanged,
};
use futures_util::{FutureExt, StreamExt};
use serde_json::{Value, json};

use super::{Instance, Store};

/// So long a new container is on trial.
pub(crate) const UPDATE: Duration = Duration::from_secs(3);

/// Twins, identities and workload.
#[derive(Default)]
struct Hub {
    desired: Option<(u64, Value)>,
    reported: Value,
    state: std::path::PathBuf,
    store: Store,
}

struct Others(Rc<RefCell<Hub>>);

impl Actor for Others {
    type Context = Context<Self>;
}

macro_rules! answers {
    ($message:ty, |$hub:ident, $ask:ident| $answer:expr) => {
        impl Handler<$message> for Others {
            type Result = MessageResult<$message>;
            fn handle(&mut self, $ask: $message, _: &mut Self::Context) -> Self::Result {
                let $hub = &mut *self.0.borrow_mut();
                MessageResult($answer)
            }
        }
    };
}

answers!(GetDesired, |hub, _ask| {
    let desired = hub.desired.clone();
    desired.map(|(version, properties)| Desired { version, properties })
});
answers!(GetTwin, |hub, _ask| {
    let body = json!({"reported": hub.reported}).to_string().into();
    TwinAnswer { status: 200, body, version: None }
});
answers!(PatchReported, |hub, ask| {
    merge(&mut hub.reported, &serde_json::from_slice(&ask.patch).unwrap());
    TwinAnswer { status: 204, body: Default::default(), version: None }
});
answers!(Lookup, |_hub, ask| {
    let (keys, thumbprints) = (Vec::new(), Vec::new());
    let (ca, status, generation) = (false, Default::default(), "g1".into());
    Ok::<_, StoreError>(Some(IdentityRecord {
        id: ask.identity,
        keys,
        thumbprints,
        ca,
        status,
        generation,
    }))
});
answers!(Fetch, |hub, ask| Ok::<_, StoreError>(hub.store.borrow().get(&ask.1).cloned()));
answers!(Save, |hub, ask| {
    for Change { key, value, .. } in ask.0 {
        match value {
            Some(value) => hub.store.borrow_mut().insert(key, value),
            None => hub.store.borrow_mut().remove(&key),
        };
    }
    Ok::<(), StoreError>(())
});
answers!(Scan, |hub, ask| {
    let store = hub.store.borrow();
    let pairs = store.iter().filter(|(key, _)| key.starts_with(&ask.prefix));
    let pairs = pairs.map(|(key, value)| (key.clone(), value.clone()));
    Ok::<_, StoreError>(Arc::new(pairs.collect::<Vec<_>>()))
});
answers!(ModulesChanged, |hub, ask| {
    for module in &ask.0 {
        let directory = workload::directory(&hub.state, module);
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("here"), "").unwrap();
    }
    Ok::<(), String>(())
});

fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else { return target.clone_from(patch) };
    if !target.is_object() {
        *target = json!({});
    }
    for (name, value) in patch {
        if value.is_null() {
            target.as_object_mut().unwrap().remove(name);
        } else {
            merge(&mut target[name], value);
        }
    }
}

/// Of an agent of this instance.
pub(crate) fn config(instance: &Instance, images: ImagesConfig) -> AgentConfig {
    AgentConfig {
        device: Identity::parse("edge-1").unwrap(),
        hub: "hub.test".into(),
        gateway_hostname: "gw.test".into(),
        parent_hostname: None,
        network: instance.network.clone(),
        docker: instance.engine.clone(),
        allow_elevated: true,
        credentials: Vec::new(),
        images,
        state: instance.state.clone(),
        instance: instance.id.clone(),
        version: "0.0.0".into(),
        vault: None,
        restart_backoff: instance.restart_backoff,
        boot: "boot".into(),
        update_deadline: UPDATE,
        startup_deadline: Duration::from_secs(20),
    }
}

/// A store for actors that are started one by one.
pub(crate) fn plug_store(ports: &AgentPorts, instance: &Instance) {
    let hub = Hub { store: instance.store.clone(), ..Hub::default() };
    let others = Others(Rc::new(RefCell::new(hub))).start();
    ports.fetch.plug(&others);
    ports.save.plug(&others);
    ports.scan.plug(&others);
}

/// A running EdgeAgent.
pub(crate) struct Agent {
    hub: Rc<RefCell<Hub>>,
    ports: AgentPorts,
    engine: Addr<Engine>,
    deployment: Addr<Deployment>,
    modules: Addr<Modules>,
}

impl Agent {
    pub(crate) fn start(instance: &Instance) -> Self {
        Agent::start_with(instance, ImagesConfig::default())
    }

    pub(crate) fn start_with(instance: &Instance, images: ImagesConfig) -> Self {
        let (state, store) = (instance.state.clone(), instance.store.clone());
        let hub = Hub { state, store, ..Hub::default() };
        let hub = Rc::new(RefCell::new(hub));
        let ports = AgentPorts::default();
        let others = Others(hub.clone()).start();
        ports.get_desired.plug(&others);
        ports.get_twin.plug(&others);
        ports.patch_reported.plug(&others);
        ports.lookup.plug(&others);
        ports.sockets.plug(&others);
        ports.fetch.plug(&others);
        ports.save.plug(&others);
        ports.scan.plug(&others);
        let config = config(instance, images);
        let registrar: Registrar = Rc::new(|_| async { Ok(()) }.boxed_local());
        let obituary = Obituary::unsupervised;
        let engine = Engine::new(config.clone(), ports.clone(), obituary()).start();
        let deployment = Deployment::new(config.clone(), ports.clone(), obituary()).start();
        let modules = Modules::new(config, ports.clone(), registrar, obituary()).start();
        Agent { hub, ports, engine, deployment, modules }
    }

    pub(crate) fn deploy(&self, version: u64, properties: Value) {
        self.hub.borrow_mut().desired = Some((version, properties));
        let own = Identity::parse("edge-1/$edgeAgent").unwrap();
        self.ports.twin_changed.tell(TwinChanged::Desired(own));
    }

    pub(crate) async fn status(&self) -> AgentStatus {
        self.ports.status.ask(GetAgentStatus, Duration::from_secs(10)).await.unwrap_or_default()
    }

    pub(crate) fn reported(&self) -> Value {
        self.hub.borrow().reported.clone()
    }

    /// Waits until it is so; says how it was if it never is.
    pub(crate) async fn until(&self, what: &str, is_so: impl Fn(&AgentStatus) -> bool) {
        let mut last = AgentStatus::default();
        for _ in 0..1200 {
            last = self.status().await;
            if is_so(&last) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{what}: not within 120 s: {last:#?}");
    }

    pub(crate) async fn logs(&self, module: &str) -> String {
        let ask = GetLogs { module: module.into(), ..GetLogs::default() };
        let logs = self.ports.logs.ask(ask, Duration::from_secs(10)).await.unwrap().unwrap();
        let chunks: Vec<_> = logs.map(|chunk| chunk.unwrap().bytes).collect().await;
        String::from_utf8(chunks.concat()).unwrap()
    }

    pub(crate) async fn restart(&self, module: &str) {
        let ask = RestartModule(module.into());
        self.ports.restart.ask(ask, Duration::from_secs(60)).await.unwrap().unwrap();
    }

    /// Bottom to top, as its supervisor does it.
    pub(crate) async fn stop(self) {
        let Agent { modules, deployment, engine, .. } = self;
        modules.send(Shutdown).await.unwrap();
        while modules.connected() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        deployment.send(Shutdown).await.unwrap();
        engine.send(Shutdown).await.unwrap();
    }
}
