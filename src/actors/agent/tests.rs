//! EdgeAgent's actors in virtual time, over a container engine in memory.

mod ends;
mod fake;
mod faults;
mod lives;
mod promptness;
mod reports;
mod secrets;
mod updates;
mod world;

use std::time::Duration;

use serde_json::json;

use self::fake::{Agent, deployment, module};
use self::world::{Habit, World};
use crate::domain::agent::observed::{Health, Phase};
use crate::messages::engine::EngineNotice;

fn none() -> serde_json::Value {
    json!({})
}

#[actix::test]
async fn a_deployment_is_carried_out_and_reported() {
    let agent = Agent::start(World::default()).await;
    assert_eq!(agent.status().await.code, 406);
    agent.deploy(1, json!({"a": module("i:1", none()), "b": module("j:1", none())})).await;
    let log = agent.world.borrow_mut().took();
    let first_create = log.iter().position(|it| it.starts_with("create")).unwrap();
    let sockets = log.iter().position(|it| it == "sockets a b").unwrap();
    assert!(sockets < first_create, "the directory is there before it is mounted: {log:?}");
    for step in ["pull i:1", "create a", "start a", "pull j:1", "create b", "start b"] {
        assert_eq!(log.iter().filter(|it| *it == step).count(), 1, "{step} in {log:?}");
    }
    let status = agent.status().await;
    assert_eq!((status.code, status.desired_version), (200, Some(1)));
    assert_eq!(agent.module("a").await.status, "running");
    assert!(status.modules.iter().all(|line| line.differences.is_empty()), "{status:?}");
    let world = agent.world.borrow();
    let body = &world.bodies["a"];
    assert_eq!(body["HostConfig"]["ExtraHosts"], json!(["gw:172.20.0.1"]));
    assert!(body["Env"].as_array().unwrap().contains(&json!("IOTEDGE_MODULEGENERATIONID=g-a")));
    assert_eq!(world.reported["lastDesiredVersion"], 1);
    assert_eq!(world.reported["lastDesiredStatus"]["code"], 200);
    assert_eq!(world.reported["modules"]["b"]["runtimeStatus"], "running");
    assert_eq!(world.reported["systemModules"]["edgeHub"]["runtimeStatus"], "running");
}

#[actix::test]
async fn only_what_changed_is_reported_and_what_was_not_taken_is_sent_again() {
    let agent = Agent::start(World::default()).await;
    agent.deploy(1, json!({"a": module("i:1", none())})).await;
    agent.world.borrow_mut().patches.clear();
    agent.settle(900).await;
    assert!(agent.world.borrow().patches.is_empty(), "nothing has changed");
    agent.world.borrow_mut().patch_status = 500;
    agent.end("a", 1).await;
    agent.settle(2).await;
    assert_ne!(agent.world.borrow().reported["modules"]["a"]["runtimeStatus"], "backoff");
    agent.world.borrow_mut().patch_status = 204;
    agent.settle(30).await;
    let world = agent.world.borrow();
    assert_eq!(world.reported["modules"]["a"]["restartCount"], 1);
    assert!(world.patches.iter().all(|patch| patch.get("systemModules").is_none()));
}

#[actix::test]
async fn an_update_has_its_image_before_it_stops_what_runs_and_leaves_others_alone() {
    let agent = Agent::start(World::default()).await;
    agent.deploy(1, json!({"a": module("i:1", none()), "b": module("j:1", none())})).await;
    agent.world.borrow_mut().took();
    agent.deploy(2, json!({"a": module("i:2", none()), "b": module("j:1", none())})).await;
    let log = agent.world.borrow_mut().took();
    let of_a: Vec<&str> =
        log.iter().map(String::as_str).filter(|it| !it.starts_with("sockets")).collect();
    assert_eq!(of_a, ["pull i:2", "aside a", "create a", "stop a", "start a"]);
    agent.settle(60).await;
    let log = agent.world.borrow_mut().took();
    assert_eq!(log.iter().filter(|it| *it == "remove a").count(), 1, "it came up: {log:?}");
    // A policy, an order, a version: no container is made anew for those.
    let change = json!({"restartPolicy": "always", "startupOrder": 3, "version": "9"});
    agent.deploy(3, json!({"a": module("i:2", change), "b": module("j:1", none())})).await;
    let log = agent.world.borrow_mut().took();
    assert!(log.iter().all(|it| it.starts_with("sockets")), "{log:?}");
    assert_eq!(agent.status().await.code, 200);
    assert_eq!(agent.world.borrow().reported["modules"]["a"]["restartPolicy"], "always");
}

