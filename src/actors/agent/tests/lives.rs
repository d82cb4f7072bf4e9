//! Lives of a container: it crashes, ends, falls ill, is stopped, restarted, removed by others.

use std::time::Duration;

use serde_json::json;

use super::fake::{Agent, module};
use super::none;
use super::world::World;
use crate::actors::clock::put_forward;
use crate::domain::agent::observed::{Health, Phase};
use crate::messages::agent::{RestartModule, StopModules};
use crate::messages::engine::EngineNotice;
use crate::messages::supervision::Shutdown;

async fn with_policy(policy: &str) -> Agent {
    let agent = Agent::start(World::default()).await;
    agent.deploy(1, json!({"a": module("i:1", json!({"restartPolicy": policy}))})).await;
    agent.world.borrow_mut().took();
    agent
}

#[actix::test]
async fn a_crash_is_followed_by_a_start_after_its_backoff() {
    let agent = with_policy("on-failure").await;
    agent.end("a", 3).await;
    let line = agent.module("a").await;
    assert_eq!((line.status.as_str(), line.why.as_str()), ("backoff", "ended with exit code 3"));
    assert!(line.next_attempt.is_some() && line.exit_code == Some(3));
    assert_eq!(agent.status().await.code, 200, "the deployment is applied all the same");
    agent.settle(7).await;
    assert!(agent.world.borrow_mut().took().iter().all(|it| it != "start a"));
    agent.settle(3).await;
    assert!(agent.world.borrow_mut().took().contains(&"start a".into()));
    let line = agent.module("a").await;
    assert_eq!((line.status.as_str(), line.restarts), ("running", 1));
    agent.end("a", 3).await;
    agent.settle(17).await;
    assert!(agent.world.borrow_mut().took().iter().all(|it| it != "start a"), "20 s this time");
    agent.settle(4).await;
    assert!(agent.world.borrow_mut().took().contains(&"start a".into()));
}

#[actix::test]
async fn a_clean_end_is_an_end_unless_the_policy_is_always() {
    for (policy, code, status) in [
        ("on-failure", 0, "stopped"),
        ("on-unhealthy", 0, "stopped"),
        ("never", 0, "stopped"),
        ("never", 7, "failed"),
        ("always", 0, "backoff"),
    ] {
        let agent = with_policy(policy).await;
        agent.end("a", code).await;
        assert_eq!(agent.module("a").await.status, status, "{policy} {code}");
        agent.settle(300).await;
        let phase = agent.world.borrow_mut().container("a").phase;
        assert_eq!(phase == Phase::Running, policy == "always", "{policy} {code}");
    }
}

#[actix::test]
async fn what_ended_while_the_engine_was_away_runs_again() {
    let agent = with_policy("on-unhealthy").await;
    {
        let mut world = agent.world.borrow_mut();
        let container = world.container("a");
        container.phase = Phase::Exited;
        container.finished = Some(Duration::from_secs(1));
    }
    agent.ports.engine_to_modules.tell(EngineNotice::Up);
    agent.settle(2).await;
    assert_eq!(agent.module("a").await.status, "running");
}

#[actix::test]
async fn a_failed_health_check_restarts_where_the_policy_says_so() {
    for (policy, restarts) in [("on-failure", false), ("on-unhealthy", true)] {
        let agent = with_policy(policy).await;
        agent.world.borrow_mut().container("a").health = Health::Unhealthy;
        agent.ports.engine_to_modules.tell(EngineNotice::Container("a".into()));
        agent.settle(1).await;
        let (line, log) = (agent.module("a").await, agent.world.borrow_mut().took());
        let expected = if restarts { "backoff" } else { "unhealthy" };
        assert_eq!(line.status, expected, "{line:?}");
        assert_eq!(log.contains(&"stop a".into()), restarts, "{log:?}");
        assert!(line.why.contains("health check"));
    }
}

#[actix::test]
async fn a_container_that_somebody_removed_is_made_again_after_the_backoff() {
    let agent = with_policy("always").await;
    agent.world.borrow_mut().containers.clear();
    agent.ports.engine_to_modules.tell(EngineNotice::Container("a".into()));
    agent.settle(1).await;
    let line = agent.module("a").await;
    assert!(line.why.contains("removed by somebody"), "{line:?}");
    agent.settle(11).await;
    assert_eq!(agent.module("a").await.status, "running");
    assert_eq!(agent.status().await.code, 200);
}

#[actix::test]
async fn the_operator_restarts_and_stops() {
    let agent = with_policy("always").await;
    let long = Duration::from_secs(30);
    let restarted = agent.ports.restart.ask(RestartModule("a".into()), long).await.unwrap();
    assert_eq!(restarted, Ok(()));
    let steps = |log: Vec<String>| -> Vec<String> {
        log.into_iter().filter(|it| !it.starts_with("sockets")).collect()
    };
    assert_eq!(steps(agent.world.borrow_mut().took()), ["stop a", "start a"]);
    agent.settle(1).await;
    assert_eq!(agent.module("a").await.status, "running");
    let unknown = agent.ports.restart.ask(RestartModule("x".into()), long).await.unwrap();
    assert!(unknown.is_err());
    agent.ports.stop.ask(StopModules, long).await.unwrap();
    agent.settle(700).await;
    assert_eq!(steps(agent.world.borrow_mut().took()), ["stop a"], "it stays stopped");
    assert_eq!(agent.module("a").await.why, "stopped by the operator");
}

