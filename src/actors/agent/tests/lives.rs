//! Lives of a container: it crashes, ends, falls ill, is stopped, restarted, removed by others.

use std::time::Duration;

use serde_json::json;

use super::fake::{Agent, World, module};
use super::none;
use crate::domain::agent::observed::{Health, Phase};
use crate::messages::agent::{RestartModule, StopModules};
use crate::messages::engine::EngineNotice;

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
