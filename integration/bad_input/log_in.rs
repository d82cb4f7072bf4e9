//! Clients that may not come in: the return code says whether it is for good, the logs of both
//! sides say why.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::mqtt::LogIn;
use crate::support::wait_for;
use crate::support::world::World;
use crate::witness::{SOON, Witness, taken};

const FOR_GOOD: &str = "CONNACK NotAuthorized";
const LATER: &str = "CONNACK ServiceUnavailable";
const OTHER_KEY: &str = "bm90LXRoZS1rZXktb2YtYW55LWNsaWVudC1oZXJlLTA=";
/// A hub that was killed is back, and the link with it.
const BACK: Duration = Duration::from_secs(60);

fn answer(log_in: &LogIn) -> Result<(), String> {
    log_in.connect().map(drop)
}

fn with_key(log_in: &LogIn, key: &str) -> LogIn {
    LogIn { key: key.into(), ..log_in.clone() }
}

/// Lines about an identity; nothing of a key is in any.
#[track_caller]
fn lines(log: &str, who: &LogIn) -> Vec<String> {
    assert!(!log.contains(&who.key), "a key is in the log");
    log.lines().filter(|line| line.contains(&who.id)).map(str::to_owned).collect()
}

#[track_caller]
fn says(log: &str, who: &LogIn, why: &str) {
    let lines = lines(log, who);
    assert!(lines.iter().any(|line| line.contains(why)), "`{why}` is not in {lines:#?}");
}

fn world() -> World {
    World::start(&json!({ "all": "FROM /messages/* INTO $upstream" }))
}

#[test]
fn who_is_not_in_the_scope_is_refused_and_both_logs_say_why() {
    let world = world();
    let mut witness = Witness::start(&world.leaf("leaf"));
    let before = taken(&world);
    let key = world.hub.service.make_leaf("outside", "");
    let outside = LogIn { id: "outside".into(), key, ..world.leaf("inside") };
    let (other_edge, scope) = world.hub.service.make_edge("edge-2");
    let key = world.hub.service.make_leaf("elsewhere", &scope);
    let elsewhere = LogIn { id: "elsewhere".into(), key, ..outside.clone() };
    let beside = LogIn { id: "edge-2".into(), key: other_edge, ..outside.clone() };
    let nobody = LogIn { id: "nobody".into(), ..outside.clone() };
    let no_module = LogIn { id: "edge/no-module".into(), ..outside.clone() };
    for who in [outside, elsewhere, beside, nobody, no_module] {
        assert_eq!(answer(&who), Err(FOR_GOOD.into()), "{}", who.id);
        says(&world.edge.log_since_start(), &who, "not in the scope of this edge");
        says(&world.hub.program.log_since_start(), &who, "not in the scope");
    }
    // A device is let in once the hub says that it belongs here; it is asked again.
    witness.is_served();
    assert_eq!(taken(&world), before + 1, "nothing of theirs is taken");
}

