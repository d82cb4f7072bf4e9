//! The identities of modules at the parent: makes them as modules come, and removes those that it
//! made as they go.
//!
//! What it made is kept in `state`, with its generation: only such an identity is ever removed,
//! and only in that generation; all others are left alone, whatever their `managedBy` says. Each
//! is a matter of its own: one that the parent will not make or remove holds up no other, and is
//! tried again.
//!
//! Started by `edge-agent`. Asked by `container/bring_up.rs`, told by `deployment/apply.rs`.

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use futures_util::FutureExt;
use futures_util::future::join_all;

use super::{AgentPorts, Registrar, TABLE};
use crate::actors::clock;
use crate::actors::port::Port;
use crate::actors::supervision::{Obituary, Supervised};
use crate::messages::engine::ListContainers;
use crate::messages::modules::{MakeIdentity, ModulesWanted};
use crate::messages::state::{Change, Save, Scan};
use crate::messages::supervision::Health;
use crate::protocol::parent_rest::ParentRest;

/// Keys of what it made: this and the module; the value is the generation.
const PREFIX: &str = "identity/";
const SHORT: Duration = Duration::from_secs(10);
const ENGINE: Duration = Duration::from_secs(130);
/// The parent's own deadlines are within it.
const PARENT: Duration = Duration::from_secs(70);
/// What could not be removed is tried again.
const RETRY: Duration = Duration::from_secs(30);
/// A container that is being stopped is looked for again.
const LOOK: Duration = Duration::from_secs(5);

/// See the module documentation.
pub struct Roster {
    rest: ParentRest,
    ports: AgentPorts,
    /// Modules of the deployment; `None`: not known yet.
    wanted: Option<Wanted>,
    is_sweeping: bool,
    sweep_again: bool,
    timer: Option<SpawnHandle>,
    trouble: String,
    obituary: Obituary,
}

/// Looked at again before anything is removed.
type Wanted = Rc<RefCell<BTreeSet<String>>>;

/// What became of an identity that is not wanted any more.
enum Swept {
    Done,
    /// Its container is still there.
    Early,
    Failed(String),
}

/// The registrar that `bring_up` is given: it asks the roster.
pub fn registrar(port: Port<MakeIdentity>) -> Registrar {
    Rc::new(move |identity| {
        let made = port.order(MakeIdentity(identity), PARENT);
        async move { made.await.map_err(|error| error.to_string())? }.boxed_local()
    })
}

impl Roster {
    /// Asks the parent by `rest`.
    pub fn new(rest: ParentRest, ports: AgentPorts, obituary: Obituary) -> Self {
        Roster {
            rest,
            ports,
            wanted: None,
            is_sweeping: false,
            sweep_again: false,
            timer: None,
            trouble: String::new(),
            obituary,
        }
    }

    /// One at a time; what came meanwhile makes one more.
    fn sweep(&mut self, ctx: &mut Context<Self>) {
        let Some(wanted) = self.wanted.clone() else { return };
        if std::mem::replace(&mut self.is_sweeping, true) {
            self.sweep_again = true;
            return;
        }
        if let Some(timer) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        let sweep = sweep(self.rest.clone(), self.ports.clone(), wanted);
        ctx.spawn(sweep.into_actor(self).map(|swept, this, ctx| {
            this.is_sweeping = false;
            this.on_swept(swept, ctx);
        }));
    }

    fn on_swept(&mut self, swept: Result<Vec<Swept>, String>, ctx: &mut Context<Self>) {
        let mut delay = None;
        let mut troubles = Vec::new();
        match swept {
            Ok(swept) => {
                for one in swept {
                    match one {
                        Swept::Done => {}
                        Swept::Early => delay = Some(LOOK),
                        Swept::Failed(why) => troubles.push(why),
                    }
                }
            }
            Err(why) => troubles.push(why),
        }
        let trouble = troubles.join("; ");
        if !trouble.is_empty() {
            delay = delay.or(Some(RETRY));
            if trouble != self.trouble {
                tracing::warn!(why = trouble, "identities of modules that are gone; again later");
            }
        }
        self.trouble = trouble;
        if std::mem::take(&mut self.sweep_again) {
            return self.sweep(ctx);
        }
        self.timer = delay.map(|delay| {
            ctx.run_later(delay, |this, ctx| {
                this.timer = None;
                this.sweep(ctx);
            })
        });
    }
}

