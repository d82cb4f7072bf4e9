//! The container engine's API, over its unix socket or TCP: Docker, or Podman in its place.
//!
//! bollard carries what has no body worth keeping: versions, start, stop, remove, networks, events
//! and logs. Where its typed model would lose or refuse what it does not know (createOptions, the
//! states of Podman's containers, log-ins with `+` or `/` in their base64), JSON goes as it is.
//! Used by `actors/agent/engine/`.

mod containers;
mod images;
mod info;
mod networks;
mod observed;
mod streams;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bollard::API_DEFAULT_VERSION;
use bollard::errors::Error;
use serde_json::Value;

pub use self::images::{Image, Progress};
pub use self::info::Room;
use self::info::Traits;
pub use self::streams::{EventStream, LogStream};
use super::http_client::{AskError, ClientAnswer, ClientRequest, Place, ask};
use crate::domain::agent::redact;
use crate::messages::engine::EngineError;

/// For everything but downloads: stopping a container may take as long as its `StopTimeout`.
const DEADLINE: Duration = Duration::from_secs(300);
/// To find out whether the engine is there.
const PING_DEADLINE: Duration = Duration::from_secs(10);

/// A client of one engine. Cheap to clone; one connection per request.
#[derive(Clone, Debug)]
pub struct Docker {
    client: bollard::Docker,
    place: Place,
    /// Only containers and networks with this label are seen, changed or removed.
    instance: String,
    traits: Arc<Traits>,
}

/// Where Docker's own configuration lies, unless it was told otherwise.
pub const DAEMON_FILE: &str = "/etc/docker/daemon.json";

/// Who answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineVersion {
    /// Its version.
    pub version: String,
    /// Of the machine.
    pub architecture: String,
}

impl Docker {
    /// A client for `address` (`unix:///path` or `tcp://host:port`), if the engine answers there.
    /// `daemon_file` is its configuration ([`DAEMON_FILE`]), which it does not tell of.
    pub async fn connect(
        address: &str,
        instance: &str,
        daemon_file: &Path,
    ) -> Result<(Self, EngineVersion), EngineError> {
        let place = place(address)?;
        let client = match &place {
            Place::Unix(path) => bollard::Docker::connect_with_unix(
                &path.to_string_lossy(),
                DEADLINE.as_secs(),
                API_DEFAULT_VERSION,
            ),
            _ => {
                bollard::Docker::connect_with_http(address, DEADLINE.as_secs(), API_DEFAULT_VERSION)
            }
        };
        let away = |why: &dyn std::fmt::Display| EngineError::Away(format!("{place}: {why}"));
        let negotiated = async { client?.negotiate_version().await };
        let client = tokio::time::timeout(PING_DEADLINE, negotiated)
            .await
            .map_err(|_| away(&"no answer"))?
            .map_err(|error| away(&error))?;
        let traits = Arc::default();
        let mut docker = Docker { client, place, instance: instance.into(), traits };
        let version = docker.version().await?;
        docker.look_around(daemon_file).await;
        Ok((docker, version))
    }

    #[cfg(test)]
    fn unconnected(traits: Traits) -> Self {
        let client =
            bollard::Docker::connect_with_http("tcp://127.0.0.1:9", 1, API_DEFAULT_VERSION);
        let (client, place) = (client.expect("is an address"), Place::Tcp("127.0.0.1".into(), 9));
        Docker { client, place, instance: String::new(), traits: Arc::new(traits) }
    }

    /// Asks the engine who it is.
    pub async fn version(&self) -> Result<EngineVersion, EngineError> {
        let answer = self.json("GET", "/version", None, PING_DEADLINE).await?;
        let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
        Ok(EngineVersion { version: text("Version"), architecture: text("Arch") })
    }

