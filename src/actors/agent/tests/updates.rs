//! Updates that fail: what ran before runs again, whatever fails, and whenever the runtime is killed.

use std::time::Duration;

use serde_json::{Value, json};

use super::fake::{Agent, deployment, module};
use super::none;
use super::world::{Habit, World};
use crate::domain::agent::observed::{Health, Observed, Phase};
use crate::messages::agent::{PreviewDeployment, Previewed};
use crate::messages::engine::EngineNotice;

const OLD: &str = "i:1";
const NEW: &str = "i:2";

fn world(habit: Option<Habit>) -> World {
    let habits = habit.map(|habit| (NEW.to_owned(), habit)).into_iter().collect();
    World { habits, ..World::default() }
}

async fn updated(habit: Option<Habit>) -> Agent {
    let agent = Agent::start(world(habit)).await;
    agent.deploy(1, json!({"a": module(OLD, none())})).await;
    agent.world.borrow_mut().took();
    agent.deploy(2, json!({"a": module(NEW, none())})).await;
    agent
}

fn only(agent: &Agent) -> Observed {
    let containers = &agent.world.borrow().containers;
    let [only] = containers.as_slice() else { panic!("not one container: {containers:#?}") };
    assert!(!only.is_aside && only.name.starts_with("edge-a-"), "{only:?}");
    only.clone()
}

fn changes(agent: &Agent) -> Vec<String> {
    let log = agent.world.borrow_mut().took();
    log.into_iter().filter(|it| !it.starts_with("sockets")).collect()
}

#[actix::test]
async fn what_does_not_come_up_is_undone_said_and_not_tried_again_until_the_deployment_changes() {
    for (habit, word) in [
        (Habit::Unstartable, "could not be started: the port is taken"),
        (Habit::Ends(3), "ended with exit code 3"),
        (Habit::Checked, "has not become healthy in time"),
    ] {
        let agent = updated(Some(habit)).await;
        agent.settle(61).await;
        assert_eq!((only(&agent).image.as_str(), only(&agent).phase), (OLD, Phase::Running));
        let line = agent.module("a").await;
        assert_eq!(line.status, "running", "{habit:?}");
        assert!(line.why.contains(word) && line.why.contains("undone"), "{line:?}");
        let status = agent.status().await;
        assert!(status.code == 500 && status.description.contains(word), "{status:?}");
        let told = agent.world.borrow().reported["modules"]["a"].clone();
        assert!(told["statusDescription"].as_str().unwrap().contains(word), "{told}");
        // Nor after hours, a container that crashed, or a start of the runtime.
        changes(&agent);
        agent.settle(7_200).await;
        agent.end("a", 1).await;
        agent.settle(15).await;
        assert_eq!(changes(&agent), ["start a"], "{habit:?}");
        let agent = Agent::start(agent.end_of_process().await).await;
        agent.settle(700).await;
        assert_eq!(changes(&agent), [""; 0], "{habit:?}");
        assert!(agent.module("a").await.why.contains(word));
        // Another spec is tried; and so is the refused one when it is wanted anew after that.
        agent.deploy(3, json!({"a": module("i:3", none())})).await;
        agent.settle(61).await;
        assert_eq!((only(&agent).image.as_str(), agent.status().await.code), ("i:3", 200));
        agent.world.borrow_mut().habits.clear();
        agent.deploy(4, json!({"a": module(NEW, none())})).await;
        agent.settle(61).await;
        assert_eq!((only(&agent).image.as_str(), agent.status().await.code), (NEW, 200));
    }
}

#[actix::test]
async fn what_cannot_be_created_stops_nothing_and_is_tried_again() {
    let agent = updated(Some(Habit::Uncreatable)).await;
    let log = changes(&agent);
    assert!(log.iter().all(|it| !it.starts_with("stop")), "{log:?}");
    assert_eq!((only(&agent).image.as_str(), only(&agent).phase), (OLD, Phase::Running));
    let line = agent.module("a").await;
    assert!(line.why.contains("invalid mount") && line.next_attempt.is_some(), "{line:?}");
    assert_eq!(agent.status().await.code, 500);
    agent.world.borrow_mut().habits.clear();
    agent.settle(12).await;
    assert_eq!((agent.module("a").await.image.as_str(), agent.status().await.code), (NEW, 200));
}

