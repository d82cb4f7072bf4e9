//! Images out of a registry on this machine: they come, they are looked at, they go.

use std::time::Duration;

use edge_runtime::actors::agent::{Collection, ImagesConfig};
use edge_runtime::domain::agent::image_rules::{ImageRule, ImageRules, Require};
use edge_runtime::messages::agent::AgentStatus;
use serde_json::{Value, json};

use super::agent::registry::{PASSWORD, Registry, USER, make_fresh_image};
use super::agent::signing::Signer;
use super::agent::{Agent, Instance, make_image, run};
use super::{deployment, module};

/// What the registry is asked for it.
pub(super) fn pulled(image: &str, change: Value) -> Value {
    let mut module = module(image, &["run"], change);
    module["imagePullPolicy"] = "on-create".into();
    module
}

fn with_log_in(mut deployment: Value, registry: &Registry, password: &str) -> Value {
    deployment["runtime"]["settings"] = json!({"registryCredentials": {
        "other": {"address": "127.44.9.9:5000", "username": "nobody", "password": "none"},
        "test": {"address": registry.address, "username": USER, "password": password},
    }});
    deployment
}

pub(super) fn why(status: &AgentStatus, module: &str) -> String {
    let line = status.modules.iter().find(|it| it.name == module);
    line.map(|it| it.why.clone()).unwrap_or_default()
}

pub(super) fn is(status: &AgentStatus, module: &str, word: &str) -> bool {
    status.modules.iter().any(|it| it.name == module && it.status == word)
}

/// The running container of a module was made of this image: one that it replaced may lie beside it.
#[track_caller]
fn assert_made_of(instance: &Instance, module: &str, image: &str) {
    let label = format!("label=io.edge-runtime.instance={}", instance.id);
    let name = format!("label=io.edge-runtime.module={module}");
    let id = instance.command(&["ps", "-q", "--filter", &label, "--filter", &name]);
    let is = instance.command(&["inspect", "-f", "{{.Image}}", &id]);
    assert_eq!(is, instance.command(&["image", "inspect", "-f", "{{.Id}}", image]));
}

fn has_image(name: &str) -> bool {
    !run("docker", &["images", "-q", name]).is_empty()
}

#[actix::test]
async fn a_registry_lets_in_who_the_deployment_says_and_nobody_learns_the_password() {
    make_fresh_image("edge-runtime-test/locked:1", 1000);
    let registry = Registry::running("127.44.0.1", true);
    registry.take("edge-runtime-test/locked:1", "team/locked:1");
    let instance = Instance::new("locked");
    let agent = Agent::start(&instance);
    let image = registry.image("team/locked:1");
    let modules = || deployment(json!({"locked": pulled(&image, json!({}))}));
    agent.deploy(1, modules());
    let missing = format!("there is no log-in for {}", registry.address);
    agent.until("the log-in is missed", |it| why(it, "locked").contains(&missing)).await;
    assert!(is(&agent.status().await, "locked", "backoff") && agent.status().await.code == 500);

    agent.deploy(2, with_log_in(modules(), &registry, "s3cret-but-wrong"));
    let refused = format!("the log-in of {USER} at {} was used", registry.address);
    agent.until("it is refused", |it| why(it, "locked").contains(&refused)).await;
    let told = format!("{:?} {}", agent.status().await, agent.reported());
    agent.deploy(3, with_log_in(modules(), &registry, PASSWORD));
    agent.until("it runs", |it| is(it, "locked", "running") && it.code == 200).await;
    let told = format!("{told} {:?} {}", agent.status().await, agent.reported());
    assert!(!told.contains("s3cret"), "{told}");
    agent.stop().await;
}