    /// JSON there, JSON back.
    async fn json(
        &self,
        method: &str,
        target: &str,
        body: Option<&Value>,
        deadline: Duration,
    ) -> Result<Value, EngineError> {
        let mut request = ClientRequest::new(method, target);
        if let Some(body) = body {
            request = request.with_json(body);
        }
        let answer = ask(&self.place, request, deadline).await.map_err(away)?;
        if !answer.is_success() {
            return Err(refused(&answer));
        }
        serde_json::from_slice(&answer.body)
            .map_err(|_| EngineError::Refused(format!("{} did not answer in JSON", self.place)))
    }
}

/// Whether a container engine may be at `address`.
pub fn is_address(address: &str) -> bool {
    place(address).is_ok()
}

fn place(address: &str) -> Result<Place, EngineError> {
    let bad = || {
        let help = "write unix:///path/to/docker.sock or tcp://host:port";
        EngineError::Refused(format!(
            "`{address}` is not the address of a container engine: {help}"
        ))
    };
    if let Some(path) = address.strip_prefix("unix://") {
        return Ok(Place::Unix(PathBuf::from(path)));
    }
    if address.starts_with('/') {
        return Ok(Place::Unix(PathBuf::from(address)));
    }
    let authority = address.strip_prefix("tcp://").or_else(|| address.strip_prefix("http://"));
    let authority = authority.ok_or_else(bad)?.trim_end_matches('/');
    let (host, port) = authority.rsplit_once(':').ok_or_else(bad)?;
    Ok(Place::Tcp(host.into(), port.parse().map_err(|_| bad())?))
}

fn away(error: AskError) -> EngineError {
    EngineError::Away(error.to_string())
}

/// The engine said no: its own words, under what they mean to us.
fn refused(answer: &ClientAnswer) -> EngineError {
    let json: Option<Value> = serde_json::from_slice(&answer.body).ok();
    let message = json.as_ref().and_then(|it| it["message"].as_str()).map(str::to_owned);
    let message = message.unwrap_or_else(|| String::from_utf8_lossy(&answer.body).into_owned());
    by_status(answer.status, message)
}

/// It may quote what it was asked for, addresses with passwords among it.
fn by_status(status: u16, message: String) -> EngineError {
    let message = redact::text(&message);
    match status {
        404 => EngineError::NotFound(message),
        409 => EngineError::Conflict(message),
        500 if message.contains("already in use by") => EngineError::Conflict(message), // Podman
        _ => EngineError::Refused(message),
    }
}

/// bollard's errors: the engine's answers by their status, all else is the engine being away.
fn from_bollard(error: Error) -> EngineError {
    match error {
        Error::DockerResponseServerError { status_code, message } => {
            by_status(status_code, message)
        }
        Error::DockerStreamError { error } => EngineError::Refused(redact::text(&error)),
        other => EngineError::Away(redact::text(&other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_engines_are_read() {
        let read = |address| place(address).map(|place| place.to_string()).ok();
        assert_eq!(read("unix:///run/docker.sock").as_deref(), Some("/run/docker.sock"));
        assert_eq!(read("/run/docker.sock").as_deref(), Some("/run/docker.sock"));
        assert_eq!(read("tcp://127.0.0.1:2375").as_deref(), Some("http://127.0.0.1:2375"));
        assert_eq!(read("127.0.0.1:2375"), None);
        assert_eq!(read("tcp://127.0.0.1"), None);
    }

    #[test]
    fn refusals_keep_the_engines_words() {
        let answer = |status, body: &str| ClientAnswer {
            status,
            body: body.to_owned().into(),
            ..ClientAnswer::default()
        };
        let json = r#"{"message":"no such image: x"}"#;
        assert_eq!(refused(&answer(404, json)), EngineError::NotFound("no such image: x".into()));
        assert_eq!(refused(&answer(409, "taken")), EngineError::Conflict("taken".into()));
        let taken = "the container name \"m\" is already in use by 0123"; // so says Podman
        assert_eq!(refused(&answer(500, taken)), EngineError::Conflict(taken.into()));
        assert_eq!(refused(&answer(500, "")), EngineError::Refused(String::new()));
    }
}