#[actix::test]
async fn a_new_container_is_up_when_it_is_healthy_or_has_run_for_its_time_or_a_job_is_done() {
    let agent = updated(Some(Habit::Checked)).await;
    agent.settle(20).await;
    assert_eq!(agent.world.borrow().containers.len(), 2, "the old one is kept");
    assert_eq!(agent.status().await.code, 406, "it is not healthy yet");
    for container in &mut agent.world.borrow_mut().containers {
        let is_new = container.image == NEW;
        container.health = if is_new { Health::Healthy } else { Health::None };
    }
    agent.ports.engine_to_modules.tell(EngineNotice::Container("a".into()));
    agent.settle(2).await;
    assert_eq!((only(&agent).image.as_str(), agent.status().await.code), (NEW, 200));

    let agent = updated(None).await;
    assert_eq!(agent.status().await.code, 200, "it runs");
    assert!(agent.module("a").await.why.contains("on trial"));
    agent.settle(50).await;
    assert_eq!(agent.world.borrow().containers.len(), 2);
    agent.settle(10).await;
    assert_eq!(only(&agent).image, NEW);
    assert_eq!(agent.module("a").await.why, "");

    let agent = updated(Some(Habit::Ends(0))).await;
    assert_eq!(only(&agent).image, NEW, "its policy takes a clean end for an end");
    assert_eq!(agent.module("a").await.status, "stopped");
}

#[actix::test]
async fn while_an_image_cannot_be_had_what_runs_is_looked_after_and_minutes_after_it_is_updated() {
    let agent = Agent::start(World::default()).await;
    let old = || json!({"a": module(OLD, json!({"restartPolicy": "always"}))});
    let new = || json!({"a": module(NEW, json!({"restartPolicy": "always"}))});
    agent.deploy(1, old()).await;
    agent.world.borrow_mut().bad_images.insert(NEW.into());
    agent.deploy(2, new()).await;
    let line = agent.module("a").await;
    assert_eq!(line.status, "running", "the old one does: {line:?}");
    assert!(line.why.contains("cannot be had") && line.next_attempt.is_some(), "{line:?}");
    agent.settle(86_400).await;
    let pulls = changes(&agent).iter().filter(|it| *it == "pull i:2").count();
    assert!((288..400).contains(&pulls), "every 4 to 5 minutes: {pulls}");
    agent.end("a", 1).await;
    agent.settle(12).await;
    assert_eq!((only(&agent).image.as_str(), only(&agent).phase), (OLD, Phase::Running));
    // The machine is restarted: what can run, runs, and does not wait for the registry.
    let mut taken = agent.end_of_process().await;
    let old = &mut taken.containers[0];
    (old.phase, old.exit_code) = (Phase::Exited, Some(0));
    old.finished = Some(Duration::from_secs(1));
    taken.slow_images.insert(NEW.into());
    let agent = Agent::start(taken).await;
    assert_eq!((only(&agent).image.as_str(), only(&agent).phase), (OLD, Phase::Running));
    let line = agent.module("a").await;
    assert!(line.why.contains("is being downloaded (downloaded"), "{line:?}");
    assert_eq!(agent.status().await.code, 406);
    // The download fails; the next one does not.
    agent.world.borrow_mut().slow_images.clear();
    agent.settle(5).await;
    assert_eq!(agent.status().await.code, 500);
    agent.world.borrow_mut().bad_images.clear();
    agent.settle(300).await;
    assert_eq!((only(&agent).image.as_str(), agent.status().await.code), (NEW, 200));
}

#[actix::test]
async fn an_old_container_that_ends_during_a_download_is_started_again_and_replaced_when_that_is_done()
 {
    let agent = Agent::start(World::default()).await;
    agent.deploy(1, json!({"a": module(OLD, none())})).await;
    agent.world.borrow_mut().slow_images.insert(NEW.into());
    agent.deploy(2, json!({"a": module(NEW, none())})).await;
    agent.end("a", 1).await;
    let line = agent.module("a").await;
    assert!(line.status == "backoff" && line.next_attempt.is_some(), "{line:?}");
    agent.settle(12).await;
    assert_eq!(agent.module("a").await.status, "running", "the old one, by its policy");
    agent.end("a", 1).await;
    agent.world.borrow_mut().slow_images.clear();
    agent.settle(3).await;
    let pulls = changes(&agent).iter().filter(|it| *it == "pull i:2").count();
    assert_eq!(pulls, 1, "the download was not begun anew");
    let line = agent.module("a").await;
    assert_eq!((line.status.as_str(), line.image.as_str()), ("running", NEW), "and at once");
}

#[actix::test]
async fn another_deployment_during_a_trial_goes_back_to_what_is_known_to_have_run() {
    let agent = updated(Some(Habit::Checked)).await;
    agent.deploy(3, json!({"a": module(OLD, none())})).await;
    let log = changes(&agent);
    assert_eq!(&log[log.len() - 4..], ["stop a", "start a", "remove a", "back a"]);
    assert_eq!((only(&agent).image.as_str(), agent.status().await.code), (OLD, 200));
}