#[actix::test]
async fn what_cannot_be_pulled_is_tried_until_it_can() {
    make_fresh_image("edge-runtime-test/late:1", 20_000_000);
    let mut registry = Registry::running("127.44.0.2", false);
    let digest = registry.take("edge-runtime-test/late:1", "late:1");
    let manifest = std::fs::read(registry.blob(&digest)).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let layer = registry.blob(manifest["layers"][0]["digest"].as_str().unwrap());
    let aside = layer.with_extension("aside");
    std::fs::rename(&layer, &aside).unwrap();

    let instance = Instance::new("late");
    let agent = Agent::start(&instance);
    let (image, absent) = (registry.image("late:1"), registry.image("absent:1"));
    let modules = |version: u64| {
        let env = || json!({"env": {"V": {"value": version.to_string()}}});
        deployment(json!({
            "late-a": pulled(&image, env()), "late-b": pulled(&image, env()),
            "absent": pulled(&absent, env()),
        }))
    };
    let both = |it: &AgentStatus, is_so: &dyn Fn(&str) -> bool| {
        ["late-a", "late-b"].iter().all(|name| is_so(&why(it, name)))
    };
    agent.deploy(1, modules(1));
    let broken = |why: &str| why.contains("cannot be had") && !why.contains("refused");
    agent.until("it breaks off, in an answer that began well", |it| both(it, &broken)).await;
    assert!(why(&agent.status().await, "absent").contains("manifest unknown"));
    registry.stop();
    agent.deploy(2, modules(2));
    let nobody = |why: &str| why.contains("connection refused");
    agent.until("nobody is there", |it| both(it, &nobody)).await;
    registry.start();
    std::fs::rename(&aside, &layer).unwrap();
    let runs = |it: &AgentStatus| is(it, "late-a", "running") && is(it, "late-b", "running");
    agent.until("both run", runs).await;
    agent.stop().await;
}

#[actix::test]
async fn an_image_runs_only_if_it_is_the_one_with_the_pinned_digest() {
    make_fresh_image("edge-runtime-test/pinned:1", 1000);
    make_fresh_image("edge-runtime-test/pinned:2", 1000);
    let registry = Registry::running("127.44.0.3", false);
    let old = registry.take("edge-runtime-test/pinned:1", "pinned:1");
    let new = registry.take("edge-runtime-test/pinned:2", "pinned:1"); // the tag has moved
    let instance = Instance::new("pinned");
    let agent = Agent::start(&instance);
    let image = registry.image("pinned:1");
    let with_digest = |digest: &str| {
        let mut module = pulled(&image, json!({}));
        module["settings"]["digest"] = digest.into();
        deployment(json!({"pinned": module}))
    };
    agent.deploy(1, with_digest(&old));
    agent.until("the old one runs", |it| is(it, "pinned", "running") && it.code == 200).await;
    let name = registry.image("pinned");
    assert_made_of(&instance, "pinned", &format!("{name}@{old}"));
    agent
        .until("is reported", |_| {
            agent.reported()["modules"]["pinned"]["settings"]["digest"] == old
        })
        .await;

    agent.deploy(2, with_digest(&format!("sha256:{}", "0b".repeat(32))));
    agent.until("there is no such image", |it| it.description.contains("cannot be had")).await;
    assert_made_of(&instance, "pinned", &format!("{name}@{old}")); // what ran runs
    let pinned = pulled(&format!("{name}@{new}"), json!({}));
    agent.deploy(3, deployment(json!({"pinned": pinned})));
    agent.until("the new one runs", |it| is(it, "pinned", "running") && it.code == 200).await;
    assert_made_of(&instance, "pinned", &format!("{name}@{new}"));
    agent.stop().await;
}

