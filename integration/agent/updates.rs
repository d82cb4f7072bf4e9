//! Updates in real containers: what does not come up is undone, and what ran before runs again.

use serde_json::{Value, json};

use crate::agent::{Agent, Instance, SECONDS_COUNT, are_health_checks_run, make_image};

const IMAGE: &str = "edge-runtime-test/updates:1";

/// A module whose container is not like those of other versions.
fn module(version: &str, options: Value) -> Value {
    let mut options = options;
    options["Labels"] = json!({ "version": version });
    json!({
        "type": "docker", "status": "running", "imagePullPolicy": "never",
        "restartPolicy": "always", "settings": {"image": IMAGE, "createOptions": options},
    })
}

fn deployment(name: &str, module: &Value) -> Value {
    json!({
        "schemaVersion": "1.1", "runtime": {"type": "docker"}, "systemModules": {},
        "modules": { name: module },
    })
}

/// Name, version and state of every container of the instance.
fn containers(instance: &Instance) -> Vec<String> {
    let label = format!("label=io.edge-runtime.instance={}", instance.id);
    let format = "{{.Names}} {{.Label \"version\"}} {{.State}}";
    let all = instance.command(&["ps", "-a", "--filter", &label, "--format", format]);
    all.lines().map(str::to_owned).collect()
}

#[actix::test]
async fn what_does_not_come_up_is_undone_and_what_does_replaces_the_old_one() {
    let _alone = SECONDS_COUNT.lock().await;
    make_image(IMAGE);
    let instance = Instance::new("updates");
    let name = format!("updated-{}", std::process::id());
    let agent = Agent::start(&instance);
    let sick = json!({"Healthcheck": {
        "Test": ["CMD", "/p", "exit", "1"], "Interval": 200_000_000, "Retries": 1,
    }});
    let well = json!({"Healthcheck": {
        "Test": ["CMD", "/p", "exit", "0"], "Interval": 200_000_000, "Retries": 1,
    }});
    // Without checks it does not become healthy either.
    let has_health = are_health_checks_run();
    let why_sick = if has_health { "fails its health check" } else { "not become healthy" };
    let mut version = 1;
    agent.deploy(version, deployment(&name, &module("good", json!({}))));
    agent.until("the first one runs", |status| status.code == 200).await;
    let first = instance.containers();
    let kept = [format!("{name} good running")];
    for (bad, options, why) in [
        ("uncreatable", json!({"HostConfig": {"Binds": ["no path:/x"]}}), "tried again"),
        ("unstartable", json!({"Entrypoint": ["/nothing"]}), "undone"),
        ("exits", json!({"Cmd": ["exit", "3"]}), "ended with exit code 3"),
        ("sick", sick, why_sick),
    ] {
        version += 1;
        agent.deploy(version, deployment(&name, &module(bad, options)));
        agent
            .until(&format!("{bad} is undone"), |status| {
                let line = status.modules.iter().find(|line| line.name == name);
                let is_told = line.is_some_and(|it| it.status == "running" && it.why.contains(why));
                status.code == 500 && is_told && containers(&instance) == kept
            })
            .await;
        assert_eq!(instance.containers(), first, "{bad}: it is the same container");
    }
    // Not tried again by the next agent either.
    agent.stop().await;
    let agent = Agent::start(&instance);
    agent.deploy(
        version,
        deployment(
            &name,
            &module(
                "sick",
                json!({"Healthcheck": {
                    "Test": ["CMD", "/p", "exit", "1"], "Interval": 200_000_000, "Retries": 1,
                }}),
            ),
        ),
    );
    agent
        .until("it says so again", |status| {
            status.modules.iter().any(|it| it.name == name && it.why.contains("undone"))
        })
        .await;
    assert_eq!(instance.containers(), first);
    let good = [("well", well), ("plain", json!({}))];
    for (good, options) in good.into_iter().filter(|(name, _)| has_health || *name != "well") {
        version += 1;
        agent.deploy(version, deployment(&name, &module(good, options)));
        let only = [format!("{name} {good} running")];
        agent
            .until(&format!("{good} has come up"), |status| {
                status.code == 200 && containers(&instance) == only
            })
            .await;
    }
    agent.stop().await;
}
