//! EdgeAgent against a real container engine.
#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods)]

mod agent;
#[path = "agent/collecting.rs"]
mod collecting;
#[path = "agent/engines.rs"]
mod engines;
#[path = "agent/images.rs"]
mod images;
#[path = "agent/many.rs"]
mod many;
#[path = "agent/policies.rs"]
mod policies;
#[path = "agent/pulls.rs"]
mod pulls;
#[path = "agent/updates.rs"]
mod updates;

use std::time::Duration;

use edge_runtime::domain::agent::observed::Phase;
use edge_runtime::messages::agent::{GetLogs, LogChunk};
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
        "HostConfig": {
            "NanoCPUs": 500_000_000, "NetworkMode": instance.network,
            "PortBindings": {"7/tcp": [{"HostIp": "127.46.2.1", "HostPort": ""}]},
        },
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
    let ports = run("docker", &["port", &id]);
    assert!(ports.contains("7/tcp -> 127.46.2.1:"), "published, though not exposed: {ports}");

    let observed = docker.list(Some("m")).await.unwrap();
    assert_eq!(observed.len(), 1);
    let (found, hash) = (&observed[0], observed[0].spec_hash.as_str());
    assert_eq!((found.id.as_str(), found.phase, hash), (id.as_str(), Phase::Running, "h1"));
    assert!(docker.list(Some("other")).await.unwrap().is_empty());
    let event = tokio::time::timeout(Duration::from_secs(10), events.next()).await.unwrap();
    assert_eq!(event.unwrap().unwrap(), "m");

    docker.stop(&id).await.unwrap();
    docker.stop(&id).await.unwrap();
    let logs = async |ask: GetLogs| {
        let chunks: Vec<_> = docker.logs(&id, &ask).map(Result::unwrap).collect().await;
        let of_errors: Vec<_> = chunks.iter().filter(|it| it.is_error).cloned().collect();
        let text = |chunks: Vec<LogChunk>| {
            String::from_utf8(chunks.iter().flat_map(|it| it.bytes.to_vec()).collect()).unwrap()
        };
        (text(chunks), text(of_errors))
    };
    let (all, errors) = logs(GetLogs::default()).await;
    assert_eq!(errors.trim(), "errors too");
    for line in ["A=1", "running", "errors too"] {
        assert!(all.lines().any(|it| it == line), "{line} in {all}");
    }
    let (last, _) = logs(GetLogs { tail: Some(1), is_stamped: true, ..GetLogs::default() }).await;
    assert!(last.lines().count() == 1 && last.starts_with("20"), "{last}");
    let (none, _) = logs(GetLogs { until: Some(1_000_000_000), ..GetLogs::default() }).await;
    assert_eq!(none, "");
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
    let tags = docker.image(image).await.unwrap().unwrap().tags;
    assert!(tags.iter().any(|tag| tag.ends_with(image)), "{tags:?}"); // Podman names its registry
    assert!(docker.image("127.0.0.1:9/nobody/nothing:1").await.unwrap().is_none());
    let failed = docker.pull("127.0.0.1:9/nobody/nothing:1", None, |_| Ok(())).await.unwrap_err();
    assert!(failed.to_string().contains("127.0.0.1:9"), "{failed}");
}

#[tokio::test]
async fn an_engine_that_is_not_there_is_away() {
    use edge_runtime::protocol::docker::Docker;
    let file = std::path::Path::new(edge_runtime::protocol::docker::DAEMON_FILE);
    let gone = Docker::connect("unix:///nowhere/docker.sock", "i", file).await.unwrap_err();
    assert!(matches!(gone, EngineError::Away(_)), "{gone}");
    let wrong = Docker::connect("docker.sock", "i", file).await.unwrap_err();
    assert!(matches!(wrong, EngineError::Refused(_)), "{wrong}");
    assert!(Docker::connect(&address(), "i", file).await.is_ok());
}

/// Desired properties with these modules.
fn deployment(modules: serde_json::Value) -> serde_json::Value {
    json!({
        "schemaVersion": "1.1", "runtime": {"type": "docker"}, "systemModules": {},
        "modules": modules,
    })
}

fn module(image: &str, command: &[&str], change: serde_json::Value) -> serde_json::Value {
    let mut module = json!({
        "type": "docker", "status": "running", "imagePullPolicy": "never",
        "settings": {"image": image, "createOptions": {"Cmd": command}},
    });
    for (name, value) in change.as_object().unwrap() {
        module[name] = value.clone();
    }
    module
}

