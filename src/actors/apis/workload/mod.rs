//! Workload API: gives modules what they log in with. One unix socket per module; the socket is
//! the boundary, so each signs for its own module only.
//!
//! Started by the supervisor `apis`. The directory of a socket is mounted into the container, and
//! the sockets of all modules are made anew at every start: a restarted runtime is reached by a
//! running container without delay, whether or not the agent is up.
//!
//! next: `answers.rs`.

mod answers;
mod keys;
mod modules;
mod secrets;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;

pub use self::answers::WorkloadPorts;
use self::answers::{Answers, Caller};
pub use self::keys::Keys;
use self::modules::{load, remove, save};
use crate::actors::apis::socket::{Rights, listen};
use crate::actors::supervision::{Obituary, Supervised};
use crate::domain::identity::Identity;
use crate::domain::workload::{SOCKET, directory};
use crate::messages::agent::ModulesChanged;
use crate::messages::supervision::Health;
use crate::protocol::certs::{CurrentAuthority, TrustBundle};
use crate::protocol::http::{Limits, Server, handler};

/// Whoever the module runs as; its directory lies in the state directory, which is the runtime's.
const RIGHTS: Rights = Rights { mode: 0o666, group: None };

/// Of one module: requests at a time, and what each may take. More wait; no other module's do.
const LIMITS: Limits = Limits {
    body: 1 << 20,
    header_time: Duration::from_secs(60),
    body_time: Duration::from_secs(10),
    connections: 16,
    of_user: None,
    late: |_| false,
};

/// What the workload API is told at its start.
#[derive(Clone, Debug)]
pub struct WorkloadConfig {
    /// Host name of the hub.
    pub hub: String,
    /// By which modules and clients reach this device.
    pub gateway_hostname: String,
    /// Signs certificates of modules.
    pub authority: CurrentAuthority,
    /// State directory, absolute.
    pub state: PathBuf,
    /// This device.
    pub device: Identity,
    /// The trust bundle, PEM.
    pub trust_bundle: TrustBundle,
    /// `agent.workload_development_socket`.
    pub development_socket: Option<PathBuf>,
}

/// See the module documentation.
pub struct Workload {
    config: WorkloadConfig,
    answers: Rc<Answers>,
    sockets: BTreeMap<String, Server>,
    development: Option<Server>,
    /// The list of modules that is on disk, as far as is known.
    saved: Option<Vec<String>>,
    trouble: Option<String>,
    obituary: Obituary,
}

impl Workload {
    /// Listens for the modules known so far as soon as it is started.
    pub fn new(
        config: WorkloadConfig,
        ports: WorkloadPorts,
        keys: Keys,
        obituary: Obituary,
    ) -> Self {
        let answers = Rc::new(Answers::new(config.clone(), ports, keys));
        let (sockets, development, saved, trouble) = (BTreeMap::new(), None, None, None);
        Workload { config, answers, sockets, development, saved, trouble, obituary }
    }

    fn serve(&self, path: &Path, caller: Caller) -> Result<Server, String> {
        let listener = listen(path, &self.config.state.join("workload/new.sock"), RIGHTS);
        let listener = listener.map_err(|e| e.to_string())?;
        let answers = Rc::clone(&self.answers);
        let answer = handler(move |request| {
            let (answers, caller) = (Rc::clone(&answers), caller.clone());
            async move { answers.answer(&caller, &request).await }
        });
        Ok(Server::unix(listener, answer, LIMITS))
    }

    /// Sockets for these modules, and for no other.
    fn set_modules(&mut self, modules: &[String]) -> Result<(), String> {
        let path = |module: &str| directory(&self.config.state, module).join(SOCKET);
        for gone in self.sockets.keys().filter(|name| !modules.contains(name)) {
            remove(&directory(&self.config.state, gone));
        }
        self.sockets.retain(|name, _| modules.contains(name) && path(name).exists());
        let mut troubles = Vec::new();
        for module in modules {
            if self.sockets.contains_key(module) {
                continue;
            }
            match self.serve(&path(module), Caller::Module(module.clone())) {
                Ok(server) => _ = self.sockets.insert(module.clone(), server),
                Err(why) => troubles.push(format!("no workload socket for {module}: {why}")),
            }
        }
        self.trouble = (!troubles.is_empty()).then(|| troubles.join("; "));
        self.trouble.clone().map_or(Ok(()), Err)
    }
}

impl Actor for Workload {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        let known = load(&self.config.state);
        if let Err(why) = self.set_modules(&known) {
            tracing::error!(%why, "modules cannot log in");
        }
        if let Some(path) = self.config.development_socket.clone() {
            tracing::warn!(
                path = %path.display(),
                "the workload development socket signs for every module of this device without \
                 asking who calls"
            );
            match self.serve(&path, Caller::Anybody) {
                Ok(server) => self.development = Some(server),
                Err(why) => {
                    tracing::error!(%why, "no workload development socket");
                    self.trouble = Some(format!("no workload development socket: {why}"));
                }
            }
        }
    }
}

impl Handler<ModulesChanged> for Workload {
    type Result = Result<(), String>;

    fn handle(
        &mut self,
        ModulesChanged(modules): ModulesChanged,
        _: &mut Self::Context,
    ) -> Self::Result {
        let listening = self.set_modules(&modules);
        if self.saved.as_ref() == Some(&modules) {
            return listening; // the agent tells it again and again
        }
        // After the sockets: what is written is what a restart brings back.
        let saved = save(&self.config.state, &modules).map_err(|e| e.to_string());
        self.saved = saved.is_ok().then_some(modules);
        listening.and(saved)
    }
}

impl Supervised for Workload {
    fn obituary(&mut self) -> &mut Obituary {
        &mut self.obituary
    }

    fn health(&self) -> Health {
        let state = self.trouble.clone();
        let sockets = || format!("{} sockets", self.sockets.len());
        Health { state: state.unwrap_or_else(sockets) }
    }
}
crate::supervised!(Workload);
