//! The engine goes away and comes back, its disk is full, and others use it too.

use edge_runtime::actors::agent::ImagesConfig;
use edge_runtime::messages::agent::AgentStatus;
use rustix::process::Signal;
use serde_json::json;

use super::agent::own_engine::OwnEngine;
use super::agent::registry::{Registry, make_fresh_image};
use super::agent::{Agent, Instance, make_image, run};
use super::images::{is, pulled, why};
use super::{deployment, module};

#[actix::test]
async fn an_engine_that_has_no_room_is_killed_or_restarted_is_waited_for() {
    if !OwnEngine::is_possible() {
        return;
    }
    make_fresh_image("edge-runtime-test/waits:1", 1000);
    let mut registry = Registry::running("127.44.0.7", false);
    registry.take("edge-runtime-test/waits:1", "waits:1");
    registry.stop();
    let mut engine = OwnEngine::start(64);
    registry.start_within(&engine.namespace);
    let ballast = engine.data().join("ballast");
    std::fs::write(&ballast, vec![0; 56 << 20]).unwrap();
    let instance = Instance::on("waits", engine.address());
    let (reserve, daemon_file) = (16 << 20, engine.config());
    let images = ImagesConfig { reserve, daemon_file, ..ImagesConfig::default() };
    let agent = Agent::start_with(&instance, images);
    let image = registry.image("waits:1");
    agent.deploy(1, deployment(json!({"waits": pulled(&image, json!({}))})));
    let place = engine.data().display().to_string();
    let no_room =
        |it: &_| why(it, "waits").contains("no room") && why(it, "waits").contains(&place);
    agent.until("there is no room", no_room).await;
    std::fs::remove_file(&ballast).unwrap();
    agent.until("there is room, and it runs", |it| is(it, "waits", "running")).await;
    let id = instance.containers().remove(0);
    let inspect = |format: &str| instance.command(&["inspect", "-f", format, &id]);
    assert_eq!(inspect("{{.HostConfig.LogConfig}}"), "{json-file map[max-size:1m]}", "daemon.json");
    let started = inspect("{{.State.StartedAt}}");

    let away = |it: &AgentStatus| it.engine.contains("away") && is(it, "waits", "unknown");
    engine.stop(Signal::KILL);
    agent.until("it is away", away).await;
    engine.run(true);
    let runs = |it: &_| is(it, "waits", "running");
    agent.until("its container is adopted", runs).await;
    assert_eq!(instance.containers(), std::slice::from_ref(&id));
    assert_eq!(inspect("{{.State.StartedAt}}"), started, "it ran on");

    engine.stop(Signal::TERM);
    agent.until("it is away again", away).await;
    engine.run(false); // which ends what ran
    agent.until("its container is started anew", runs).await;
    assert_eq!(instance.containers(), std::slice::from_ref(&id), "no other one was made");
    assert_ne!(inspect("{{.State.StartedAt}}"), started);

    // The engine is restarted, and all its containers with it, while there is no runtime.
    let with = |policy: &str, command: &[&str], change: serde_json::Value| {
        let mut module = pulled(&image, change);
        module["restartPolicy"] = policy.into();
        module["settings"]["createOptions"]["Cmd"] = json!(command);
        module
    };
    let running = json!({"status": "running"});
    let modules = json!({
        "waits": pulled(&image, json!({})),
        "never": with("never", &["run"], running.clone()),
        "on-failure": with("on-failure", &["run"], running.clone()),
        "on-unhealthy": with("on-unhealthy", &["run"], running.clone()),
        "always": with("always", &["run"], running.clone()),
        "job": with("never", &["exit", "0"], running.clone()),
        "done": with("on-failure", &["exit", "0"], running),
        "rests": with("always", &["run"], json!({"status": "stopped"})),
    });
    let up = ["on-failure", "on-unhealthy", "always", "waits"];
    let down = ["job", "done", "rests"];
    let settled = |it: &AgentStatus| {
        let is_so = |names: &[&str], word: &str| names.iter().all(|name| is(it, name, word));
        it.code == 200 && is_so(&up, "running") && is_so(&down, "stopped")
    };
    agent.deploy(2, deployment(modules.clone()));
    agent.until("all are as they will be", |it| settled(it) && is(it, "never", "running")).await;
    let lives = || -> std::collections::BTreeMap<String, String> {
        let lives = instance.containers().into_iter().map(|id| {
            let life = instance.command(&["inspect", "-f", "{{.Name}} {{.State.StartedAt}}", &id]);
            let (name, started) = life.split_once(' ').unwrap();
            (name.trim_start_matches('/').to_owned(), format!("{id} {started}"))
        });
        lives.collect()
    };
    let before = lives();
    agent.stop().await;
    engine.stop(Signal::TERM);
    engine.run(false);
    let (reserve, daemon_file) = (16 << 20, engine.config());
    let images = ImagesConfig { reserve, daemon_file, ..ImagesConfig::default() };
    let agent = Agent::start_with(&instance, images);
    agent.deploy(2, deployment(modules));
    agent.until("as before, but for never", |it| settled(it) && is(it, "never", "stopped")).await;
    assert!(why(&agent.status().await, "never").contains("restartPolicy never"));
    let after = lives();
    assert_eq!(before.len(), after.len());
    for (name, life) in &before {
        let is_started = up.contains(&name.as_str());
        assert_eq!(*life != after[name], is_started, "{name}: {life}, {}", after[name]);
        assert_eq!(life.split(' ').next(), after[name].split(' ').next(), "the same container");
    }
    agent.stop().await;
}