#[actix::test]
async fn modules_of_a_deployment_run_in_real_containers_and_outlive_the_agent() {
    let image = "edge-runtime-test/agent:1";
    make_image(image);
    let instance = Instance::new("agent");
    let agent = agent::Agent::start(&instance);
    agent.deploy(
        1,
        deployment(json!({
            "steady": module(image, &["ls", "/run/edge-runtime/workload/here"], json!({})),
            "crashing": module(image, &["exit", "3"], json!({"restartPolicy": "on-failure"})),
            "done": module(image, &["exit", "0"], json!({"restartPolicy": "on-failure"})),
            "absent": module("edge-runtime-test/absent:1", &[], json!({})),
            "bad": {"type": "docker"},
        })),
    );
    agent
        .until("all are as they will be", |status| {
            let is = |name: &str, word: &str| {
                status.modules.iter().any(|it| it.name == name && it.status == word)
            };
            is("steady", "running")
                && is("crashing", "backoff")
                && is("done", "stopped")
                && is("absent", "backoff")
                && is("bad", "failed")
        })
        .await;
    let status = agent.status().await;
    assert_eq!(status.code, 400);
    let why = |name: &str| status.modules.iter().find(|it| it.name == name).unwrap().why.clone();
    assert_eq!(why("crashing"), "ended with exit code 3");
    assert!(why("absent").contains("imagePullPolicy is never"), "{}", why("absent"));

    let ids = instance.containers();
    let steady = run("docker", &["ps", "-q", "--no-trunc", "--filter", "name=^steady$"]);
    assert!(ids.contains(&steady), "{steady} in {ids:?}");
    let inspect = |format: &str| run("docker", &["inspect", "-f", format, &steady]);
    let hosts = inspect("{{.HostConfig.ExtraHosts}}");
    let gateway = run(
        "docker",
        &["network", "inspect", "-f", "{{(index .IPAM.Config 0).Gateway}}", &instance.network],
    );
    assert_eq!(hosts, format!("[gw.test:{gateway}]"));
    let rotation = inspect("{{.HostConfig.LogConfig}}");
    // Podman has it, and does not show it here.
    assert!(rotation.contains("max-size:10m") || agent::is_podman(), "{rotation}");
    let logs = agent.logs("steady").await;
    assert!(logs.contains("present"), "the directory of its socket is mounted: {logs}");

    // Killed: it is started again by its policy. The agent stops: containers run on, and the next
    // agent adopts them.
    agent.stop().await;
    assert_eq!(inspect("{{.State.Running}}"), "true");
    let agent = agent::Agent::start(&instance);
    agent.deploy(
        1,
        deployment(json!({
            "steady": module(image, &["ls", "/run/edge-runtime/workload/here"], json!({})),
        })),
    );
    agent
        .until("only steady is left", |status| {
            let is_left = instance.containers() == std::slice::from_ref(&steady);
            status.code == 200 && status.modules.len() == 3 && is_left
        })
        .await;
    run("docker", &["kill", &steady]);
    agent.until("it is seen dead", |status| status.modules[2].status == "backoff").await;
    assert!(agent.status().await.modules[2].why.contains("signal 9"));
    agent.until("it runs again", |status| status.modules[2].status == "running").await;
    assert_eq!(agent.status().await.modules[2].restarts, 1);
    agent
        .until("it is reported", |_| agent.reported()["modules"]["steady"]["restartCount"] == 1)
        .await;
    agent.stop().await;
}

/// A rule of the machine's firewall, for as long as it lives.
struct Dropped(Vec<String>);

impl Dropped {
    fn to(address: &str) -> Self {
        let rule = ["INPUT", "-d", address, "-p", "tcp", "--dport", "8883", "-j", "DROP"];
        let rule: Vec<String> = rule.map(str::to_owned).into();
        run(
            "iptables",
            &[&["-I"], rule.iter().map(String::as_str).collect::<Vec<_>>().as_slice()].concat(),
        );
        Dropped(rule)
    }
}

impl Drop for Dropped {
    fn drop(&mut self) {
        let _ = std::process::Command::new("iptables").arg("-D").args(&self.0).status();
    }
}

#[actix::test]
async fn a_firewall_between_a_container_and_edge_hub_is_found_out_and_the_rule_is_named() {
    let image = "edge-runtime-test/firewall:1";
    make_image(image);
    let instance = Instance::new("firewall");
    let gateway = instance.docker().await.ensure_network(&instance.network).await.unwrap().unwrap();
    let dropped = Dropped::to(&gateway);
    let agent = agent::Agent::start(&instance);
    agent.deploy(1, deployment(json!({"walled": module(image, &["run"], json!({}))})));
    let rule = format!("iptables -I INPUT -d {gateway} -p tcp --dport 8883 -j ACCEPT");
    let why = |status: &edge_runtime::messages::agent::AgentStatus| {
        status.modules.get(2).map(|it| it.why.clone()).unwrap_or_default()
    };
    agent.until("the rule is named", |status| why(status).contains(&rule)).await;
    assert_eq!(agent.status().await.modules[2].status, "running");
    drop(dropped);
    agent.restart("walled").await;
    agent
        .until("it is not said any more", |status| status.code == 200 && why(status).is_empty())
        .await;
    agent.stop().await;
}