#[actix::test]
async fn a_name_that_is_taken_is_gone_round() {
    let foreign = ["a".to_owned()].into();
    let agent = Agent::start(World { foreign, ..World::default() }).await;
    agent.deploy(1, json!({"a": module("i:1", none())})).await;
    assert_eq!(agent.module("a").await.status, "running");
    let name = agent.world.borrow_mut().container("a").name.clone();
    assert!(name.starts_with("edge-a-"), "{name}");
}

/// The runtime, or the whole machine, is started again over the same containers and the same state.
async fn again(agent: Agent) -> Agent {
    let world = std::mem::take(&mut *agent.world.borrow_mut());
    agent.modules.do_send(Shutdown);
    agent.deployment.do_send(Shutdown);
    agent.settle(3).await;
    Agent::start(World { log: Vec::new(), ..world }).await
}

#[actix::test]
async fn restarts_in_a_row_are_counted_over_a_restart_of_the_runtime_and_none_twice() {
    let agent = with_policy("always").await;
    for seconds in [11, 21] {
        agent.end("a", 3).await;
        agent.settle(seconds).await;
    }
    agent.end("a", 3).await;
    let agent = again(agent).await;
    let line = agent.module("a").await;
    assert_eq!((line.status.as_str(), line.restarts), ("backoff", 2), "{line:?}");
    agent.settle(25).await;
    assert!(agent.world.borrow_mut().took().iter().all(|it| it != "start a"), "40 s this time");
    agent.settle(20).await;
    assert_eq!(agent.module("a").await.restarts, 3);
    agent.end("a", 3).await;
    agent.settle(70).await;
    assert!(agent.world.borrow_mut().took().iter().filter(|it| *it == "start a").count() == 1);
    agent.settle(15).await;
    assert_eq!(agent.module("a").await.restarts, 4, "80 s");
    agent.settle(660).await;
    assert_eq!(agent.module("a").await.restarts, 0, "ten minutes of health");
    let agent = again(agent).await;
    assert_eq!(agent.module("a").await.restarts, 0);
}

#[actix::test]
async fn twenty_failures_in_a_row_are_called_failed_and_tried_every_five_minutes_for_ever() {
    let agent = with_policy("on-failure").await;
    for _ in 0..21 {
        agent.end("a", 1).await;
        agent.settle(301).await;
    }
    agent.end("a", 1).await;
    let agent = again(agent).await;
    for _ in 0..3 {
        let line = agent.module("a").await;
        assert_eq!(line.status, "failed", "{line:?}");
        assert!(line.next_attempt.is_some() && line.why.contains("exit code 1"), "{line:?}");
        agent.settle(301).await;
        assert_eq!(agent.module("a").await.status, "running");
        agent.end("a", 1).await;
    }
}

#[actix::test]
async fn never_runs_once_for_a_deployment_whatever_happens_then() {
    let agent = with_policy("never").await;
    agent.end("a", 0).await;
    let (agent, started) = (again(agent).await, "start a".to_owned());
    assert_eq!(agent.module("a").await.status, "stopped", "the machine was started again");
    // Cleaned away by somebody: there again, and not started.
    agent.world.borrow_mut().containers.clear();
    let agent = again(agent).await;
    agent.settle(700).await;
    let line = agent.module("a").await;
    assert!(line.why.contains("ran once") && line.status == "stopped", "{line:?}");
    let change = json!({"restartPolicy": "never", "startupOrder": 3, "version": "2"});
    agent.deploy(2, json!({"a": module("i:1", change)})).await;
    assert!(!agent.world.borrow_mut().took().contains(&started));
    // Another container, or another policy, is another matter.
    agent.deploy(3, json!({"a": module("i:2", json!({"restartPolicy": "never"}))})).await;
    assert!(agent.world.borrow_mut().took().contains(&started));
    agent.end("a", 4).await;
    let line = agent.module("a").await;
    assert_eq!((line.status.as_str(), line.next_attempt), ("failed", None));
    agent.deploy(4, json!({"a": module("i:2", json!({"restartPolicy": "always"}))})).await;
    agent.settle(11).await;
    assert_eq!(agent.module("a").await.status, "running");
}

#[actix::test]
async fn work_that_was_seen_done_is_not_done_again_by_a_restart_of_the_runtime() {
    let agent = with_policy("on-failure").await;
    agent.end("a", 0).await;
    let agent = again(agent).await;
    agent.settle(600).await;
    assert_eq!(agent.module("a").await.status, "stopped");
}

#[actix::test]
async fn a_clock_that_is_set_makes_no_module_healthy_and_starts_none_early() {
    let agent = with_policy("always").await;
    agent.end("a", 3).await;
    agent.settle(11).await;
    put_forward(Duration::from_secs(60 * 365 * 86_400));
    agent.end("a", 3).await;
    let line = agent.module("a").await;
    assert_eq!((line.status.as_str(), line.restarts), ("backoff", 1));
    agent.settle(17).await;
    assert_eq!(agent.module("a").await.status, "backoff", "20 s, as without it");
    agent.settle(4).await;
    assert_eq!(agent.module("a").await.status, "running");
    put_forward(Duration::ZERO);
    agent.end("a", 3).await;
    agent.settle(41).await;
    assert_eq!(agent.module("a").await.restarts, 3);
}
