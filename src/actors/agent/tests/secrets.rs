//! What an engine quotes of what it was given is neither reported, shown, kept nor logged.

use serde_json::json;

use super::fake::{Agent, deployment, module};
use super::world::{Habit, World};
use crate::domain::identity::Identity;
use crate::messages::engine::EngineNotice;
use crate::messages::twins::TwinChanged;

#[actix::test]
async fn what_the_engine_quotes_of_a_modules_secrets_is_shown_to_nobody() {
    let world = World {
        habits: [("u:1".to_owned(), Habit::Uncreatable)].into(),
        bad_images: ["r.io/bad:1".to_owned()].into(),
        ..World::default()
    };
    let agent = Agent::start(world).await;
    let env =
        json!({ "DB": { "value": "mongo with s3cret-1" }, "PIN_TOKEN": { "value": "s3cret-2" } });
    let options = json!({ "Cmd": ["run", "--password", "s3cret-3"],
                          "Labels": { "to": "https://u:s3cret-4@r.io" } });
    let settings =
        |image: &str| json!({ "settings": { "image": image, "createOptions": options } });
    let mut uncreatable = module("u:1", settings("u:1"));
    let mut runs = module("i:1", settings("i:1"));
    (uncreatable["env"], runs["env"]) = (env.clone(), env);
    let bad = module("r.io/bad:1", json!({}));
    let mut desired = deployment(json!({ "uncreatable": uncreatable, "bad": bad, "runs": runs }));
    let log_in = json!({ "address": "r.io", "username": "u", "password": "s3cret-5" });
    desired["runtime"]["settings"] = json!({ "registryCredentials": { "r": log_in } });
    agent.world.borrow_mut().desired = Some((1, desired));
    let own = Identity::parse("edge-1/$edgeAgent").unwrap();
    agent.ports.twin_changed.tell(TwinChanged::Desired(own));
    agent.settle(3).await;
    agent.world.borrow_mut().container("runs").error = "exec of PIN_TOKEN s3cret-2 failed".into();
    agent.end("runs", 127).await;
    agent.ports.engine_to_modules.tell(EngineNotice::Container("runs".into()));
    agent.settle(3).await;

    let status = agent.status().await;
    let why = async |name: &str| agent.module(name).await;
    assert!(why("uncreatable").await.why.contains("invalid mount in {"), "{status:?}");
    let why_bad = why("bad").await.why;
    assert!(why_bad.contains("image r.io/bad:1 cannot be had Some(\"***\")"), "{why_bad}");
    assert!(why("runs").await.why.contains("exec of PIN_TOKEN *** failed"), "{status:?}");
    let world = agent.world.borrow();
    let kept = world.stored.values().map(|value| String::from_utf8_lossy(value).into_owned());
    let kept: Vec<_> = kept.collect();
    let all = format!("{status:?} {} {:?} {kept:?}", world.reported, world.patches);
    // The deployment itself is kept, too: sealed, where there is a vault.
    assert!(world.reported["modules"]["uncreatable"]["statusDescription"].is_string());
    for n in 1..=5 {
        assert!(!all.contains(&format!("s3cret-{n}")), "s3cret-{n} in {all}");
    }
}
