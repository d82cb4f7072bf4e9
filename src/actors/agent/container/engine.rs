//! What a container is brought up with: the engine's commands, names, and the module's identity.

use std::time::Duration;

use actix::Recipient;

use super::bring_up::{BringUp, Failure};
use crate::actors::agent::AgentPorts;
use crate::actors::port::NoAnswer;
use crate::domain::agent::names::{aside_name, container_name, other_container_name};
use crate::domain::agent::observed::Observed;
use crate::domain::agent::plan::Want;
use crate::domain::agent::words::PullPolicy;
use crate::domain::identity::Identity;
use crate::messages::engine::{Done, EngineError, ListContainers, PullImage, PullProgress, Run};
use crate::messages::identities::{IdentityRecord, Lookup};
use crate::messages::modules::Assignment;

/// For the engine's answers; stopping takes as long as a container may.
const ENGINE: Duration = Duration::from_secs(310);
/// A download may take hours; one that stalls is ended by the protocol.
const DOWNLOAD: Duration = Duration::from_secs(24 * 3600);
/// For an identity out of the cache.
const CACHE: Duration = Duration::from_secs(5);
/// For an identity from the parent.
const PARENT: Duration = Duration::from_secs(40);

impl BringUp {
    /// The module's own name, and another if a container that is not ours has that.
    fn names(&self) -> [String; 2] {
        let (module, around) = (&self.assignment.spec.name, &self.assignment.instance);
        [container_name(module, around), other_container_name(module, around)]
    }

    pub(super) async fn create(&self, want: &Want) -> Result<String, EngineError> {
        let generation = want.generation.as_deref().unwrap_or_default();
        let body = self.assignment.body.for_generation(generation);
        for name in self.names() {
            match self.engine(Run::Create { name, body: body.clone() }).await {
                Ok(Done::Created(id)) => return Ok(id),
                Ok(_) => return Err(EngineError::Refused("no id".into())),
                Err(EngineError::Conflict(why)) => tracing::debug!(why, "another name is tried"),
                Err(error) => return Err(error),
            }
        }
        Err(self.no_name())
    }

    /// Out of the way of the new one.
    pub(super) async fn aside(&self, id: &str) -> Result<(), EngineError> {
        let name = aside_name(&self.assignment.spec.name, &self.assignment.instance);
        self.engine(Run::Rename { id: id.into(), name }).await.map(drop)
    }

    /// Back to the module's name.
    pub(super) async fn back(&self, id: &str) -> Result<(), EngineError> {
        for name in self.names() {
            match self.engine(Run::Rename { id: id.into(), name }).await {
                Err(EngineError::Conflict(why)) => tracing::debug!(why, "another name is tried"),
                other => return other.map(drop),
            }
        }
        Err(self.no_name())
    }

    fn no_name(&self) -> EngineError {
        let names = self.names().join(" and ");
        EngineError::Conflict(format!("the container names {names} are taken: remove one of them"))
    }

    pub(super) async fn pull(&self) -> Result<String, EngineError> {
        pull(self.ports.clone(), self.assignment.clone(), self.progress.clone()).await
    }

    pub(super) async fn list(&self) -> Result<Vec<Observed>, EngineError> {
        let ask = ListContainers { module: Some(self.assignment.spec.name.clone()) };
        let mut list = self.ports.list.ask(ask, ENGINE).await.map_err(away)??;
        for observed in list.iter_mut().filter(|it| !it.error.is_empty()) {
            observed.error = self.assignment.secrets().hide(&observed.error);
        }
        Ok(list)
    }

    /// An engine that refuses something may quote it: no secret of the module is in its words.
    pub(super) async fn engine(&self, what: Run) -> Result<Done, EngineError> {
        let done = self.ports.run.ask(what, ENGINE).await.map_err(away)?;
        done.map_err(|error| error.map(|why| self.assignment.secrets().hide(why)))
    }

    /// Of the module's identity, as far as it is known here.
    pub(super) async fn known_generation(&self, identity: &Identity) -> Option<String> {
        let known = self.lookup(identity, false, CACHE).await;
        known.ok().flatten().map(|record| record.generation)
    }

    async fn lookup(
        &self,
        identity: &Identity,
        ask_parent: bool,
        deadline: Duration,
    ) -> Result<Option<IdentityRecord>, Failure> {
        let ask = Lookup { identity: identity.clone(), ask_parent };
        let answer = self.ports.lookup.ask(ask, deadline).await;
        let answer = answer.map_err(|error| Failure::Identity(error.to_string()))?;
        answer.map_err(|error| Failure::Identity(error.to_string()))
    }

    /// Known at the parent, or made there.
    pub(super) async fn make_identity(&self, identity: &Identity) -> Result<String, Failure> {
        if let Some(record) = self.lookup(identity, true, PARENT).await? {
            return Ok(record.generation);
        }
        let made = tokio::time::timeout(PARENT, (self.registrar)(identity.clone())).await;
        made.map_err(|_| Failure::Identity("the parent did not answer".into()))?
            .map_err(Failure::Identity)?;
        match self.lookup(identity, true, PARENT).await? {
            Some(record) => Ok(record.generation),
            None => Err(Failure::Identity("the parent made it, and does not tell it".into())),
        }
    }
}

/// Has the image of a module; answers with what there is to say of it.
pub(in crate::actors::agent) async fn pull(
    ports: AgentPorts,
    assignment: Assignment,
    progress: Option<Recipient<PullProgress>>,
) -> Result<String, EngineError> {
    let secrets = assignment.secrets();
    let ask = PullImage {
        image: assignment.spec.image.reference(),
        ask_registry: assignment.spec.pull_policy == PullPolicy::OnCreate,
        credential: assignment.credential,
        progress,
    };
    let pulled = ports.pull.ask(ask, DOWNLOAD).await.map_err(away)?;
    let pulled = pulled.map_err(|error| error.map(|why| secrets.hide(why)))?;
    Ok(secrets.hide(&pulled.note))
}

fn away(_: NoAnswer) -> EngineError {
    EngineError::Away("its actor does not answer".into())
}