#[actix::test]
async fn what_nobody_wants_is_removed_and_what_is_to_be_stopped_is_stopped() {
    let agent = Agent::start(World::default()).await;
    let b = |status: &str| module("j:1", json!({"status": status}));
    agent.deploy(1, json!({"a": module("i:1", none()), "b": b("running")})).await;
    agent.deploy(2, json!({"b": b("stopped")})).await;
    {
        let mut world = agent.world.borrow_mut();
        assert!(world.containers.iter().all(|it| it.module != "a"));
        assert_eq!(world.container("b").phase, Phase::Exited);
        assert!(world.reported["modules"].get("a").is_none());
    }
    let line = agent.module("b").await;
    assert_eq!((line.status.as_str(), line.differences.len()), ("stopped", 0));
    assert_eq!(agent.status().await.modules.len(), 3, "edgeAgent, edgeHub and b");
    agent.deploy(3, json!({"b": b("running")})).await;
    assert_eq!(agent.module("b").await.status, "running");
    assert_eq!(agent.status().await.code, 200);
}

#[actix::test]
async fn what_cannot_be_removed_is_shown_until_it_is() {
    let first = Agent::start(World::default()).await;
    first.deploy(1, json!({"a": module("i:1", none())})).await;
    let containers = first.world.borrow().containers.clone();
    let desired = Some((2, deployment(json!({}))));
    let world = World { containers, desired, is_stuck: true, ..World::default() };
    let agent = Agent::start(world).await;
    let line = agent.module("a").await;
    assert!(line.why.contains("cannot be removed"), "{line:?}");
    assert_eq!(line.differences.len(), 1);
    agent.settle(1_800).await; // with six looks at everything
    agent.world.borrow_mut().took();
    agent.settle(100).await;
    let tries = agent.world.borrow_mut().took();
    let tries = tries.iter().filter(|it| *it == "stuck a").count();
    assert!((9..=11).contains(&tries), "every 10 s, however long it takes: {tries}");
    agent.world.borrow_mut().is_stuck = false;
    agent.settle(12).await;
    assert_eq!(agent.status().await.modules.len(), 2, "edgeAgent and edgeHub");
    assert!(agent.world.borrow().containers.is_empty());
}

#[actix::test]
async fn modules_start_by_their_order_and_none_waits_for_ever() {
    let agent = Agent::start(World::default()).await;
    agent.world.borrow_mut().slow_images.insert("slow:1".into());
    let at = |image: &str, order: u32| module(image, json!({"startupOrder": order}));
    agent.deploy(1, json!({"z": at("i:1", 1), "m": at("slow:1", 2), "a": at("i:1", 3)})).await;
    let started = |log: Vec<String>| -> Vec<String> {
        log.into_iter().filter(|it| it.starts_with("start")).collect()
    };
    let log = agent.world.borrow_mut().took();
    assert_eq!(started(log), ["start z"], "a waits for m");
    assert_eq!(agent.module("a").await.why, "waits 60 s at most for m, by startupOrder");
    let line = agent.module("m").await;
    assert_eq!(
        (line.status.as_str(), line.why.as_str()),
        ("downloading", "downloaded 1.0 of 2.0 MB (50 %)")
    );
    let reported = agent.world.borrow().reported["modules"]["m"].clone();
    assert_eq!(reported["runtimeStatus"], "downloading");
    assert_eq!(reported["statusDescription"], "downloaded 50 %", "by tens");
    agent.settle(65).await;
    assert_eq!(started(agent.world.borrow_mut().took()), ["start a"]);
    agent.world.borrow_mut().slow_images.clear();
    agent.settle(3).await;
    assert_eq!(started(agent.world.borrow_mut().took()), ["start m"]);
    assert_eq!(agent.status().await.code, 200);
}

#[actix::test]
async fn those_that_start_later_wait_until_the_earlier_run_and_are_healthy_or_their_time_is_over() {
    let at = |image: &str, order: u32| module(image, json!({"startupOrder": order}));
    let started = |agent: &Agent| -> Vec<String> {
        let log = agent.world.borrow_mut().took();
        log.into_iter().filter(|it| it.starts_with("start")).collect()
    };
    let habits = [("checked:1".to_owned(), Habit::Checked)].into();
    let agent = Agent::start(World { habits, ..World::default() }).await;
    agent.deploy(1, json!({"z": at("checked:1", 0), "a": at("i:1", 1)})).await;
    agent.settle(30).await;
    assert_eq!(started(&agent), ["start z"], "it is not healthy yet");
    agent.world.borrow_mut().container("z").health = Health::Healthy;
    agent.ports.engine_to_modules.tell(EngineNotice::Container("z".into()));
    agent.settle(1).await;
    assert_eq!(started(&agent), ["start a"]);

    let bad_images = ["bad:1".to_owned()].into();
    let habits = [("done:1".to_owned(), Habit::Ends(0))].into();
    let agent = Agent::start(World { bad_images, habits, ..World::default() }).await;
    let all = json!({"z": at("bad:1", 0), "y": at("done:1", 0), "a": at("i:1", 1)});
    agent.deploy(1, all).await;
    agent.settle(50).await;
    assert_eq!(started(&agent), ["start y"], "z may come yet");
    agent.settle(10).await;
    assert_eq!(started(&agent), ["start a"]);
    let done = json!({"y": at("done:1", 0), "a": at("i:1", 1), "b": at("i:1", 1)});
    agent.deploy(2, done).await;
    assert_eq!(started(&agent), ["start b"], "what has ended, and is to, is not waited for");
}

