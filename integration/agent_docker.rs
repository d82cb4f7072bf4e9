//! EdgeAgent against a real container engine.
#![allow(missing_docs, clippy::unwrap_used)]

mod agent;

use std::time::Duration;

use edge_runtime::domain::agent::observed::Phase;
use edge_runtime::messages::engine::EngineError;
use futures_util::StreamExt;
use serde_json::json;

use agent::{Instance, address, make_image, run};

#[tokio::test]
async fn a_container_lives_as_the_engine_is_told_and_nothing_of_its_body_is_lost() {
    let image = "edge-runtime-test/protocol:1";
    make_image(image);
    let instance = Instance::new("protocol");
    let docker = instance.docker().await;
    let gateway = docker.ensure_network(&instance.network).await.unwrap().expect("a gateway");
    assert_eq!(docker.ensure_network(&instance.network).await.unwrap(), Some(gateway));

    let labels = json!({
        "io.edge-runtime.instance": instance.id, "io.edge-runtime.module": "m",
        "io.edge-runtime.spec-hash": "h1",
    });
    let body = json!({
        "Image": image, "Cmd": ["env"], "Env": ["A=1"], "Labels": labels, "hostname": "lower",
        "HostConfig": {"NanoCPUs": 500_000_000, "NetworkMode": instance.network},
        "FutureTopLevel": {"x": 1},
    });
    let since = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() - 1;
    let mut events = docker.events(since);
    let name = format!("{}-m", instance.id);
    let id = docker.create(&name, &body).await.unwrap();
    assert!(matches!(docker.create(&name, &body).await, Err(EngineError::Conflict(_))));
    docker.start(&id).await.unwrap();
    docker.start(&id).await.unwrap();
    let inspect =
        run("docker", &["inspect", "-f", "{{.Config.Hostname}} {{.HostConfig.NanoCpus}}", &id]);
    assert_eq!(inspect, "lower 500000000", "names in any case arrive");

    let observed = docker.list(Some("m")).await.unwrap();
    assert_eq!(observed.len(), 1);
    let (found, hash) = (&observed[0], observed[0].spec_hash.as_str());
    assert_eq!((found.id.as_str(), found.phase, hash), (id.as_str(), Phase::Running, "h1"));
    assert!(docker.list(Some("other")).await.unwrap().is_empty());
    let event = tokio::time::timeout(Duration::from_secs(10), events.next()).await.unwrap();
    assert_eq!(event.unwrap().unwrap(), "m");

    docker.stop(&id).await.unwrap();
    docker.stop(&id).await.unwrap();
    let logs: Vec<_> = docker.logs(&id, None, false).map(Result::unwrap).collect().await;
    let logs = String::from_utf8(logs.concat()).unwrap();
    for line in ["A=1", "running", "errors too"] {
        assert!(logs.lines().any(|it| it == line), "{line} in {logs}");
    }
    let last: Vec<_> = docker.logs(&id, Some(1), false).map(Result::unwrap).collect().await;
    assert_eq!(last.concat().iter().filter(|byte| **byte == b'\n').count(), 1);
    let observed = docker.list(None).await.unwrap();
    assert_eq!((observed[0].phase, observed[0].exit_code), (Phase::Exited, Some(0)));
    docker.remove(&id).await.unwrap();
    docker.remove(&id).await.unwrap();
    assert!(docker.list(None).await.unwrap().is_empty());
    assert!(docker.remove_network(&instance.network).await.unwrap());
    assert!(!docker.remove_network("bridge").await.unwrap(), "not ours");
}

#[tokio::test]
async fn a_pull_that_fails_says_why_and_images_are_found() {
    let image = "edge-runtime-test/pull:1";
    make_image(image);
    let docker = Instance::new("pull").docker().await;
    assert!(docker.has_image(image).await.unwrap());
    assert!(!docker.has_image("127.0.0.1:9/nobody/nothing:1").await.unwrap());
    let failed = docker.pull("127.0.0.1:9/nobody/nothing:1", None, drop).await.unwrap_err();
    assert!(failed.to_string().contains("127.0.0.1:9"), "{failed}");
}

#[tokio::test]
async fn an_engine_that_is_not_there_is_away() {
    use edge_runtime::protocol::docker::Docker;
    let gone = Docker::connect("unix:///nowhere/docker.sock", "i").await.unwrap_err();
    assert!(matches!(gone, EngineError::Away(_)), "{gone}");
    let wrong = Docker::connect("docker.sock", "i").await.unwrap_err();
    assert!(matches!(wrong, EngineError::Refused(_)), "{wrong}");
    assert!(Docker::connect(&address(), "i").await.is_ok());
}
