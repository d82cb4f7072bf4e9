//! Ends that are right: jobs that are done, machines that are restarted, modules that are removed.

use std::time::Duration;

use serde_json::{Value, json};

use super::fake::{Agent, deployment, module};
use super::none;
use super::world::World;
use crate::actors::clock;
use crate::domain::agent::observed::Phase;

const POLICIES: [&str; 4] = ["never", "on-failure", "on-unhealthy", "always"];

fn with_policy(policy: &str) -> Value {
    json!({"a": module("i:1", json!({"restartPolicy": policy}))})
}

async fn deployed(policy: &str) -> Agent {
    let agent = Agent::start(World::default()).await;
    agent.deploy(1, with_policy(policy)).await;
    agent.world.borrow_mut().took();
    agent
}

/// All containers end while nobody looks: the machine, or only the engine, is restarted.
async fn ended_unseen(agent: Agent, code: i64, boot: &str) -> Agent {
    let mut world = agent.end_of_process().await;
    for container in &mut world.containers {
        if container.phase == Phase::Running {
            (container.phase, container.exit_code) = (Phase::Exited, Some(code));
            container.finished = Some(clock::unix_time());
        }
    }
    Agent::start_as(world, |config| config.boot = boot.into()).await
}

#[actix::test]
async fn a_job_that_is_done_is_as_desired_and_one_that_failed_is_not() {
    for (policy, code, is_in_sync) in [
        ("never", 0, true),
        ("never", 1, false),
        ("on-failure", 0, true),
        ("on-failure", 1, false),
        ("on-unhealthy", 0, true),
        ("always", 0, false),
    ] {
        let mut agent = deployed(policy).await;
        for life in 0..2 {
            if life == 0 {
                agent.end("a", code).await;
            } else {
                agent = Agent::start(agent.end_of_process().await).await; // the same is known
            }
            let line = agent.module("a").await;
            let told = format!("{policy} {code} {life}: {line:?}");
            assert_eq!(line.differences.is_empty(), is_in_sync, "{told}");
            let rests = line.why.contains(&format!("restartPolicy {policy}: not started again"));
            assert_eq!(rests, line.next_attempt.is_none(), "{told}");
            assert_eq!(agent.status().await.code, 200, "the deployment was applied: {told}");
        }
    }
    let agent = deployed("on-failure").await;
    let long = Duration::from_secs(30);
    agent.ports.stop.ask(crate::messages::agent::StopModules, long).await.unwrap();
    assert_eq!(agent.module("a").await.differences.len(), 1, "stopped by the operator");
}

#[actix::test]
async fn after_a_restart_of_the_machine_or_the_engine_all_run_again_but_never_and_what_was_to_rest()
{
    for (boot, is_machine) in [("boot-1", false), ("boot-2", true)] {
        for (policy, code) in POLICIES.iter().flat_map(|policy| [(*policy, 0), (*policy, 137)]) {
            let agent = ended_unseen(deployed(policy).await, code, boot).await;
            agent.settle(11).await;
            let (line, phase) =
                (agent.module("a").await, agent.world.borrow_mut().container("a").phase);
            let runs = policy != "never";
            assert_eq!(phase == Phase::Running, runs, "{boot} {policy} {code}: {line:?}");
            // An error counts; what the machine did does not.
            let counted = u32::from(runs && code != 0 && !is_machine);
            assert_eq!((line.restarts, line.status == "running"), (counted, runs), "{line:?}");
            // It was seen done before; that may have been the shutdown of the machine.
            let agent = deployed(policy).await;
            agent.end("a", 0).await;
            let agent = ended_unseen(agent, code, boot).await;
            agent.settle(11).await;
            let phase = agent.world.borrow_mut().container("a").phase;
            let runs = policy == "always" || (is_machine && policy != "never");
            assert_eq!(phase == Phase::Running, runs, "{boot} {policy}");
        }
        let agent = deployed("always").await;
        agent.deploy(2, json!({"a": module("i:1", json!({"status": "stopped"}))})).await;
        let agent = ended_unseen(agent, 0, boot).await;
        agent.settle(700).await;
        assert_eq!(agent.world.borrow_mut().container("a").phase, Phase::Exited, "{boot}");
    }
}

#[actix::test]
async fn a_job_that_was_removed_and_comes_anew_runs_again_whenever_the_runtime_was_killed() {
    let mut deaths = 0;
    loop {
        let agent = deployed("never").await;
        agent.end("a", 0).await;
        {
            let mut world = agent.world.borrow_mut();
            world.dies_after = Some(deaths);
            world.desired = Some((2, deployment(none())));
        }
        agent.deploy(2, none()).await;
        agent.settle(60).await;
        let mut world = agent.end_of_process().await;
        let was_killed = world.dies_after.take() == Some(0);
        let agent = Agent::start(world).await;
        agent.settle(20).await;
        assert!(agent.world.borrow().containers.is_empty(), "{deaths}");
        agent.deploy(3, with_policy("never")).await;
        assert_eq!(agent.module("a").await.status, "running", "{deaths}");
        if !was_killed {
            break;
        }
        deaths += 1;
    }
    assert!(deaths >= 3, "two are forgotten, one is removed: {deaths}");
}

#[actix::test]
async fn a_first_image_that_cannot_be_had_for_a_day_is_there_minutes_after_it_can() {
    let bad_images = ["i:1".to_owned()].into();
    let agent = Agent::start(World { bad_images, ..World::default() }).await;
    agent.deploy(1, with_policy("never")).await;
    agent.settle(86_400).await;
    let pulls = agent.world.borrow_mut().took().iter().filter(|it| *it == "pull i:1").count();
    assert!((288..400).contains(&pulls), "every 4 to 5 minutes: {pulls}");
    let line = agent.module("a").await;
    assert!(line.why.contains("cannot be had") && line.next_attempt.is_some(), "{line:?}");
    agent.world.borrow_mut().bad_images.clear();
    agent.settle(300).await;
    assert_eq!(agent.module("a").await.status, "running");
    assert_eq!(agent.status().await.code, 200);
}