#[actix::test]
async fn only_images_that_the_devices_rules_allow_and_somebody_signed_are_started() {
    make_fresh_image("edge-runtime-test/signed:1", 1000);
    let mut registry = Registry::running("127.44.0.4", true);
    let digest = registry.take("edge-runtime-test/signed:1", "plant/signed:1");
    let (signer, other) = (Signer::new(), Signer::new());
    let rule = |image: &str, require, keys| ImageRule { image: image.into(), require, keys };
    let rules = ImageRules::new(vec![
        rule(&registry.image("plant"), Require::Signature, vec![signer.key.clone()]),
        rule(&registry.image("open"), Require::Nothing, Vec::new()),
    ]);
    let images = || ImagesConfig { rules: rules.clone().unwrap(), ..ImagesConfig::default() };
    let instance = Instance::new("signed");
    let agent = Agent::start_with(&instance, images());
    let (image, elsewhere) = (registry.image("plant/signed:1"), registry.image("other/x:1"));
    let modules = |version: u64| {
        let modules = json!({
            "signed": pulled(&image, json!({"env": {"V": {"value": version.to_string()}}})),
            "elsewhere": pulled(&elsewhere, json!({})),
        });
        with_log_in(deployment(modules), &registry, PASSWORD)
    };
    agent.deploy(1, modules(1));
    let unsigned = format!("image {image} is refused: there is no signature of {digest}");
    agent.until("it is not signed", |it| why(it, "signed").contains(&unsigned)).await;
    let status = agent.status().await;
    assert!(status.code == 500 && status.description.contains(&unsigned), "{status:?}");
    let no_rule = format!("no rule of images.rules allows images of {}", registry.address);
    assert!(why(&status, "elsewhere").contains(&no_rule), "{status:?}");
    assert!(!registry.log().contains("other/x"), "it is not asked for");
    assert!(instance.containers().is_empty());

    other.sign(&registry, "plant/signed", &digest).await;
    agent.deploy(2, modules(2));
    let by_other = "its signature is by none of";
    agent.until("another has signed it", |it| why(it, "signed").contains(by_other)).await;
    signer.sign(&registry, "plant/signed", &digest).await;
    agent.deploy(3, modules(3));
    agent.until("it runs", |it| is(it, "signed", "running")).await;
    let to_the_bit = format!("{}@{digest}", registry.image("plant/signed"));
    assert_made_of(&instance, "signed", &to_the_bit);

    // Nobody answers any more; the signature is known, to another life of the agent too.
    let (offline, last) = (modules(4), modules(5));
    registry.stop();
    agent.stop().await;
    instance.command(&["rm", "-f", &instance.containers()[0]]);
    let agent = Agent::start_with(&instance, images());
    agent.deploy(4, offline);
    agent.until("it runs again", |it| is(it, "signed", "running")).await;

    // Its tag is moved to what nobody signed: what runs runs on.
    make_fresh_image("edge-runtime-test/signed:2", 1000);
    registry.start();
    let moved = registry.take("edge-runtime-test/signed:2", "plant/signed:1");
    agent.deploy(5, last);
    let unsigned = format!("there is no signature of {moved}");
    agent.until("it is refused", |it| it.description.contains(&unsigned)).await;
    assert_made_of(&instance, "signed", &to_the_bit);
    agent.stop().await;
}

#[actix::test]
async fn what_runs_when_the_rules_change_runs_on_is_named_and_is_not_started_again() {
    make_fresh_image("edge-runtime-test/ruled:1", 1000);
    let registry = Registry::running("127.44.0.8", false);
    registry.take("edge-runtime-test/ruled:1", "plant/ruled:1");
    let images = |require: Option<Require>| {
        let keys = |it| if it == Require::Signature { vec![Signer::new().key] } else { Vec::new() };
        let place =
            if require.is_some() { registry.image("plant") } else { "elsewhere.test".into() };
        let require = require.unwrap_or(Require::Nothing);
        let rules = ImageRules::new(vec![ImageRule { image: place, require, keys: keys(require) }]);
        ImagesConfig { rules: rules.unwrap(), ..ImagesConfig::default() }
    };
    let mut instance = Instance::new("ruled");
    instance.restart_backoff = Duration::from_millis(500);
    let image = registry.image("plant/ruled:1");
    let modules = || deployment(json!({"ruled": pulled(&image, json!({}))}));
    let agent = Agent::start(&instance);
    agent.deploy(1, modules());
    agent.until("it runs", |it| is(it, "ruled", "running") && it.code == 200).await;
    let ids = instance.containers();
    agent.stop().await;
    for (require, said) in [
        (None, format!("no rule of images.rules allows images of {}", registry.address)),
        (Some(Require::Digest), "wants a digest".into()),
        (Some(Require::Signature), "there is no signature of".into()),
    ] {
        let agent = Agent::start_with(&instance, images(require));
        agent.deploy(1, modules());
        let is_named = |it: &AgentStatus| {
            let why = why(it, "ruled");
            why.contains("would not be started any more") && why.contains(&said)
        };
        agent.until(&format!("{said}, is named"), is_named).await;
        assert!(is(&agent.status().await, "ruled", "running"));
        assert_eq!(instance.containers(), ids);
        agent.stop().await;
    }
    let agent = Agent::start_with(&instance, images(None));
    agent.deploy(1, modules());
    agent.until("it is adopted", |it| is(it, "ruled", "running")).await;
    instance.command(&["kill", &ids[0]]);
    let is_refused = |it: &AgentStatus| {
        let why = why(it, "ruled");
        is(it, "ruled", "backoff") && why.contains("is refused") && why.contains("no rule")
    };
    agent.until("it is not started again", is_refused).await;
    assert_eq!(instance.command(&["inspect", "-f", "{{.State.Running}}", &ids[0]]), "false");
    agent.stop().await;
    let agent = Agent::start_with(&instance, images(Some(Require::Nothing)));
    agent.deploy(1, modules());
    agent.until("it is allowed again", |it| is(it, "ruled", "running")).await;
    assert_eq!(why(&agent.status().await, "ruled"), "");
    assert_eq!(instance.containers(), ids);
    agent.stop().await;
}

