//! Containers: list, create, start, stop, remove. Only those with our instance's label.

use std::time::Duration;

use bollard::errors::Error;
use bollard::query_parameters::{RemoveContainerOptionsBuilder, RenameContainerOptionsBuilder};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::observed::observed;
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
        let listed = self.json("GET", &target, None, LOOK_DEADLINE).await?;
        let mut containers = Vec::new();
        for id in listed.as_array().into_iter().flatten().filter_map(|it| it["Id"].as_str()) {
            match self.json("GET", &format!("/containers/{id}/json"), None, LOOK_DEADLINE).await {
                Ok(inspect) => containers.push(observed(&inspect)),
                Err(EngineError::NotFound(_)) => {} // it has just gone
                Err(error) => return Err(error),
            }
        }
        Ok(containers)
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