/// Removes all that it made and that are not wanted.
async fn sweep(rest: ParentRest, ports: AgentPorts, wanted: Wanted) -> Result<Vec<Swept>, String> {
    let scan = Scan { table: TABLE, prefix: PREFIX.into(), from: Vec::new(), max: usize::MAX };
    let made = ports.scan.ask(scan, SHORT).await.map_err(|it| it.to_string())?;
    let made = made.map_err(|it| it.to_string())?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let made = made.iter().map(|(key, generation)| (text(&key[PREFIX.len()..]), text(generation)));
    let made: Vec<_> = made.filter(|(module, _)| !wanted.borrow().contains(module)).collect();
    if made.is_empty() {
        return Ok(Vec::new());
    }
    let each = made.into_iter().map(|(module, generation)| {
        let (rest, ports, wanted) = (rest.clone(), ports.clone(), wanted.clone());
        async move {
            let removed = remove(&rest, &ports, &wanted, &module, &generation).await;
            removed.unwrap_or_else(|why| Swept::Failed(format!("{module}: {why}")))
        }
    });
    Ok(join_all(each).await)
}

async fn remove(
    rest: &ParentRest,
    ports: &AgentPorts,
    wanted: &Wanted,
    module: &str,
    generation: &str,
) -> Result<Swept, String> {
    let ask = ListContainers { module: Some(module.to_owned()) };
    let containers = ports.list.ask(ask, ENGINE).await.map_err(|it| it.to_string())?;
    if !containers.map_err(|it| it.to_string())?.is_empty() {
        return Ok(Swept::Early);
    }
    let identity = rest.device.sibling(module).map_err(|it| it.to_string())?;
    let now = || clock::unix_time().as_secs();
    let found = rest.find_module(&identity, now()).await.map_err(|it| it.to_string())?;
    if wanted.borrow().contains(module) {
        return Ok(Swept::Done); // it came back
    }
    match found {
        Some(found) if found.generation == generation => {
            rest.remove_module(&identity, &found, now()).await.map_err(|it| it.to_string())?;
            tracing::info!(target: "audit", %identity, generation, "identity removed");
        }
        Some(_) => tracing::info!(%identity, "somebody made it anew: it is left alone"),
        None => {}
    }
    let forget = Save(vec![Change::delete(TABLE, key(module))]);
    ports
        .save
        .ask(forget, SHORT)
        .await
        .map_err(|it| it.to_string())?
        .map_err(|it| it.to_string())?;
    Ok(Swept::Done)
}

fn key(module: &str) -> Vec<u8> {
    format!("{PREFIX}{module}").into_bytes()
}

impl Actor for Roster {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let own = ctx.address();
        self.ports.make_identity.plug(&own);
        self.ports.modules_wanted.plug(&own);
    }
}

impl Handler<MakeIdentity> for Roster {
    type Result = ResponseFuture<Result<(), String>>;

    fn handle(
        &mut self,
        MakeIdentity(identity): MakeIdentity,
        _: &mut Self::Context,
    ) -> Self::Result {
        let (rest, save) = (self.rest.clone(), self.ports.save.clone());
        Box::pin(async move {
            let now = clock::unix_time().as_secs();
            let made = rest.make_module(&identity, now).await.map_err(|it| it.to_string())?;
            let Some(made) = made else { return Ok(()) }; // not ours to remove
            let generation = made.generation;
            tracing::info!(target: "audit", %identity, generation, "identity made");
            let module = identity.module_id().unwrap_or_default();
            let keep = Save(vec![Change::put(TABLE, key(module), generation)]);
            match save.ask(keep, SHORT).await {
                Ok(Ok(())) => {}
                Ok(Err(why)) => {
                    tracing::warn!(%identity, %why, "cannot be kept as ours: it is never removed");
                }
                Err(why) => {
                    tracing::warn!(%identity, %why, "cannot be kept as ours: it is never removed");
                }
            }
            Ok(())
        })
    }
}

impl Handler<ModulesWanted> for Roster {
    type Result = ();

    fn handle(&mut self, ModulesWanted(modules): ModulesWanted, ctx: &mut Self::Context) {
        let modules = modules.into_iter().collect();
        match &self.wanted {
            Some(wanted) => *wanted.borrow_mut() = modules,
            None => self.wanted = Some(Rc::new(RefCell::new(modules))),
        }
        self.sweep(ctx);
    }
}

impl Supervised for Roster {
    fn obituary(&mut self) -> &mut Obituary {
        &mut self.obituary
    }

    fn health(&self) -> Health {
        let state = if self.trouble.is_empty() { "running" } else { &self.trouble };
        Health { state: state.to_owned() }
    }
}
crate::supervised!(Roster);
