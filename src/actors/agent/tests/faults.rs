//! Trouble of one stays with one; what is bad is named; what runs is not touched by a panic.

use std::time::Duration;

use serde_json::json;

use super::fake::{Agent, module};
use super::none;
use super::world::World;
use crate::messages::supervision::{PanicAt, Shutdown, TakeSnapshot};

#[actix::test]
async fn an_image_that_cannot_be_had_is_named_and_holds_up_nobody() {
    let bad_images = ["bad:1".to_owned()].into();
    let agent = Agent::start(World { bad_images, ..World::default() }).await;
    agent.deploy(1, json!({"a": module("bad:1", none()), "b": module("i:1", none())})).await;
    let status = agent.status().await;
    assert_eq!(status.code, 500);
    assert!(status.description.contains("a: image bad:1 cannot be had"), "{status:?}");
    assert_eq!(agent.module("b").await.status, "running");
    let line = agent.module("a").await;
    assert_eq!(line.status, "backoff");
    assert!(line.next_attempt.is_some() && !line.differences.is_empty());
    agent.world.borrow_mut().bad_images.clear();
    agent.settle(12).await;
    assert_eq!(
        (agent.module("a").await.status.as_str(), agent.status().await.code),
        ("running", 200)
    );
}

#[actix::test]
async fn a_new_image_that_cannot_be_had_leaves_the_old_one_running() {
    let agent = Agent::start(World::default()).await;
    agent.deploy(1, json!({"a": module("i:1", none())})).await;
    agent.world.borrow_mut().bad_images.insert("i:2".into());
    agent.world.borrow_mut().took();
    agent.deploy(2, json!({"a": module("i:2", none())})).await;
    let log = agent.world.borrow_mut().took();
    assert!(!log.iter().any(|it| it.starts_with("stop")), "{log:?}");
    assert_eq!(agent.status().await.code, 500);
}

#[actix::test]
async fn a_bad_module_is_named_and_the_others_run() {
    let agent = Agent::start(World::default()).await;
    let good = module("i:1", none());
    agent.deploy(1, json!({"good": good, "bad": good})).await;
    agent.deploy(2, json!({"good": good, "bad": {"type": "docker"}})).await;
    let status = agent.status().await;
    assert_eq!(status.code, 400);
    assert!(status.description.contains("modules.bad.status"), "{status:?}");
    assert_eq!(agent.module("good").await.status, "running");
    assert_eq!(agent.module("bad").await.status, "failed");
    let world = agent.world.borrow();
    assert_eq!(world.containers.len(), 2, "what ran of the bad one is left alone");
    assert_eq!(world.reported["modules"]["bad"]["runtimeStatus"], "failed");
}

#[actix::test]
async fn a_refused_deployment_leaves_the_last_good_one_in_force_after_a_restart_too() {
    let agent = Agent::start(World::default()).await;
    agent.deploy(1, json!({"a": module("i:1", json!({"restartPolicy": "always"}))})).await;
    let (containers, kept) =
        (agent.world.borrow().containers.clone(), agent.world.borrow().kept.clone());
    let reported = agent.world.borrow().reported.clone();
    let desired = Some((2, json!({"schemaVersion": "9.0"})));
    let world = World { containers, kept, desired, reported, ..World::default() };
    let agent = Agent::start(world).await;
    assert_eq!(agent.status().await.code, 412);
    agent.end("a", 1).await;
    agent.settle(14).await;
    assert_eq!(agent.module("a").await.status, "running", "it is looked after");
    let world = agent.world.borrow();
    assert_eq!(world.reported["lastDesiredVersion"], 2);
    assert_eq!(world.reported["lastDesiredStatus"]["code"], 412);
    assert_eq!(world.reported["modules"]["a"]["restartCount"], 1);
}

