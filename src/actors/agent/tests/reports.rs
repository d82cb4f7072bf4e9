//! What is told to the hub gets there in the end, whatever becomes of it on the way.

use serde_json::{Value, json};

use super::fake::{Agent, module};
use super::none;
use super::world::World;
use crate::domain::identity::Identity;
use crate::messages::engine::EngineNotice;
use crate::messages::supervision::Shutdown;
use crate::messages::twins::TwinChanged;

impl Agent {
    /// Twins have found that the hub has something else.
    fn lost(&self) {
        let own = Identity::parse("edge-1/$edgeAgent").unwrap();
        self.ports.twin_changed.tell(TwinChanged::Reported(own));
    }

    fn reported(&self) -> Value {
        self.world.borrow().reported.clone()
    }
}

async fn deployed(world: World) -> (Agent, Value) {
    let agent = Agent::start(world).await;
    agent.deploy(1, json!({"a": module("i:1", none()), "b": module("i:1", none())})).await;
    let whole = agent.reported();
    assert_eq!(whole["modules"]["b"]["runtimeStatus"], "running");
    (agent, whole)
}

#[actix::test]
async fn what_the_hub_has_lost_or_refused_is_reported_again() {
    let (agent, whole) = deployed(World::default()).await;
    let damaged = [
        json!({}),
        json!({"modules": {"a": {"runtimeStatus": "backoff"}, "gone": {"type": "docker"}}, "old": 1}),
        json!({"modules": 7, "lastDesiredStatus": null}),
    ];
    for damaged in damaged {
        agent.world.borrow_mut().reported = damaged;
        agent.lost();
        agent.settle(20).await;
        assert_eq!(agent.reported(), whole);
    }
    let last = agent.world.borrow().patches.last().cloned().unwrap();
    assert!(last.get("version").is_some(), "of what was erased, all is sent: {last}");
    agent.world.borrow_mut().reported["modules"]["a"]["restartCount"] = json!(9);
    agent.lost();
    agent.settle(60).await;
    let last = agent.world.borrow().patches.last().cloned().unwrap();
    assert_eq!(last, json!({"modules": {"a": {"restartCount": 0}}}), "else the difference");
}

#[actix::test]
async fn a_hub_that_takes_no_report_is_asked_less_and_less_and_has_it_soon_after_it_does() {
    let (agent, _) = deployed(World::default()).await;
    agent.end("a", 1).await;
    agent.settle(900).await;
    let (whole, mut sent) = (agent.reported(), Vec::new());
    for _ in 0..12 {
        let before = agent.world.borrow().patches.len();
        for _ in 0..300 {
            // Taken here, and refused there: twins find that out, and tell.
            if agent.reported() == whole {
                agent.world.borrow_mut().reported["modules"]["a"]["runtimeStatus"] =
                    json!("backoff");
                agent.lost();
            }
            agent.settle(1).await;
        }
        sent.push(agent.world.borrow().patches.len() - before);
    }
    assert!(sent[0] <= 8 && sent[5..].iter().all(|patches| *patches <= 1), "{sent:?}");
    assert!(sent.iter().sum::<usize>() >= 12, "it goes on: {sent:?}");
    agent.settle(301).await;
    assert_eq!(agent.reported(), whole);
}

#[actix::test]
async fn a_patch_that_is_under_way_does_not_hide_that_the_hub_has_something_else() {
    let (agent, _) = deployed(World::default()).await;
    agent.world.borrow_mut().patch_seconds = 10;
    agent.end("a", 1).await;
    agent.settle(2).await;
    let reads = agent.world.borrow().reads;
    agent.lost();
    agent.settle(5).await;
    assert_eq!(agent.world.borrow().reads, reads, "one thing at a time");
    agent.settle(10).await;
    assert!(agent.world.borrow().reads > reads, "what the answer says is not relied on");
}

