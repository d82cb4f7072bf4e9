//! What changes is acted on at once; what nobody was told of is found by the next look.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::fake::{Agent, deployment, module};
use super::none;
use super::world::World;
use crate::domain::agent::observed::{Observed, Phase};
use crate::domain::identity::Identity;
use crate::messages::engine::EngineNotice;
use crate::messages::twins::TwinChanged;

/// How long it takes until it is so.
async fn until(agent: &Agent, is_so: impl Fn(&mut World) -> bool) -> Duration {
    let began = Instant::now();
    while !is_so(&mut agent.world.borrow_mut()) {
        assert!(began.elapsed() < Duration::from_secs(600), "{:?}", agent.world.borrow().log);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    began.elapsed()
}

const AT_ONCE: Duration = Duration::from_millis(100);

#[actix::test]
async fn a_change_of_the_twin_is_acted_on_at_once() {
    let agent = Agent::start(World::default()).await;
    let own = Identity::parse("edge-1/$edgeAgent").unwrap();
    for (version, image) in [(1, "i:1"), (2, "i:2"), (3, "i:3")] {
        let desired = deployment(json!({"a": module(image, none())}));
        agent.world.borrow_mut().desired = Some((version, desired));
        agent.ports.twin_changed.tell(TwinChanged::Desired(own.clone()));
        let took = until(&agent, |world| {
            let mut all = world.containers.iter();
            all.any(|it| it.image.starts_with(image) && it.phase == Phase::Running)
        });
        assert!(took.await <= AT_ONCE);
        agent.settle(61).await; // its trial
    }
}

#[actix::test]
async fn what_happens_to_a_container_is_acted_on_when_the_engine_tells_and_found_when_it_does_not()
{
    let agent = Agent::start(World::default()).await;
    let always = json!({"restartPolicy": "always"});
    agent.deploy(1, json!({"a": module("i:1", always)})).await;
    let stop = |agent: &Agent| {
        let mut world = agent.world.borrow_mut();
        let container = world.container("a");
        (container.phase, container.exit_code) = (Phase::Exited, Some(1));
    };
    stop(&agent);
    agent.ports.engine_to_modules.tell(EngineNotice::Container("a".into()));
    let restart = Duration::from_secs(10); // its backoff
    let took = until(&agent, |world| world.container("a").phase == Phase::Running).await;
    assert!((restart..restart + AT_ONCE).contains(&took), "{took:?}");
    // The engine's word is lost.
    stop(&agent);
    let took = until(&agent, |world| world.container("a").phase == Phase::Running).await;
    assert!(took <= Duration::from_secs(60) + restart * 2 + AT_ONCE, "{took:?}");
    // The engine was away for a moment: all is looked at when it is back.
    stop(&agent);
    agent.ports.engine_to_modules.tell(EngineNotice::Up);
    agent.ports.engine_to_deployment.tell(EngineNotice::Up);
    let took = until(&agent, |world| world.container("a").phase == Phase::Running).await;
    assert!(took <= restart * 4 + AT_ONCE, "{took:?}");
}

#[actix::test]
async fn all_is_looked_at_every_five_minutes_also_what_nobody_ever_told_of() {
    let agent = Agent::start(World::default()).await;
    agent.deploy(1, json!({"a": module("i:1", none())})).await;
    // A container of ours whose module nobody wants, and a deployment that nobody told of.
    let stray = Observed {
        id: "stray".into(),
        module: "stray".into(),
        phase: Phase::Running,
        ..Observed::default()
    };
    agent.world.borrow_mut().containers.push(stray);
    let took = until(&agent, |world| world.containers.iter().all(|it| it.id != "stray")).await;
    assert!(took <= Duration::from_secs(301), "{took:?}");
    agent.world.borrow_mut().desired = Some((2, deployment(json!({"b": module("j:1", none())}))));
    let took = until(&agent, |world| {
        let modules: Vec<&str> = world.containers.iter().map(|it| it.module.as_str()).collect();
        modules == ["b"]
    });
    let took = took.await;
    assert!(took <= Duration::from_secs(301), "{took:?}");
    // A look that finds all as it is to be does nothing.
    agent.world.borrow_mut().took();
    agent.settle(900).await;
    let log = agent.world.borrow_mut().took();
    assert!(log.iter().all(|it| it.starts_with("sockets")), "{log:?}");
}