#[actix::test]
async fn a_deployment_that_could_not_be_stored_is_stored_when_there_is_room() {
    let agent = Agent::start(World { is_full: true, ..World::default() }).await;
    agent.deploy(1, json!({"a": module("i:1", none())})).await;
    assert_eq!(agent.module("a").await.status, "running", "it runs all the same");
    assert_eq!(agent.world.borrow().kept, None);
    agent.world.borrow_mut().is_full = false;
    agent.settle(310).await;
    let kept = agent.world.borrow().kept.clone().unwrap();
    assert!(String::from_utf8(kept).unwrap().contains("i:1"), "for a start without a parent");
}

#[actix::test]
async fn identities_are_made_once_and_a_parent_that_is_away_stops_only_new_modules() {
    let agent = Agent::start(World::default()).await;
    agent.world.borrow_mut().unknown.insert("new".into());
    agent.world.borrow_mut().registrar_error = Some("the parent is away".into());
    agent.deploy(1, json!({"known": module("i:1", none()), "new": module("i:1", none())})).await;
    assert_eq!(agent.module("known").await.status, "running");
    let line = agent.module("new").await;
    assert!(line.why.contains("the parent is away"), "{line:?}");
    agent.world.borrow_mut().registrar_error = None;
    agent.settle(12).await;
    assert_eq!(agent.module("new").await.status, "running");
    let log = agent.world.borrow_mut().took();
    let registered: Vec<&String> = log.iter().filter(|it| it.starts_with("register")).collect();
    assert_eq!(registered, ["register edge-1/new", "register edge-1/new"]);
}

#[actix::test]
async fn a_panic_touches_no_container() {
    let agent = Agent::start(World::default()).await;
    agent.deploy(1, json!({"a": module("i:1", none()), "b": module("i:1", none())})).await;
    agent.world.borrow_mut().took();
    for path in [vec!["module a", "container"], vec!["module a"]] {
        let path: Vec<String> = path.into_iter().map(str::to_owned).collect();
        assert!(agent.modules.send(PanicAt(path)).await.unwrap());
        agent.settle(2).await;
    }
    let log = agent.world.borrow_mut().took();
    assert!(log.iter().all(|it| it.starts_with("sockets")), "{log:?}");
    let tree = agent.modules.send(TakeSnapshot).await.unwrap();
    let running: Vec<&str> =
        tree.iter().filter(|it| it.status == "running").map(|it| it.path.as_str()).collect();
    assert_eq!(running, ["module a", "module a/container", "module b", "module b/container"]);
    assert_eq!(tree[0].restarts, 1);
    agent.end("a", 1).await;
    assert_eq!(agent.module("a").await.status, "backoff", "it is still looked after");
}

#[actix::test]
async fn a_stop_reports_that_nobody_watches_and_leaves_containers_running() {
    let agent = Agent::start(World::default()).await;
    agent.deploy(1, json!({"a": module("i:1", none())})).await;
    agent.world.borrow_mut().took();
    agent.modules.do_send(Shutdown);
    agent.settle(1).await;
    assert!(!agent.modules.connected(), "its children are gone, and so is it");
    agent.deployment.do_send(Shutdown);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(!agent.deployment.connected());
    let world = agent.world.borrow();
    assert_eq!(world.reported["lastDesiredStatus"]["code"], 406);
    assert_eq!(world.reported["modules"]["a"]["runtimeStatus"], "unknown");
    assert!(world.log.iter().all(|it| it.starts_with("sockets")), "{:?}", world.log);
}

#[actix::test]
async fn a_module_that_is_told_to_speak_amqp_is_told_what_to_do() {
    let agent = Agent::start(World::default()).await;
    let env = json!({"env": {"ClientTransportType": {"value": "Amqp_Tcp_Only"}}});
    agent.deploy(1, json!({"a": module("i:1", env)})).await;
    let why = agent.module("a").await.why;
    assert!(why.contains("speaks AMQP") && why.contains("Mqtt"), "{why}");
}
