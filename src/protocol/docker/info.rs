//! What an engine says of itself and its machine: where its images lie, who limits logs, which
//! registries it speaks to without TLS.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::Docker;
use crate::domain::agent::fields::{some_field, take_field};
use crate::protocol::http_client::Place;

const DEADLINE: Duration = Duration::from_secs(30);

/// Seconds between SIGTERM and SIGKILL, as Docker has them.
const STOP_TIMEOUT: u64 = 10;

/// What is known of it since the connection was made.
#[derive(Clone, Debug, Default)]
pub(super) struct Traits {
    /// Its data root, if it is on this machine.
    root: Option<PathBuf>,
    /// It limits the logs of containers by itself, or they are kept by another.
    limits_logs: bool,
    /// Hosts of registries that need no TLS.
    insecure: Vec<String>,
}

/// Room on a file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// Bytes that are free.
    pub free: u64,
    /// Of where.
    pub place: PathBuf,
}

impl Docker {
    /// Asks for them. `daemon_file` is the engine's own configuration, if it is on this machine.
    /// What cannot be found out is taken to be as after an installation.
    pub(super) async fn look_around(&mut self, daemon_file: &Path) {
        let info = match self.json("GET", "/info", None, DEADLINE).await {
            Ok(info) => info,
            Err(error) => {
                tracing::debug!(%error, "the container engine does not tell of itself");
                Value::Null
            }
        };
        let is_here = matches!(self.place, Place::Unix(_));
        let file = if is_here { read(daemon_file).await } else { Value::Null };
        let mut traits = traits(&info, &file);
        traits.root.take_if(|root| !is_here || !root.is_dir());
        self.traits = Arc::new(traits);
    }

    /// Room for images, where that can be seen.
    pub fn room(&self) -> Option<Room> {
        let place = self.traits.root.clone()?;
        let all = rustix::fs::statvfs(&place).ok()?;
        Some(Room { free: all.f_bavail.saturating_mul(all.f_frsize), place })
    }

    /// Whether the engine speaks to this registry without TLS, if it must.
    pub fn is_insecure(&self, registry: &str) -> bool {
        self.traits.insecure.iter().any(|host| host == registry)
    }

    /// A body with what an engine would do otherwise: a time to stop (Podman kills at once, where
    /// Docker waits 10 s), limits of the log, which fills the disk without, and ports that are bound:
    /// Docker publishes them only if they are exposed, too, and says nothing of the others.
    pub(super) fn with_defaults(&self, body: &Value) -> Value {
        let mut body = body.clone();
        let Some(members) = body.as_object_mut() else { return body };
        if some_field(members, "StopTimeout").is_none() {
            take_field(members, "StopTimeout");
            members.insert("StopTimeout".into(), STOP_TIMEOUT.into());
        }
        let mut host = take_field(members, "HostConfig").unwrap_or_else(|| json!({}));
        if let Some(host) = host.as_object_mut() {
            let chosen = some_field(host, "LogConfig").and_then(Value::as_object);
            if !self.traits.limits_logs && chosen.is_none_or(serde_json::Map::is_empty) {
                take_field(host, "LogConfig");
                let limits = json!({"max-size": "10m", "max-file": "3"});
                host.insert("LogConfig".into(), json!({"Type": "json-file", "Config": limits}));
            }
        }
        let bound = host.as_object().and_then(|host| some_field(host, "PortBindings"));
        if let Some(bound) = bound.and_then(Value::as_object).filter(|bound| !bound.is_empty()) {
            let mut exposed = take_field(members, "ExposedPorts").filter(Value::is_object);
            let ports = exposed.get_or_insert_with(|| json!({}));
            for port in bound.keys() {
                if ports.get(port).is_none() {
                    ports[port] = json!({});
                }
            }
            members.insert("ExposedPorts".into(), exposed.unwrap_or_default());
        }
        members.insert("HostConfig".into(), host);
        body
    }
}

async fn read(daemon_file: &Path) -> Value {
    let Ok(text) = tokio::fs::read(daemon_file).await else { return Value::Null };
    serde_json::from_slice(&text).unwrap_or_else(|error| {
        tracing::warn!(file = %daemon_file.display(), %error, "is not JSON: taken to set nothing");
        Value::Null
    })
}

