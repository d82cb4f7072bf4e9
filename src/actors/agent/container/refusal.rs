//! Updates that did not come up: kept in the state store, so that a restart does not try them anew.
//!
//! One for each module, until the deployment wants something else of it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::actors::agent::{AgentPorts, TABLE};
use crate::domain::agent::plan::Want;
use crate::messages::state::{Change, Fetch, Save};

const STORE: Duration = Duration::from_secs(10);

/// See the module documentation.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::actors::agent) struct Refusal {
    /// Of what the container was created from.
    pub(in crate::actors::agent) hash: String,
    /// What became of it.
    pub(in crate::actors::agent) why: String,
}

fn key(module: &str) -> Vec<u8> {
    format!("refused/{module}").into_bytes()
}

/// Why what is wanted was refused; what else was refused of the module before is forgotten.
pub(super) async fn read(ports: &AgentPorts, want: &Want) -> Option<String> {
    let known = ports.fetch.ask(Fetch(TABLE, key(&want.name)), STORE).await.ok()?.ok()??;
    match serde_json::from_slice::<Refusal>(&known) {
        Ok(refusal) if refusal.hash == want.hash => Some(refusal.why),
        _ => {
            forget(ports, &want.name).await;
            None
        }
    }
}

/// Answers when it is on disk.
pub(super) async fn keep(
    ports: &AgentPorts,
    module: &str,
    refusal: &Refusal,
) -> Result<(), String> {
    let value = serde_json::to_vec(refusal).map_err(|error| error.to_string())?;
    let save = Save(vec![Change::put(TABLE, key(module), value)]);
    ports.save.ask_in_words(save, STORE).await
}

/// The module is gone, or wanted otherwise.
pub(in crate::actors::agent) async fn forget(ports: &AgentPorts, module: &str) {
    let save = Save(vec![Change::delete(TABLE, key(module))]);
    if let Ok(Err(error)) = ports.save.ask(save, STORE).await {
        tracing::debug!(module, %error, "a refused update is not forgotten yet");
    }
}
