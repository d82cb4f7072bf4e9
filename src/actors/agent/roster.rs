//! The identities of modules at the parent: makes them as modules come, and removes those that it
//! made as they go.
//!
//! What it made is kept in `state`, with its generation: only such an identity is ever removed,
//! and only in that generation; all others are left alone, whatever their `managedBy` says. Each
//! is a matter of its own: one that the parent will not make or remove holds up no other, and is
//! tried again. What is about to be made is kept, too (`intent.rs`): a crash before it is known to
//! be made leaves nothing behind.
//!
//! Started by `edge-agent`. Asked by `container/bring_up.rs`, told by `deployment/apply.rs`.

mod intent;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use futures_util::FutureExt;
use futures_util::future::join_all;

use self::intent::Intent;
use super::{AgentPorts, Registrar, TABLE};
use crate::actors::clock;
use crate::actors::port::Port;
use crate::actors::supervision::{Obituary, Supervised};
use crate::domain::agent::identities::gone;
use crate::domain::identity::Identity;
use crate::messages::engine::ListContainers;
use crate::messages::modules::{MakeIdentity, ModulesWanted};
use crate::messages::state::{Change, Save, Scan};
use crate::messages::supervision::Health;
use crate::mutant;
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
    /// Modules whose identity is being made now.
    making: Wanted,
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
    /// It may be made yet, by what was asked before this process began.
    Later,
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
            making: Wanted::default(),
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
        let making = Rc::clone(&self.making);
        let sweep = sweep(self.rest.clone(), self.ports.clone(), wanted, making);
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
                        Swept::Later => delay = delay.or(Some(RETRY)),
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
                tracing::warn!(why = trouble, "identities at the parent; again later");
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

/// Finds out what became of what was to be made, then removes all that it made and that are not
/// wanted.
async fn sweep(
    rest: ParentRest,
    ports: AgentPorts,
    wanted: Wanted,
    making: Wanted,
) -> Result<Vec<Swept>, String> {
    let mut intended = scan(&ports, intent::PREFIX).await?;
    intended.retain(|(module, _)| !making.borrow().contains(module));
    let each = intended.iter().map(|(module, value)| {
        let (rest, ports, wanted) = (&rest, &ports, &wanted);
        async move {
            let settled = settle(rest, ports, wanted, module, &Intent::parse(value)).await;
            settled.unwrap_or_else(|why| Swept::Failed(format!("{module}: {why}")))
        }
    });
    let mut swept = join_all(each).await;
    let made = gone(scan(&ports, PREFIX).await?, &wanted.borrow());
    let each = made.iter().map(|(module, generation)| {
        let (rest, ports, wanted) = (&rest, &ports, &wanted);
        async move {
            let removed = remove(rest, ports, wanted, module, &text(generation)).await;
            removed.unwrap_or_else(|why| Swept::Failed(format!("{module}: {why}")))
        }
    });
    swept.extend(join_all(each).await);
    Ok(swept)
}

/// Modules, and what is kept of each.
async fn scan(ports: &AgentPorts, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, String> {
    let scan = Scan { table: TABLE, prefix: prefix.into(), from: Vec::new(), max: usize::MAX };
    let found = ports.scan.ask_in_words(scan, SHORT).await?;
    Ok(found.iter().map(|(key, value)| (text(&key[prefix.len()..]), value.clone())).collect())
}

/// What became of an identity that was to be made.
async fn settle(
    rest: &ParentRest,
    ports: &AgentPorts,
    wanted: &Wanted,
    module: &str,
    intent: &Intent,
) -> Result<Swept, String> {
    let identity = rest.device.sibling(module).map_err(|it| it.to_string())?;
    let now = clock::unix_time().as_secs();
    match rest.find_module(&identity, now).await.map_err(|it| it.to_string())? {
        Some(found) if intent.is_of(&found, rest, module) => {
            keep(ports, &identity, found.generation).await?;
        }
        Some(_) => forget(ports, intent::key(module)).await?, // somebody else made it
        None if wanted.borrow().contains(module) => {}        // it will be made
        None if intent.may_come() => return Ok(Swept::Later),
        None => forget(ports, intent::key(module)).await?,
    }
    Ok(Swept::Done)
}

/// Makes it, if it is not there; and keeps that it did.
async fn make(rest: &ParentRest, ports: &AgentPorts, identity: &Identity) -> Result<(), String> {
    let module = identity.module_id().unwrap_or_default();
    let intent = Intent::of(ports, module).await?;
    mutant::point("identity-intended");
    let now = || clock::unix_time().as_secs();
    let keys = intent.keys(rest, module)?;
    let made = rest.make_module(identity, &keys, now()).await.map_err(|it| it.to_string())?;
    let made = match made {
        Some(made) => Some(made),
        // Perhaps by an earlier try, whose answer did not come.
        None => rest.find_module(identity, now()).await.map_err(|it| it.to_string())?,
    };
    mutant::point("identity-made");
    let kept = match made.filter(|made| intent.is_of(made, rest, module)) {
        Some(made) => keep(ports, identity, made.generation).await,
        None => forget(ports, intent::key(module)).await, // not ours to remove
    };
    if let Err(why) = kept {
        tracing::warn!(%identity, why, "it cannot be kept who made it; again at the next start");
    }
    Ok(())
}

/// It is ours, in this generation.
async fn keep(ports: &AgentPorts, identity: &Identity, generation: String) -> Result<(), String> {
    let module = identity.module_id().unwrap_or_default();
    let made = Change::put(TABLE, key(module), generation.clone());
    save(ports, vec![made, Change::delete(TABLE, intent::key(module))]).await?;
    tracing::info!(target: "audit", %identity, generation, "identity made");
    Ok(())
}

async fn forget(ports: &AgentPorts, key: Vec<u8>) -> Result<(), String> {
    save(ports, vec![Change::delete(TABLE, key)]).await
}

async fn save(ports: &AgentPorts, changes: Vec<Change>) -> Result<(), String> {
    ports.save.ask_in_words(Save(changes), SHORT).await
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

async fn remove(
    rest: &ParentRest,
    ports: &AgentPorts,
    wanted: &Wanted,
    module: &str,
    generation: &str,
) -> Result<Swept, String> {
    let ask = ListContainers { module: Some(module.to_owned()) };
    if !ports.list.ask_in_words(ask, ENGINE).await?.is_empty() {
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
    forget(ports, key(module)).await?;
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
    type Result = ResponseActFuture<Self, Result<(), String>>;

    fn handle(
        &mut self,
        MakeIdentity(identity): MakeIdentity,
        _: &mut Self::Context,
    ) -> Self::Result {
        let (rest, ports) = (self.rest.clone(), self.ports.clone());
        let module = identity.module_id().unwrap_or_default().to_owned();
        self.making.borrow_mut().insert(module.clone());
        let make = async move { make(&rest, &ports, &identity).await }.into_actor(self);
        Box::pin(make.map(move |made, this, ctx| {
            this.making.borrow_mut().remove(&module);
            let is_wanted = |wanted: &Wanted| wanted.borrow().contains(&module);
            if this.wanted.as_ref().is_some_and(|wanted| !is_wanted(wanted)) {
                this.sweep(ctx); // it went meanwhile
            }
            made
        }))
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
