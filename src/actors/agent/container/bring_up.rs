//! Brings a module's container to where it is wanted: looks, does the planner's steps, looks again.
//!
//! One future, with a deadline at every ask; what it needs it owns, so that it may be dropped at
//! any point: the next run begins with a look.

use std::time::Duration;

use actix::Recipient;

use super::{Doing, RunReport};
use crate::actors::agent::{AgentPorts, Registrar};
use crate::actors::port::NoAnswer;
use crate::domain::agent::names::{container_name, other_container_name};
use crate::domain::agent::observed::{Observed, Phase};
use crate::domain::agent::plan::{Step, Want, choose, steps};
use crate::domain::agent::words::{DesiredStatus, PullPolicy};
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

/// See the module documentation.
#[derive(Clone)]
pub(super) struct BringUp {
    pub(super) assignment: Assignment,
    pub(super) start_ended: bool,
    pub(super) device: Identity,
    pub(super) ports: AgentPorts,
    pub(super) registrar: Registrar,
    pub(super) doing: Recipient<RunReport>,
    pub(super) progress: Option<Recipient<PullProgress>>,
    /// It was up before: if it is gone now, it ended, and is not made again here.
    pub(super) is_watching: bool,
}

/// The container is the wanted one.
pub(super) struct Up {
    pub(super) observed: Observed,
    pub(super) note: String,
}

/// It is not.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("{0}")]
    Engine(#[from] EngineError),
    #[error("its identity cannot be had: {0}")]
    Identity(String),
    #[error("its container was removed by somebody")]
    Removed,
    #[error("its container is not there after it was made")]
    Vanished,
}

impl BringUp {
    pub(super) async fn run(self) -> Result<Up, Failure> {
        let mut note = String::new();
        let identity = self.device.sibling(&self.assignment.spec.name);
        let identity = identity.map_err(|error| Failure::Identity(error.to_string()))?;
        let mut want = self.assignment.want.clone();
        want.generation = self.known(&identity, false, CACHE).await.ok().flatten().map(generation);

        let have = self.list().await?;
        let have: Vec<&Observed> = have.iter().collect();
        if self.is_watching && choose(&want, &have).0.is_none() {
            return Err(Failure::Removed);
        }
        let mut steps = steps(&want, &have);
        if let (Some(current), _) = choose(&want, &have)
            && self.start_ended
            && want.status == DesiredStatus::Running
            && current.phase == Phase::Exited
        {
            steps.push(Step::Start(current.id.clone()));
        }
        if steps.is_empty() {
            return up(&want, &have, note);
        }
        if steps.contains(&Step::Create) && want.generation.is_none() {
            want.generation = Some(self.make_identity(&identity).await?);
        }
        let is_running = have.iter().any(|it| it.phase == Phase::Running);
        let mut created = None;
        for step in steps {
            tracing::info!(module = want.name, ?step, "step");
            if matches!(step, Step::StartNew | Step::Start(_)) {
                self.tell(Doing::Starting);
            }
            match step {
                Step::Pull => {
                    self.tell(Doing::Downloading(is_running));
                    note = self.pull().await?;
                    self.tell(Doing::Replacing);
                }
                Step::Stop(id) => self.engine(Run::Stop(id)).await.map(drop)?,
                Step::Remove(id) => self.engine(Run::Remove(id)).await.map(drop)?,
                Step::Create => created = Some(self.create(&want).await?),
                Step::StartNew => {
                    let id = created.clone().ok_or(Failure::Vanished)?;
                    self.engine(Run::Start(id)).await.map(drop)?;
                }
                Step::Start(id) => self.engine(Run::Start(id)).await.map(drop)?,
            }
        }
        let have = self.list().await?;
        up(&want, &have.iter().collect::<Vec<_>>(), note)
    }

    pub(super) async fn stop(self, id: String) -> Result<(), EngineError> {
        self.engine(Run::Stop(id)).await.map(drop)
    }

    /// Under the module's name, or another if a container that is not ours has it.
    async fn create(&self, want: &Want) -> Result<String, EngineError> {
        let generation = want.generation.as_deref().unwrap_or_default();
        let (module, around) = (&want.name, &self.assignment.instance);
        let names = [container_name(module, around), other_container_name(module, around)];
        let mut last = EngineError::Refused(String::new());
        for name in names {
            let body = self.assignment.body.for_generation(generation);
            match self.engine(Run::Create { name, body }).await {
                Ok(Done::Created(id)) => return Ok(id),
                Ok(_) => return Err(EngineError::Refused("no id".into())),
                Err(error @ EngineError::Conflict(_)) => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    async fn pull(&self) -> Result<String, EngineError> {
        let ask = PullImage {
            image: self.assignment.spec.image.reference(),
            ask_registry: self.assignment.spec.pull_policy == PullPolicy::OnCreate,
            credential: self.assignment.credential.clone(),
            progress: self.progress.clone(),
        };
        let pulled = self.ports.pull.ask(ask, DOWNLOAD).await.map_err(away)??;
        Ok(pulled.note)
    }

    async fn list(&self) -> Result<Vec<Observed>, EngineError> {
        let ask = ListContainers { module: Some(self.assignment.spec.name.clone()) };
        self.ports.list.ask(ask, ENGINE).await.map_err(away)?
    }

    async fn engine(&self, what: Run) -> Result<Done, EngineError> {
        self.ports.run.ask(what, ENGINE).await.map_err(away)?
    }

    async fn known(
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
    async fn make_identity(&self, identity: &Identity) -> Result<String, Failure> {
        if let Some(record) = self.known(identity, true, PARENT).await? {
            return Ok(generation(record));
        }
        let made = tokio::time::timeout(PARENT, (self.registrar)(identity.clone())).await;
        made.map_err(|_| Failure::Identity("the parent did not answer".into()))?
            .map_err(Failure::Identity)?;
        match self.known(identity, true, PARENT).await? {
            Some(record) => Ok(generation(record)),
            None => Err(Failure::Identity("the parent made it, and does not tell it".into())),
        }
    }

    fn tell(&self, doing: Doing) {
        self.doing.do_send(RunReport::Doing(doing)); // the last one told counts
    }
}

fn up(want: &Want, have: &[&Observed], note: String) -> Result<Up, Failure> {
    let (current, _) = choose(want, have);
    current.map(|observed| Up { observed: observed.clone(), note }).ok_or(Failure::Vanished)
}

fn generation(record: IdentityRecord) -> String {
    record.generation
}

fn away(_: NoAnswer) -> EngineError {
    EngineError::Away("its actor does not answer".into())
}
