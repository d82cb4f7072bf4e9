//! Containers: list, create, start, stop, remove. Only those with our instance's label.

use std::time::Duration;

use bollard::errors::Error;
use bollard::query_parameters::{RemoveContainerOptionsBuilder, RenameContainerOptionsBuilder};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::observed::{listed, observed};
use super::{DEADLINE, Docker, from_bollard};
use crate::domain::agent::names::{INSTANCE, MODULE};
use crate::domain::agent::observed::Observed;
use crate::messages::engine::EngineError;

/// Looking must not hang as long as stopping may.
const LOOK_DEADLINE: Duration = Duration::from_secs(60);

impl Docker {
    /// The containers of this instance, stopped ones too: of one module, or all.
    pub async fn list(&self, module: Option<&str>) -> Result<Vec<Observed>, EngineError> {
        let mut labels = vec![format!("{INSTANCE}={}", self.instance)];
        labels.extend(module.map(|module| format!("{MODULE}={module}")));
        let filters = json!({ "label": labels }).to_string();
        let filters = utf8_percent_encode(&filters, NON_ALPHANUMERIC);
        let target = format!("/containers/json?all=1&filters={filters}");
        let found = self.json("GET", &target, None, LOOK_DEADLINE).await?;
        let mut containers = Vec::new();
        for item in found.as_array().into_iter().flatten() {
            let Some(id) = item["Id"].as_str() else { continue };
            match self.json("GET", &format!("/containers/{id}/json"), None, LOOK_DEADLINE).await {
                Ok(inspect) => containers.push(observed(&inspect)),
                Err(EngineError::NotFound(_)) => {} // it has just gone
                // Damaged, say: that is its module's trouble, and not that of all others.
                Err(EngineError::Refused(why)) if module.is_none() => {
                    tracing::warn!(id, why, "a container cannot be looked at");
                    containers.push(listed(item));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(containers)
    }

    /// A container, whosever it is.
    pub async fn observe(&self, id: &str) -> Result<Observed, EngineError> {
        Ok(observed(&self.inspect(id).await?))
    }

    /// All that the engine says of a container.
    pub async fn inspect(&self, id: &str) -> Result<Value, EngineError> {
        self.json("GET", &format!("/containers/{id}/json"), None, LOOK_DEADLINE).await
    }

    /// Creates a container of exactly this body, but for what engines would do otherwise
    /// (`info.rs`). Answers with its id.
    pub async fn create(&self, name: &str, body: &Value) -> Result<String, EngineError> {
        let body = self.with_defaults(body);
        let name = utf8_percent_encode(name, NON_ALPHANUMERIC);
        let target = format!("/containers/create?name={name}");
        let created = self.json("POST", &target, Some(&body), DEADLINE).await?;
        let id = created["Id"].as_str().map(str::to_owned);
        id.ok_or_else(|| EngineError::Refused("the engine gave no id for a new container".into()))
    }

    /// Starts it; one that runs already is as good.
    pub async fn start(&self, id: &str) -> Result<(), EngineError> {
        as_done(self.client.start_container(id, None).await, &[304])
    }

    /// Stops it, with the time that its createOptions give it; gone or stopped is as good.
    pub async fn stop(&self, id: &str) -> Result<(), EngineError> {
        as_done(self.client.stop_container(id, None).await, &[304, 404])
    }

    /// Gives it another name, whether it runs or not.
    pub async fn rename(&self, id: &str, name: &str) -> Result<(), EngineError> {
        let options = RenameContainerOptionsBuilder::new().name(name).build();
        as_done(self.client.rename_container(id, options).await, &[])
    }

    /// Removes it with its anonymous volumes; gone is as good.
    pub async fn remove(&self, id: &str) -> Result<(), EngineError> {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        as_done(self.client.remove_container(id, Some(options)).await, &[404])
    }
}

fn as_done(result: Result<(), Error>, good: &[u16]) -> Result<(), EngineError> {
    match result {
        Err(Error::DockerResponseServerError { status_code, .. })
            if good.contains(&status_code) =>
        {
            Ok(())
        }
        other => other.map_err(from_bollard),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::agent::observed::Phase;
    use crate::protocol::http::{HttpRequest, HttpResponse, Limits, Server, handler};

    async fn engine(request: HttpRequest) -> HttpResponse {
        let labels = json!({ MODULE: "good" });
        match request.path.as_str() {
            "/containers/json" => {
                let bad = json!({ "Id": "c1", "Labels": { MODULE: "bad" }, "State": "running" });
                HttpResponse::json(200, &json!([bad, { "Id": "c2" }, { "Id": "c3" }]))
            }
            "/containers/c1/json" => HttpResponse::error(500, "layer does not exist"),
            "/containers/c2/json" => {
                HttpResponse::json(200, &json!({ "Id": "c2", "Config": { "Labels": labels } }))
            }
            "/version" => HttpResponse::json(200, &json!({ "ApiVersion": "1.47" })),
            _ => HttpResponse::error(404, "no such container"),
        }
    }

    #[actix::test]
    async fn a_container_that_cannot_be_looked_at_hides_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("docker.sock");
        let listener = tokio::net::UnixListener::bind(&socket).unwrap();
        let _server = Server::unix(listener, handler(engine), Limits::default());
        let address = format!("unix://{}", socket.display());
        let nowhere = std::path::Path::new("/nowhere");
        let (docker, _) = Docker::connect(&address, "i", nowhere).await.unwrap();
        let all = docker.list(None).await.unwrap();
        let names: Vec<&str> = all.iter().map(|it| it.module.as_str()).collect();
        assert_eq!((names, all[0].phase), (vec!["bad", "good"], Phase::Running));
        let own = docker.list(Some("bad")).await.unwrap_err();
        assert_eq!(own, EngineError::Refused("layer does not exist".into()), "its own trouble");
    }
}