#[actix::test]
async fn a_module_deployed_stopped_is_created_and_later_the_same_container_is_started() {
    let agent = Agent::start(World::default()).await;
    let with = |status: &str| json!({"a": module(OLD, json!({"status": status}))});
    agent.deploy(1, with("stopped")).await;
    assert_eq!(changes(&agent), ["pull i:1", "create a"]);
    assert_eq!(
        (agent.module("a").await.status.as_str(), agent.status().await.code),
        ("stopped", 200)
    );
    let id = only(&agent).id;
    agent.deploy(2, with("running")).await;
    assert_eq!(changes(&agent), ["start a"]);
    assert_eq!((only(&agent).id, agent.module("a").await.status), (id, "running".to_owned()));
    // Changed while it is to be stopped: made anew, and nothing is tried.
    agent.deploy(3, with("stopped")).await;
    agent.deploy(4, json!({"a": module(NEW, json!({"status": "stopped"}))})).await;
    assert_eq!((only(&agent).image.as_str(), only(&agent).phase), (NEW, Phase::Created));
}

/// What is left when the runtime was killed after so many changes of an update; and whether it was.
async fn killed_after(changes: usize, habit: Option<Habit>, policy: &Value) -> (World, bool) {
    let agent = Agent::start(world(habit)).await;
    let old = module(OLD, json!({"restartPolicy": policy}));
    let new = module(NEW, json!({"restartPolicy": policy}));
    agent.deploy(1, json!({"a": old})).await;
    {
        let mut world = agent.world.borrow_mut();
        world.dies_after = Some(changes);
        // The new deployment is on disk before it is looked at.
        world.desired = Some((2, deployment(json!({"a": new}))));
    }
    agent.deploy(2, json!({"a": new})).await;
    agent.settle(90).await;
    let mut world = agent.end_of_process().await;
    let was_killed = world.dies_after == Some(0);
    world.dies_after = None;
    (world, was_killed)
}

#[actix::test]
async fn killed_at_any_change_of_an_update_it_ends_in_the_new_container_or_in_the_old_one() {
    for habit in [
        None,
        Some(Habit::Checked),
        Some(Habit::Unstartable),
        Some(Habit::Ends(1)),
        Some(Habit::Uncreatable),
    ] {
        for policy in ["always", "never"] {
            let mut deaths = 0;
            loop {
                let (world, was_killed) = killed_after(deaths, habit, &json!(policy)).await;
                assert!(!world.containers.is_empty(), "neither, after {deaths} {habit:?}");
                let agent = Agent::start(world).await;
                agent.settle(200).await;
                let wanted = if habit.is_none() { NEW } else { OLD };
                let container = only(&agent);
                let is = (container.image.as_str(), container.phase);
                assert_eq!(is, (wanted, Phase::Running), "{deaths} {habit:?} {policy}");
                let code = if habit.is_none() { 200 } else { 500 };
                assert_eq!(agent.status().await.code, code, "{deaths} {habit:?} {policy}");
                agent.end_of_process().await;
                if !was_killed {
                    break;
                }
                deaths += 1;
            }
            let least = if habit == Some(Habit::Uncreatable) { 3 } else { 5 };
            assert!(deaths >= least, "{deaths} {habit:?}");
            assert!(deaths < 20, "the loop ends: {deaths} {habit:?}");
        }
    }
}

#[actix::test]
async fn the_time_of_a_trial_can_be_no_time() {
    let agent = Agent::start_as(World::default(), |config| {
        config.update_deadline = Duration::ZERO;
    })
    .await;
    agent.deploy(1, json!({"a": module(OLD, none())})).await;
    agent.deploy(2, json!({"a": module(NEW, none())})).await;
    assert_eq!(only(&agent).image, NEW);
}

#[actix::test]
async fn a_preview_tells_what_a_deployment_would_do_and_changes_nothing() {
    let agent = Agent::start(World::default()).await;
    agent.deploy(1, json!({"a": module(OLD, none()), "b": module(OLD, none())})).await;
    changes(&agent);
    let ask = async |given: Value| {
        let ask = PreviewDeployment(given);
        agent.ports.preview.ask(ask, Duration::from_secs(5)).await.unwrap()
    };
    let told = |previewed: Result<Previewed, String>| -> Vec<String> {
        let modules = previewed.unwrap().modules.into_iter();
        modules.map(|it| format!("{} {}", it.name, it.change)).collect()
    };
    let same = deployment(json!({"a": module(OLD, none()), "b": module(OLD, none())}));
    let previewed = ask(json!({ "properties.desired": same })).await;
    assert_eq!(told(previewed), ["a untouched", "b untouched"]);
    let other = deployment(json!({"a": module(NEW, none()), "c": module(OLD, none())}));
    let previewed = ask(json!({ "properties.desired": other })).await;
    assert_eq!(told(previewed), ["a changed", "c added", "b removed"]);
    // A layer on top of what is deployed.
    let layer = json!({ "properties.desired.modules.c": module(OLD, none()) });
    assert_eq!(told(ask(layer).await), ["a untouched", "b untouched", "c added"]);
    let old = ask(json!({ "properties.desired": {"schemaVersion": "9.0"} })).await;
    assert!(old.unwrap_err().starts_with("412 "));
    agent.settle(5).await;
    assert_eq!(changes(&agent), [""; 0]);
}