#[actix::test]
async fn what_is_others_is_left_alone_and_what_the_engine_refuses_is_told() {
    let image = "edge-runtime-test/others:1";
    make_image(image);
    let instance = Instance::new("others");
    let (taken, volume) = (format!("taken-{}", instance.id), format!("kept-{}", instance.id));
    let theirs = run("docker", &["run", "-d", "--name", &taken, image]);
    let agent = Agent::start(&instance);
    let options = |options: serde_json::Value| {
        json!({"settings": {
            "image": image, "createOptions": options,
        }})
    };
    let binds = options(json!({"HostConfig": {"Binds": [format!("{volume}:/data")]}}));
    let refused = options(json!({"HostConfig": {"Binds": ["a:b:c:d:e"]}}));
    agent.deploy(
        1,
        deployment(json!({
            &taken: module(image, &["run"], json!({})),
            "volume": module(image, &["run"], binds.clone()),
            "refused": module(image, &["run"], refused),
        })),
    );
    let ready = |it: &_| {
        let runs = is(it, &taken, "running") && is(it, "volume", "running");
        let why = why(it, "refused");
        runs && (why.contains("invalid volume") || why.contains("incorrect volume")) // Podman
    };
    agent.until("two run, and one is refused", ready).await;
    assert!(is(&agent.status().await, "refused", "backoff"));
    assert_eq!(instance.containers().len(), 2);
    run("docker", &["network", "inspect", &instance.network]);

    // What lies in its volume is there after an update, in another container.
    let container = || {
        let name = "label=io.edge-runtime.module=volume";
        let label = format!("label=io.edge-runtime.instance={}", instance.id);
        run("docker", &["ps", "-q", "--filter", &label, "--filter", name])
    };
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(file("in"), "kept over an update").unwrap();
    let first = container();
    run("docker", &["cp", &file("in"), &format!("{first}:/data/kept")]);
    let mut changed = binds;
    changed["env"] = json!({"V": {"value": "2"}});
    agent.deploy(2, deployment(json!({"volume": module(image, &["run"], changed)})));
    let is_new = |it: &AgentStatus| it.code == 200 && it.modules.len() == 3 && container() != first;
    agent.until("it is updated", is_new).await;
    run("docker", &["cp", &format!("{}:/data/kept", container()), &file("out")]);
    assert_eq!(std::fs::read_to_string(file("out")).unwrap(), "kept over an update");

    agent.deploy(3, deployment(json!({})));
    agent.until("all are gone", |it| it.code == 200 && it.modules.len() == 2).await;
    assert!(instance.containers().is_empty());
    assert_eq!(run("docker", &["inspect", "-f", "{{.State.Running}}", &theirs]), "true");
    run("docker", &["volume", "inspect", &volume]);
    agent.stop().await;
    run("docker", &["rm", "-f", &theirs]);
    run("docker", &["volume", "rm", &volume]);
}