fn traits(info: &Value, daemon_file: &Value) -> Traits {
    let root = info["DockerRootDir"].as_str().filter(|root| !root.is_empty()).map(PathBuf::from);
    let driver = info["LoggingDriver"].as_str().unwrap_or_default();
    let own_options = &daemon_file["log-opts"];
    let limits_logs = !matches!(driver, "" | "json-file" | "k8s-file")
        || ["max-size", "max-file"].iter().any(|name| !own_options[*name].is_null());
    let registries = info["RegistryConfig"]["IndexConfigs"].as_object();
    let insecure = registries.into_iter().flatten();
    let insecure = insecure.filter(|(_, registry)| registry["Secure"] == false);
    Traits { root, limits_logs, insecure: insecure.map(|(host, _)| host.clone()).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::agent::body::properties::{assert_nothing_lost, body_of, options};

    fn docker(info: &Value, daemon_file: &Value) -> Docker {
        Docker::unconnected(traits(info, daemon_file))
    }

    #[test]
    fn logs_are_limited_unless_the_engines_file_its_driver_or_the_module_says_otherwise() {
        let ours = json!({"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}});
        let plain = json!({"LoggingDriver": "json-file"});
        let limited = json!({"log-opts": {"max-size": "1m"}});
        let journald = json!({"LoggingDriver": "journald"});
        let none = Value::Null;
        let own = json!({"Type": "json-file", "Config": {"max-size": "5m"}});
        for (info, file, given, expected) in [
            (&plain, &none, &none, &ours),
            (&none, &none, &none, &ours),
            (&plain, &json!({"log-opts": {"labels": "x"}}), &none, &ours),
            (&plain, &none, &json!({}), &ours),
            (&plain, &limited, &none, &none),
            (&journald, &none, &none, &none),
            (&plain, &none, &own, &own),
            (&journald, &none, &own, &own),
        ] {
            let body = json!({"Image": "i", "hostconfig": {"logconfig": given, "Binds": ["a:b"]}});
            let body = docker(info, file).with_defaults(&body);
            let host = body["HostConfig"].as_object().unwrap();
            let log = some_field(host, "LogConfig").unwrap_or(&Value::Null);
            assert_eq!(log, expected, "{info} {file} {given}");
            assert_eq!((&body["StopTimeout"], &host["Binds"]), (&json!(10), &json!(["a:b"])));
        }
        let own = json!({"stopTimeout": 30});
        assert_eq!(docker(&plain, &none).with_defaults(&own)["StopTimeout"], Value::Null);
    }

    proptest::proptest! {
        #[test]
        fn defaults_take_nothing_away(options in options()) {
            for info in [json!({"LoggingDriver": "json-file"}), json!({"LoggingDriver": "local"})] {
                let body = docker(&info, &Value::Null).with_defaults(&body_of(&options));
                assert_nothing_lost(&options, &body);
            }
        }
    }

    #[test]
    fn a_port_that_is_bound_is_exposed_whatever_its_image_says() {
        let docker = docker(&Value::Null, &Value::Null);
        let body = json!({"exposedports": {"53/udp": {"x": 1}, "1/tcp": {}}, "HostConfig": {
            "portBindings": {"53/udp": [{"HostPort": "53"}], "8080/tcp": [{"HostPort": "80"}]},
        }});
        let body = docker.with_defaults(&body);
        let exposed = json!({"53/udp": {"x": 1}, "1/tcp": {}, "8080/tcp": {}});
        assert_eq!((&body["ExposedPorts"], &body["exposedports"]), (&exposed, &Value::Null));
        assert!(docker.with_defaults(&json!({})).get("ExposedPorts").is_none());
    }

    #[test]
    fn the_data_root_and_registries_without_tls_are_known() {
        let info = json!({"DockerRootDir": "/tmp", "RegistryConfig": {"IndexConfigs": {
            "docker.io": {"Secure": true}, "r.test:5000": {"Secure": false},
        }}});
        let docker = docker(&info, &Value::Null);
        assert!(docker.is_insecure("r.test:5000") && !docker.is_insecure("docker.io"));
        let room = docker.room().unwrap();
        assert!(room.free > 0 && room.place == Path::new("/tmp"));
        assert_eq!(Docker::unconnected(Traits::default()).room(), None, "it may be elsewhere");
    }
}