#[actix::test]
async fn what_waits_for_its_turn_says_so_and_is_not_carried_out_yet() {
    let at = |image: &str, order: u32| module(image, json!({"startupOrder": order}));
    let slow_images = ["slow:1".to_owned()].into();
    let agent = Agent::start(World { slow_images, ..World::default() }).await;
    agent.deploy(1, json!({"z": at("i:1", 0), "a": at("i:1", 1)})).await;
    assert_eq!(agent.status().await.code, 200);
    agent.deploy(2, json!({"z": at("slow:1", 0), "a": at("i:2", 1), "b": at("i:1", 1)})).await;
    let a = agent.module("a").await;
    let waits = "waits 60 s at most for z, by startupOrder";
    assert_eq!((a.status.as_str(), a.why.as_str()), ("running", waits));
    assert_eq!(a.differences, ["its desired properties are being applied"]);
    let b = agent.module("b").await;
    assert_eq!((b.status.as_str(), b.why.as_str()), ("unknown", waits));
    agent.deploy(3, json!({"z": at("slow:1", 0), "a": at("i:1", 1)})).await;
    assert_eq!(agent.status().await.modules.len(), 4, "b never had its turn, and is gone");
    agent.world.borrow_mut().slow_images.clear();
    agent.settle(80).await;
    let status = agent.status().await;
    assert_eq!((status.code, agent.module("a").await.why.as_str()), (200, ""), "{status:?}");
}

#[actix::test]
async fn a_container_that_runs_is_adopted() {
    let first = Agent::start(World::default()).await;
    first.deploy(1, json!({"a": module("i:1", none())})).await;
    let mut containers = first.world.borrow().containers.clone();
    containers[0].started = Some(Duration::from_secs(1_700_000_000));
    let desired = Some((1, deployment(json!({"a": module("i:1", none())}))));
    let agent = Agent::start(World { containers, desired, ..World::default() }).await;
    let log = agent.world.borrow_mut().took();
    assert!(log.iter().all(|it| it.starts_with("sockets")), "{log:?}");
    let since = agent.module("a").await.since.unwrap();
    assert!(since.starts_with("2023-11-14T22:13:20"), "since it was started: {since}");
    assert_eq!(
        (agent.module("a").await.status.as_str(), agent.status().await.code),
        ("running", 200)
    );
}

#[actix::test]
async fn what_runs_is_looked_after_at_once_though_an_earlier_one_does_not_come_up() {
    let at = |image: &str, order: u32| module(image, json!({"startupOrder": order}));
    let first = Agent::start(World::default()).await;
    first.deploy(1, json!({"a": at("i:1", 1), "b": at("i:1", 1)})).await;
    let mut containers = first.world.borrow().containers.clone();
    containers.iter_mut().find(|it| it.module == "b").unwrap().phase = Phase::Exited;
    let all = json!({"z": at("bad:1", 0), "a": at("i:1", 1), "b": at("i:1", 1)});
    let (desired, bad_images) = (Some((2, deployment(all))), ["bad:1".to_owned()].into());
    let agent = Agent::start(World { containers, desired, bad_images, ..World::default() }).await;
    assert_eq!(agent.module("a").await.status, "running");
    assert_eq!(agent.module("b").await.status, "unknown", "it has its turn after z");
    agent.end("a", 1).await;
    agent.settle(12).await;
    assert_eq!(agent.module("a").await.status, "running", "restarted");
    assert_eq!(agent.module("b").await.status, "unknown");
    agent.settle(60).await;
    assert_eq!(agent.module("b").await.status, "running");
}

#[actix::test]
async fn an_engine_that_is_away_is_waited_for() {
    let desired = Some((1, deployment(json!({"a": module("i:1", none())}))));
    let agent = Agent::start(World { is_away: true, desired, ..World::default() }).await;
    let status = agent.status().await;
    assert_eq!((status.code, status.engine.as_str()), (500, "away: gone"));
    assert!(agent.module("a").await.why.contains("container engine"));
    agent.world.borrow_mut().is_away = false;
    agent.ports.engine_to_deployment.tell(EngineNotice::Up);
    agent.ports.engine_to_modules.tell(EngineNotice::Up);
    agent.settle(3).await;
    assert_eq!(
        (agent.module("a").await.status.as_str(), agent.status().await.code),
        ("running", 200)
    );
}