#[actix::test]
async fn images_that_nothing_needs_go_and_those_of_others_stay() {
    let registry = Registry::running("127.44.0.5", false);
    for version in ["1", "2", "3"] {
        let from = format!("edge-runtime-test/garbage:{version}");
        make_fresh_image(&from, 1000);
        registry.take(&from, &format!("garbage:{version}"));
    }
    make_image("edge-runtime-test/loaded:1");
    let image = |version: &str| registry.image(&format!("garbage:{version}"));
    run("docker", &["pull", "-q", &image("3")]); // somebody else's
    let instance = Instance::new("garbage");
    let collection = Collection { every: Duration::from_millis(300), age: Duration::ZERO };
    let images = ImagesConfig { collection: Some(collection), ..ImagesConfig::default() };
    let agent = Agent::start_with(&instance, images);
    let modules = |version: &str, loaded: bool| {
        let mut modules = json!({"garbage": pulled(&image(version), json!({}))});
        if loaded {
            modules["loaded"] = module("edge-runtime-test/loaded:1", &["run"], json!({}));
            let stopped = json!({"status": "stopped"});
            modules["theirs"] = pulled(&image("3"), stopped);
        }
        deployment(modules)
    };
    agent.deploy(1, modules("1", true));
    let settled =
        |it: &AgentStatus| it.code == 200 && it.modules.iter().all(|it| it.differences.is_empty());
    agent.until("all are there", settled).await;
    tokio::time::sleep(Duration::from_millis(1500)).await; // some turns
    assert!(has_image(&image("1")), "it is needed");
    // The deployment cannot be used: the last good one still needs its image, without a container.
    instance.command(&["rm", "-f", &instance.containers()[0]]);
    agent.deploy(2, json!({"schemaVersion": "9.0"}));
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(has_image(&image("1")), "the last good deployment needs it");
    agent.deploy(3, modules("2", false));
    agent.until("the next one runs", settled).await;
    agent.until("the first one is gone", |_| !has_image(&image("1"))).await;
    assert!(has_image(&image("2")), "it is needed");
    assert!(has_image(&image("3")), "it was here before");
    assert!(has_image("edge-runtime-test/loaded:1"), "it was loaded");
    agent.stop().await;
}

#[actix::test]
async fn nothing_is_downloaded_where_there_is_no_room() {
    make_fresh_image("edge-runtime-test/large:1", 1000);
    let registry = Registry::running("127.44.0.6", false);
    registry.take("edge-runtime-test/large:1", "large:1");
    let before = registry.log().len();
    let instance = Instance::new("large");
    let images = ImagesConfig { reserve: 1 << 60, ..ImagesConfig::default() };
    let agent = Agent::start_with(&instance, images);
    agent.deploy(1, deployment(json!({"large": pulled(&registry.image("large:1"), json!({}))})));
    let place = run("docker", &["info", "-f", "{{.DockerRootDir}}"]);
    let no_room = |it: &AgentStatus| {
        let why = why(it, "large");
        let words = ["no room", "images.disk_reserve_bytes", "1152921504606.8 MB", &place];
        words.iter().all(|word| why.contains(word))
    };
    agent.until("it is said where and how much", no_room).await;
    assert!(!registry.log()[before..].contains("/v2/large"), "it was not asked for");
    agent.stop().await;
}
