//! What the engine is asked to do. Each ask is a future of its own: none waits for another's,
//! but downloads, of which there are few at a time.

use std::rc::Rc;

use actix::prelude::*;
use futures_util::StreamExt;
use serde_json::Value;

use super::Engine;
use super::follow::follow;
use super::gate::{Gate, find};
use crate::actors::clock;
use crate::domain::agent::manifest::Credential;
use crate::domain::agent::observed::{Observed, newest};
use crate::messages::agent::{GetLogs, InspectModule, ModuleLogs};
use crate::messages::engine::{Done, EngineError, ListContainers, PullImage, Pulled, Run};
use crate::protocol::docker::Docker;

impl Handler<ListContainers> for Engine {
    type Result = ResponseFuture<Result<Vec<Observed>, EngineError>>;

    fn handle(&mut self, ask: ListContainers, _: &mut Self::Context) -> Self::Result {
        let docker = self.docker();
        Box::pin(async move { docker?.list(ask.module.as_deref()).await })
    }
}

impl Handler<Run> for Engine {
    type Result = ResponseFuture<Result<Done, EngineError>>;

    fn handle(&mut self, what: Run, _: &mut Self::Context) -> Self::Result {
        let (docker, gate) = (self.docker(), self.gate.clone());
        let (word, counted) = (what.word(), Rc::clone(&self.commands));
        Box::pin(async move {
            let began = clock::now();
            let done = run(docker, gate, what).await;
            if let Some(word) = word {
                let mut counted = counted.borrow_mut();
                let commands = counted.entry(word).or_default();
                commands.took += clock::now().saturating_duration_since(began);
                let count = if done.is_ok() { &mut commands.done } else { &mut commands.failed };
                *count += 1;
            }
            done
        })
    }
}

async fn run(
    docker: Result<Docker, EngineError>,
    gate: Gate,
    what: Run,
) -> Result<Done, EngineError> {
    let docker = docker?;
    Ok(match what {
        Run::Create { name, mut body } => {
            let image = body["Image"].as_str().unwrap_or_default();
            body["Image"] = gate.admit(&docker, image, None).await?.into();
            Done::Created(docker.create(&name, &body).await?)
        }
        Run::Judge { id, credential } => {
            judge(&docker, &gate, &id, credential.as_ref()).await.map(|()| Done::Plain)?
        }
        Run::Start(id) => {
            judge(&docker, &gate, &id, None).await?;
            docker.start(&id).await.map(|()| Done::Plain)?
        }
        Run::Stop(id) => docker.stop(&id).await.map(|()| Done::Plain)?,
        Run::Remove(id) => docker.remove(&id).await.map(|()| Done::Plain)?,
        Run::Rename { id, name } => docker.rename(&id, &name).await.map(|()| Done::Plain)?,
        Run::FindNetwork(name) => Done::Network(docker.find_network(&name).await?),
        Run::FindImage(name) => Done::Image(docker.image_size(&name).await?),
        Run::EnsureNetwork(name) => Done::Network(docker.ensure_network(&name).await?),
    })
}

/// Without rules the engine is not asked.
async fn judge(
    docker: &Docker,
    gate: &Gate,
    id: &str,
    credential: Option<&Credential>,
) -> Result<(), EngineError> {
    if !gate.has_rules() {
        return Ok(());
    }
    gate.judge(docker, &docker.observe(id).await?, credential).await
}

impl Handler<PullImage> for Engine {
    type Result = ResponseFuture<Result<Pulled, EngineError>>;

    fn handle(&mut self, ask: PullImage, _: &mut Self::Context) -> Self::Result {
        let (docker, gate) = (self.docker(), self.gate.clone());
        let allowed = gate.allows(&ask.image);
        let of_registry = docker.as_ref().ok().filter(|_| ask.ask_registry && allowed.is_ok());
        let download = of_registry.map(|docker| self.pulls.join(docker, &self.ports, &ask));
        Box::pin(async move {
            let docker = docker?;
            allowed?;
            let pulled = match download {
                Some(download) => pulled(&docker, &ask.image, download.await).await?,
                None => present(&docker, &ask.image).await?,
            };
            gate.admit(&docker, &ask.image, ask.credential.as_ref()).await?;
            Ok(pulled)
        })
    }
}

async fn present(docker: &Docker, image: &str) -> Result<Pulled, EngineError> {
    if find(docker, image).await?.is_some() {
        return Ok(Pulled::default());
    }
    let why = format!(
        "image {image} is not on this device, and imagePullPolicy is never: load it, or set on-create"
    );
    Err(EngineError::NotFound(why))
}

/// The registry's answer counts; without one, what is here.
async fn pulled(
    docker: &Docker,
    image: &str,
    outcome: Result<(), EngineError>,
) -> Result<Pulled, EngineError> {
    let error = match outcome {
        Ok(()) => return Ok(Pulled::default()),
        Err(error @ EngineError::Away(_)) => return Err(error),
        Err(error) => error,
    };
    if find(docker, image).await?.is_some() {
        let note = format!("it was not pulled ({error}): the image on this device is used");
        return Ok(Pulled { note });
    }
    Err(EngineError::Refused(format!("image {image} cannot be had: {error}")))
}

impl Handler<GetLogs> for Engine {
    type Result = ResponseFuture<Result<ModuleLogs, String>>;

    fn handle(&mut self, ask: GetLogs, _: &mut Self::Context) -> Self::Result {
        let docker = self.docker();
        Box::pin(async move {
            let docker = docker.map_err(|error| error.to_string())?;
            let container = container_of(&docker, &ask.module).await?;
            if ask.follow {
                return Ok(follow(docker, &container.id, ask));
            }
            let logs = docker.logs(&container.id, &ask);
            let logs = logs.map(|chunk| chunk.map_err(|error| error.to_string()));
            Ok(logs.boxed())
        })
    }
}

/// The one that is asked about.
async fn container_of(docker: &Docker, module: &str) -> Result<Observed, String> {
    let containers = docker.list(Some(module)).await.map_err(|it| it.to_string())?;
    newest(&containers).cloned().ok_or_else(|| format!("module {module} has no container"))
}

impl Handler<InspectModule> for Engine {
    type Result = ResponseFuture<Result<Value, String>>;

    fn handle(
        &mut self,
        InspectModule(module): InspectModule,
        _: &mut Self::Context,
    ) -> Self::Result {
        let docker = self.docker();
        Box::pin(async move {
            let docker = docker.map_err(|error| error.to_string())?;
            let container = container_of(&docker, &module).await?;
            docker.inspect(&container.id).await.map_err(|error| error.to_string())
        })
    }
}
