//! Every restart policy × every way to end, side by side in real containers.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

use edge_runtime::messages::agent::{AgentStatus, ModuleStatusLine};
use serde_json::{Value, json};

use crate::agent::{Agent, Instance, are_health_checks_run, is_podman, make_image, run};

const IMAGE: &str = "edge-runtime-test/policies:1";
const POLICIES: [&str; 4] = ["never", "on-failure", "on-unhealthy", "always"];
const FATES: [&str; 5] = ["exit-0", "exit-1", "sick", "killed", "oom"];

/// Status in the end, a part of why, and whether it is restarted again and again.
fn expected(policy: &str, fate: &str) -> (&'static str, &'static str, bool) {
    let rank = POLICIES.iter().position(|it| *it == policy).unwrap();
    match fate {
        "exit-0" if rank < 3 => ("stopped", "exit code 0", false),
        "exit-0" => ("backoff", "exit code 0", true),
        "sick" if rank < 2 => ("unhealthy", "health check", false),
        "sick" => ("backoff", "health check", true),
        "exit-1" => (if rank == 0 { "failed" } else { "backoff" }, "exit code 1", rank > 0),
        "killed" if rank == 0 => ("failed", "signal 9", false),
        "killed" => ("running", "", true),
        "oom" => {
            let why = if is_podman() { "signal 9" } else { "want of memory" }; // it does not say more
            (if rank == 0 { "failed" } else { "backoff" }, why, rank > 0)
        }
        other => unreachable!("{other}"),
    }
}

fn module(policy: &str, fate: &str) -> Value {
    let limit = 16 << 20;
    let options = match fate {
        "exit-0" => json!({"Cmd": ["exit", "0"]}),
        "exit-1" => json!({"Cmd": ["exit", "1"]}),
        "sick" => json!({"Healthcheck": {
            "Test": ["CMD", "/p", "exit", "1"], "Interval": 200_000_000, "Retries": 1,
        }}),
        // What the user wants of the engine itself would get in the way, and is left out.
        "killed" => json!({"HostConfig": {"RestartPolicy": {"Name": "always"}}}),
        _ => json!({"Cmd": ["eat"], "HostConfig": {"Memory": limit, "MemorySwap": limit}}),
    };
    json!({
        "type": "docker", "status": "running", "imagePullPolicy": "never", "restartPolicy": policy,
        "settings": {"image": IMAGE, "createOptions": options},
    })
}

type Case = (&'static str, &'static str, String);

fn all_cases() -> Vec<Case> {
    let has_health = are_health_checks_run();
    let mut cases = Vec::new();
    for policy in POLICIES {
        for fate in FATES.iter().filter(|fate| has_health || **fate != "sick") {
            cases.push((policy, *fate, format!("{policy}-{fate}-{}", std::process::id())));
        }
    }
    cases
}

fn line<'a>(status: &'a AgentStatus, name: &str) -> Option<&'a ModuleStatusLine> {
    status.modules.iter().find(|line| line.name == name)
}

/// How often its container was started: each run says a word.
async fn runs(agent: &Agent, name: &str) -> usize {
    let words = ["running", "going", "eating"];
    agent.logs(name).await.lines().filter(|line| words.contains(line)).count()
}

#[actix::test]
async fn every_policy_restarts_after_its_ends_and_after_no_others() {
    make_image(IMAGE);
    let cases = all_cases();
    let all = || cases.iter().cloned();
    let mut instance = Instance::new("policies");
    instance.restart_backoff = Duration::from_millis(100);
    let agent = Agent::start(&instance);
    let modules = all().map(|(policy, fate, name)| (name, module(policy, fate))).collect();
    let deployment = json!({
        "schemaVersion": "1.1", "runtime": {"type": "docker"}, "systemModules": {},
        "modules": Value::Object(modules),
    });
    agent.deploy(1, deployment.clone());
    let victims: Vec<String> =
        all().filter(|(_, fate, _)| *fate == "killed").map(|(_, _, name)| name).collect();
    agent
        .until("all that are to be killed run", |status| {
            let runs = |name: &String| line(status, name).is_some_and(|it| it.status == "running");
            victims.iter().all(runs)
        })
        .await;
    for name in &victims {
        let own = run("docker", &["inspect", "-f", "{{.HostConfig.RestartPolicy.Name}}", name]);
        assert!(["", "no"].contains(&own.as_str()), "the engine's policy is {own}");
        run("docker", &["kill", name]);
    }
    // Each at its time: who has run well for long enough is not said to have been restarted.
    let done = RefCell::new(BTreeSet::new());
    agent
        .until("each is restarted, or is not", |status| {
            let is_so = |(policy, fate, name): &Case| {
                let Some(line) = line(status, name) else { return false };
                match (expected(policy, fate), *fate) {
                    ((word, _, false), _) => line.status == word,
                    ((word, ..), "killed") => line.status == word && line.restarts > 0,
                    (..) => line.restarts >= 3,
                }
            };
            done.borrow_mut().extend(all().filter(is_so));
            done.borrow().len() == cases.len()
        })
        .await;
    // The reasons, whenever they are shown: between two runs a module has the status of the moment.
    for (policy, fate, name) in all() {
        let (word, why, _) = expected(policy, fate);
        agent
            .until(&format!("{name} to be {word}, with the reason"), |status| {
                line(status, &name).is_some_and(|line| {
                    line.status == word
                        && line.why.contains(why)
                        && (word != "backoff" || line.next_attempt.is_some())
                })
            })
            .await;
    }
    // Who is not restarted has run once; the others as often as is said, at least.
    let mut rested = Vec::new();
    for (policy, fate, name) in all() {
        let (runs, is_restarted) = (runs(&agent, &name).await, expected(policy, fate).2);
        assert_eq!(runs > 1, is_restarted, "{name} ran {runs} times");
        if !is_restarted {
            rested.push(name);
        }
    }
    // The runtime is restarted: that is no reason to start any of them, and nothing is forgotten.
    let before = agent.status().await;
    agent.stop().await;
    let agent = Agent::start(&instance);
    agent.deploy(1, deployment);
    agent
        .until("all are known again", |status| {
            all().all(|(_, fate, name)| {
                let restarts = |status| line(status, &name).map_or(0, |it| it.restarts);
                let is_known = line(status, &name).is_some_and(|it| it.status != "unknown");
                // One that runs well for a minute's worth of the unit is healthy by now.
                is_known && (fate == "killed" || restarts(status) >= restarts(&before))
            })
        })
        .await;
    for name in rested {
        assert_eq!(runs(&agent, &name).await, 1, "{name}");
    }
    agent.stop().await;
}
