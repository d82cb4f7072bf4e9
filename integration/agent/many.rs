//! Changes of a deployment in real containers: of one module of fifty, of a module that is to rest.

use std::collections::BTreeMap;
use std::time::Instant;

use edge_runtime::messages::agent::AgentStatus;
use serde_json::{Map, Value, json};

use super::agent::{Agent, Instance, SECONDS_COUNT, make_image};
use super::images::is;
use super::{deployment, module};

const MODULES: usize = 50;

/// Of each module's containers: id, when it was started, and how it is.
fn lives(instance: &Instance) -> BTreeMap<String, Vec<String>> {
    let ids = instance.containers();
    if ids.is_empty() {
        return BTreeMap::new();
    }
    let format = "{{index .Config.Labels \"io.edge-runtime.module\"}} \
                  {{.Id}} {{.State.StartedAt}} {{.State.Status}}";
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    let all = instance.command(&[["inspect", "-f", format].as_slice(), &ids].concat());
    let mut lives: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (module, life) in all.lines().filter_map(|line| line.split_once(' ')) {
        lives.entry(module.to_owned()).or_default().push(life.to_owned());
    }
    lives
}

fn in_sync(status: &AgentStatus) -> bool {
    status.code == 200 && status.modules.iter().all(|line| line.differences.is_empty())
}

#[actix::test]
async fn a_change_of_one_of_fifty_modules_touches_that_one_only() {
    let _alone = SECONDS_COUNT.lock().await;
    let image = "edge-runtime-test/many:1";
    make_image(image);
    let instance = Instance::new("many");
    let agent = Agent::start(&instance);
    let name = |number: usize| format!("many{number}-{}", std::process::id());
    let one = module(image, &["run"], json!({}));
    let mut modules: Map<_, _> = (0..MODULES).map(|it| (name(it), one.clone())).collect();
    let began = Instant::now();
    agent.deploy(1, deployment(Value::Object(modules.clone())));
    agent
        .until("all run", |it| in_sync(it) && (0..MODULES).all(|at| is(it, &name(at), "running")))
        .await;
    println!("{MODULES} modules run after {:.1?}", began.elapsed());
    let mut before = lives(&instance);
    assert_eq!(before.len(), MODULES);
    assert!(before.values().all(|it| it.len() == 1 && it[0].ends_with(" running")), "{before:#?}");

    let changed = name(MODULES / 2);
    let old = before[&changed][0].split(' ').next().unwrap().to_owned();
    modules.insert(changed.clone(), module(image, &["env"], json!({})));
    agent.deploy(2, deployment(Value::Object(modules.clone())));
    agent
        .until("the new one alone is left", |it| {
            let is_left = |ids: &[String]| ids.len() == MODULES && !ids.contains(&old);
            in_sync(it) && is_left(&instance.containers())
        })
        .await;
    println!("one was changed after {:.1?}", began.elapsed());
    let mut after = lives(&instance);
    assert_ne!(before.remove(&changed), after.remove(&changed));
    assert_eq!(before, after, "the others were not touched");

    agent.deploy(3, deployment(json!({})));
    agent.until("all are gone", |it| in_sync(it) && it.modules.len() == 2).await;
    assert!(instance.containers().is_empty());
    println!("all are gone after {:.1?}", began.elapsed());
    agent.stop().await;
}

fn lives_of(instance: &Instance, module: &str) -> Vec<String> {
    lives(instance).remove(module).unwrap_or_default()
}

#[actix::test]
async fn a_module_deployed_stopped_is_created_and_its_container_starts_and_stops_as_is_wanted() {
    let image = "edge-runtime-test/rests:1";
    make_image(image);
    let instance = Instance::new("rests");
    let agent = Agent::start(&instance);
    let name = format!("rests-{}", std::process::id());
    let with = |change: Value| deployment(json!({ &name: module(image, &["run"], change) }));
    let life = || {
        let all = lives_of(&instance, &name);
        let [one] = all.as_slice() else { return Default::default() };
        let words: Vec<_> = one.split(' ').map(str::to_owned).collect();
        let [id, started, state] = words.try_into().unwrap();
        (id, started, state)
    };
    let stopped = || with(json!({"status": "stopped"}));
    agent.deploy(1, stopped());
    agent.until("it is there", |it| in_sync(it) && is(it, &name, "stopped")).await;
    let (id, never, state) = life();
    assert_eq!(state, "created", "it is not started");
    agent.deploy(2, with(json!({})));
    agent.until("it runs", |it| in_sync(it) && is(it, &name, "running")).await;
    let (same, started, state) = life();
    assert_eq!((&same, state.as_str()), (&id, "running"), "the same container");
    assert_ne!(started, never);
    // Of policy, order and version the container knows nothing.
    agent.deploy(3, with(json!({"restartPolicy": "always", "startupOrder": 3, "version": "2"})));
    agent
        .until("it is reported", |it| {
            in_sync(it) && agent.reported()["modules"][&name]["restartPolicy"] == "always"
        })
        .await;
    assert_eq!(life(), (id.clone(), started.clone(), "running".to_owned()));
    agent.deploy(4, stopped());
    agent.until("it rests", |it| in_sync(it) && is(it, &name, "stopped")).await;
    assert_eq!(life(), (id.clone(), started, "exited".to_owned()), "it is kept");
    // Nor does the next agent start it, nor somebody else for long.
    agent.stop().await;
    let agent = Agent::start(&instance);
    agent.deploy(4, stopped());
    agent.until("it still rests", |it| in_sync(it) && is(it, &name, "stopped")).await;
    instance.command(&["start", &id]);
    agent.until("it rests again", |it| in_sync(it) && life().2 == "exited").await;
    agent.stop().await;
}