#[test]
fn a_wrong_key_or_token_is_refused_for_good_after_a_fresh_look() {
    let world = world();
    let leaf = world.leaf("leaf");
    let mut witness = Witness::start(&world.leaf("leaf-2"));
    assert_eq!(answer(&leaf), Ok(()));
    let wrong = with_key(&leaf, OTHER_KEY);
    assert_eq!(answer(&wrong), Err(FOR_GOOD.into()));
    says(&world.edge.log_since_start(), &wrong, "signed with another key");
    let audit = std::fs::read_to_string(world.folder.path().join("edge/audit.log")).unwrap();
    says(&audit, &wrong, "signed with another key");
    // Its token is for another hub, and for another identity.
    let elsewhere = LogIn { hub: "other.hub".into(), ..leaf.clone() };
    assert_eq!(answer(&elsewhere), Err(FOR_GOOD.into()));
    says(&world.edge.log_since_start(), &elsewhere, "other.hub");
    // At the hub itself.
    let key = world.hub.service.make_leaf("direct", "");
    let direct = world.hub.log_in("direct", &key);
    assert_eq!(answer(&direct), Ok(()));
    let wrong = with_key(&direct, OTHER_KEY);
    assert_eq!(answer(&wrong), Err(FOR_GOOD.into()));
    says(&world.hub.program.log_since_start(), &wrong, "signed with another key");
    let nobody = LogIn { id: "nobody".into(), ..direct };
    assert_eq!(answer(&nobody), Err(FOR_GOOD.into()));
    says(&world.hub.program.log_since_start(), &nobody, "not registered");
    // The key was changed at the hub: the edge finds out by asking.
    let update = |change: Value| {
        let mut device =
            json!({ "id": "leaf", "deviceScope": world.scope, "importMode": "update" });
        device.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        world.hub.service.call("POST", "/devices", Some(&json!([device])));
    };
    let keys = json!({ "primaryKey": OTHER_KEY, "secondaryKey": OTHER_KEY });
    let keys = json!({ "authentication": { "type": "sas", "symmetricKey": keys } });
    update(keys.clone());
    let changed = with_key(&leaf, OTHER_KEY);
    wait_for("the new key to be taken", BACK, || answer(&changed).ok());
    assert_eq!(answer(&leaf), Err(FOR_GOOD.into()), "the old one");
    // It is disabled: its connection ends, and it is not let in again.
    let mut mqtt = changed.connect().unwrap();
    let mut disabled = keys;
    disabled["status"] = "disabled".into();
    update(disabled);
    assert!(mqtt.is_closed_within(SOON), "the connection of a disabled device");
    assert_eq!(answer(&changed), Err(FOR_GOOD.into()));
    says(&world.edge.log_since_start(), &changed, "it is disabled");
    witness.is_served();
}

#[test]
fn while_the_parent_is_away_nobody_is_refused_for_good() {
    let mut world = world();
    let leaf = world.leaf("leaf");
    let (known, wrong) = (leaf.clone(), with_key(&leaf, OTHER_KEY));
    let key = world.hub.service.make_leaf("outside", "");
    let outside = LogIn { id: "outside".into(), key, ..leaf.clone() };
    let nobody = LogIn { id: "nobody".into(), ..leaf.clone() };
    assert_eq!(answer(&known), Ok(()));
    assert_eq!(answer(&outside), Err(FOR_GOOD.into()));
    world.hub.program.kill();
    for restarted in [false, true] {
        if restarted {
            world.edge.kill();
            world.edge.again();
            world.edge.wait_ready();
        }
        wait_for("the edge to find that its parent is away", BACK, || {
            let status = world.management.get("/status")?;
            (status["link"]["state"] != "connected").then_some(())
        });
        // An answer of the parent counts as fresh for 5 s.
        wait_for("the answer to be old", BACK, || {
            (answer(&outside) == Err(LATER.into())).then_some(())
        });
        assert_eq!(answer(&nobody), Err(LATER.into()), "nobody can be asked");
        assert_eq!(answer(&wrong), Err(LATER.into()), "its key may have been changed");
        assert_eq!(answer(&known), Ok(()), "who is known comes in");
        says(&world.edge.log_since_start(), &nobody, "the parent is not connected");
    }
    world.hub.program.again();
    world.hub.program.wait_ready();
    for who in [&nobody, &outside, &wrong] {
        wait_for("the refusal, once the parent can be asked", BACK, || match answer(who) {
            Err(code) if code == LATER => None,
            other => {
                assert_eq!(other, Err(FOR_GOOD.into()), "{}", who.id);
                Some(())
            }
        });
    }
    assert_eq!(answer(&known), Ok(()));
}

#[test]
fn strangers_in_number_hold_up_nobody() {
    let world = world();
    let leaf = world.leaf("leaf");
    let mut witness = Witness::start(&leaf);
    let strangers: Vec<_> = (0..300)
        .map(|n| {
            let stranger = LogIn { id: format!("stranger-{n}"), ..leaf.clone() };
            std::thread::spawn(move || answer(&stranger))
        })
        .collect();
    for _ in 0..20 {
        witness.is_served();
    }
    assert_eq!(answer(&world.leaf("late")), Ok(()), "who belongs here comes in meanwhile");
    for stranger in strangers {
        let refusal = stranger.join().unwrap().unwrap_err();
        assert!(refusal == FOR_GOOD || refusal == LATER, "{refusal}");
    }
    witness.is_served();
}