#[actix::test]
async fn what_nobody_was_told_of_is_found_within_an_hour() {
    let (agent, whole) = deployed(World::default()).await;
    agent.world.borrow_mut().reported = json!({});
    agent.settle(1800).await;
    assert_eq!(agent.reported(), json!({}));
    agent.settle(1900).await;
    assert_eq!(agent.reported(), whole);
}

#[actix::test]
async fn the_code_is_of_the_version_beside_it() {
    let slow_images = ["slow:1".to_owned()].into();
    let (agent, _) = deployed(World { slow_images, ..World::default() }).await;
    let told = || {
        let it = agent.reported();
        let code = it["lastDesiredStatus"]["code"].as_u64().unwrap();
        (it["lastDesiredVersion"].as_u64().unwrap(), code)
    };
    assert_eq!(told(), (1, 200));
    let both = |image: &str| json!({"a": module("i:1", none()), "b": module(image, none())});
    agent.deploy(2, both("slow:1")).await;
    assert_eq!(told(), (2, 406), "there is no outcome yet");
    agent.world.borrow_mut().slow_images.clear();
    agent.settle(5).await;
    assert_eq!(told(), (2, 200));
    // What could not even be begun is no success, though all modules are as they were to be.
    agent.world.borrow_mut().is_away = true;
    agent.ports.engine_to_deployment.tell(EngineNotice::Down);
    agent.deploy(3, both("i:3")).await;
    let status = agent.status().await;
    assert_eq!((told(), status.code), ((3, 500), 500));
    assert!(status.description.contains("container engine"), "{status:?}");
    agent.world.borrow_mut().is_away = false;
    agent.settle(10).await;
    assert_eq!(told(), (3, 200));
    // A new version that changes nothing is an outcome as well.
    agent.world.borrow_mut().took();
    agent.deploy(4, both("i:3")).await;
    assert_eq!(told(), (4, 200));
    assert!(agent.world.borrow().log.iter().all(|it| it.starts_with("sockets")));
}

#[actix::test]
async fn who_never_read_its_twin_says_all_the_same_that_it_stops() {
    let agent = Agent::start(World { twin_status: 503, ..World::default() }).await;
    agent.deploy(1, json!({"a": module("i:1", none())})).await;
    assert!(agent.reported().is_null(), "nobody knows what is there");
    agent.world.borrow_mut().reported = json!({"old": 1, "modules": {"a": {"version": "0"}}});
    agent.deployment.do_send(Shutdown);
    agent.settle(3).await;
    let reported = agent.reported();
    assert_eq!(reported["lastDesiredStatus"]["code"], 406);
    assert_eq!(reported["modules"]["a"]["runtimeStatus"], "unknown");
    assert_eq!(reported["old"], 1, "what is not known is left alone");
}

#[actix::test]
async fn how_long_a_module_was_to_run_and_did_is_counted_and_how_long_a_deployment_took() {
    let slow_images = ["slow:1".to_owned()].into();
    let agent = Agent::start(World { slow_images, ..World::default() }).await;
    let off = json!({"status": "stopped"});
    let all =
        json!({"a": module("i:1", none()), "b": module("slow:1", none()), "c": module("i:1", off)});
    agent.deploy(1, all).await;
    agent.settle(97).await;
    assert_eq!(agent.status().await.deployment_seconds, None);
    agent.world.borrow_mut().slow_images.clear();
    agent.settle(100).await;
    let status = agent.status().await;
    let took = status.deployment_seconds.unwrap();
    assert!((99.0..104.0).contains(&took), "{took}");
    let of = |name: &str| {
        let line = status.modules.iter().find(|it| it.name == name).unwrap();
        (line.wanted_seconds, line.running_seconds)
    };
    let (wanted, ran) = of("a");
    assert!((195.0..202.0).contains(&wanted) && wanted - ran <= 3.0, "{wanted} {ran}");
    let (wanted, ran) = of("b");
    assert!((195.0..202.0).contains(&wanted), "{wanted}");
    assert!((95.0..102.0).contains(&ran), "{ran}");
    assert_eq!(of("c"), (0.0, 0.0), "it was not to run");
}
