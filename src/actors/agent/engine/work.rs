//! What the engine is asked to do. Each ask is a future of its own: none waits for another's,
//! but downloads, of which there are few at a time.

use std::time::{Duration, Instant};

use actix::prelude::*;
use futures_util::StreamExt;

use super::Engine;
use super::follow::{follow, newest};
use crate::actors::clock;
use crate::domain::agent::observed::Observed;
use crate::messages::agent::{GetLogs, ModuleLogs};
use crate::messages::engine::{
    Done, EngineError, ListContainers, PullImage, PullProgress, Pulled, Run,
};
use crate::protocol::docker::Docker;

/// Between two notices of one download.
const PROGRESS: Duration = Duration::from_secs(1);

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
        let docker = self.docker();
        Box::pin(async move {
            let docker = docker?;
            Ok(match what {
                Run::Create { name, body } => Done::Created(docker.create(&name, &body).await?),
                Run::Start(id) => docker.start(&id).await.map(|()| Done::Plain)?,
                Run::Stop(id) => docker.stop(&id).await.map(|()| Done::Plain)?,
                Run::Remove(id) => docker.remove(&id).await.map(|()| Done::Plain)?,
                Run::EnsureNetwork(name) => Done::Network(docker.ensure_network(&name).await?),
            })
        })
    }
}

impl Handler<PullImage> for Engine {
    type Result = ResponseFuture<Result<Pulled, EngineError>>;

    fn handle(&mut self, ask: PullImage, _: &mut Self::Context) -> Self::Result {
        let (docker, pulls) = (self.docker(), self.pulls.clone());
        Box::pin(async move {
            let docker = docker?;
            if !ask.ask_registry {
                return present(&docker, &ask.image).await;
            }
            if pulls.available_permits() == 0 {
                tell(&ask, "waits for other downloads".into());
            }
            let _permit = pulls.acquire().await;
            pull(&docker, &ask).await
        })
    }
}

async fn present(docker: &Docker, image: &str) -> Result<Pulled, EngineError> {
    if docker.has_image(image).await? {
        return Ok(Pulled::default());
    }
    let why = format!(
        "image {image} is not on this device, and imagePullPolicy is never: load it, or set on-create"
    );
    Err(EngineError::NotFound(why))
}

/// The registry's answer counts; without one, what is here.
async fn pull(docker: &Docker, ask: &PullImage) -> Result<Pulled, EngineError> {
    let mut last: Option<(Instant, String)> = None;
    let progress = |text: String| {
        let now = clock::now();
        let is_due = last.as_ref().is_none_or(|(at, told)| now - *at >= PROGRESS && *told != text);
        if is_due && !text.is_empty() {
            tell(ask, text.clone());
            last = Some((now, text));
        }
    };
    let error = match docker.pull(&ask.image, ask.credential.as_ref(), progress).await {
        Ok(()) => return Ok(Pulled::default()),
        Err(error @ EngineError::Away(_)) => return Err(error),
        Err(error) => error,
    };
    if docker.has_image(&ask.image).await? {
        let note =
            format!("the registry did not give it ({error}): the image on this device is used");
        return Ok(Pulled { note });
    }
    Err(EngineError::Refused(format!("image {} cannot be had: {error}", ask.image)))
}

fn tell(ask: &PullImage, text: String) {
    if let Some(progress) = &ask.progress {
        progress.do_send(PullProgress(text)); // idempotent
    }
}

impl Handler<GetLogs> for Engine {
    type Result = ResponseFuture<Result<ModuleLogs, String>>;

    fn handle(&mut self, ask: GetLogs, _: &mut Self::Context) -> Self::Result {
        let docker = self.docker();
        Box::pin(async move {
            let docker = docker.map_err(|error| error.to_string())?;
            let containers = docker.list(Some(&ask.module)).await.map_err(|it| it.to_string())?;
            let container = newest(containers)
                .ok_or_else(|| format!("module {} has no container", ask.module))?;
            if ask.follow {
                return Ok(follow(docker, ask.module, &container.id, ask.tail));
            }
            let logs = docker.logs(&container.id, ask.tail);
            let logs = logs.map(|chunk| chunk.map_err(|error| error.to_string()));
            Ok(logs.boxed())
        })
    }
}
