//! By what clients prove who they are, beside a key of their own.

use super::*;

#[actix::test]
async fn a_device_of_an_authority_comes_in_with_the_parent_away_and_after_a_restart() {
    let mut scene = scene(true).await;
    scene.parent.borrow_mut().put_with("leaf", |record| {
        record.keys.clear();
        record.ca = true;
    });
    let shown = |name: &str| Some(certificate(name, "00", Ok(())));
    assert!(scene.log_in_with("leaf", None, shown("leaf")).await.is_ok(), "found by asking");
    scene.parent.borrow_mut().is_up = false;
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_secs(6)).await; // what was answered is old
        assert!(scene.log_in_with("leaf", None, shown("leaf")).await.is_ok());
        assert!(is_not_ready(&scene.log_in_with("leaf", None, shown("other")).await));
        let untrusted = Some(certificate("leaf", "00", Err("nobody".into())));
        assert!(is_not_ready(&scene.log_in_with("leaf", None, untrusted).await));
        scene.restart().await;
    }
    scene.parent.borrow_mut().is_up = true;
    for bad in [shown("other"), shown("LEAF"), None] {
        assert!(is_denied(&scene.log_in_with("leaf", None, bad).await));
    }
    assert!(is_denied(&scene.log_in_with("other", None, shown("other")).await), "it has keys");
}

#[actix::test]
async fn a_module_comes_in_by_its_device_and_goes_when_the_keys_of_that_are_changed() {
    let scene = scene(true).await;
    scene.parent.borrow_mut().put("gw/m", OTHER_KEY, IdentityStatus::Enabled);
    scene.identities.send(ScopeChanged { version: 6 }).await.unwrap();
    settle().await;
    scene.closed.borrow_mut().clear();
    let by = |key| Some(token("gw", "hub.local", key));
    let granted = scene.log_in_with("gw/m", by(KEY), None).await.unwrap();
    assert!(granted.by_device);
    assert!(is_denied(&scene.log_in_with("gw", Some(token("gw/m", "gw.local", KEY)), None).await));
    tokio::time::sleep(Duration::from_secs(6)).await; // what was answered is old
    // Nobody has told of it: both are asked for.
    scene.parent.borrow_mut().put("gw", OTHER_KEY, IdentityStatus::Enabled);
    assert!(scene.log_in_with("gw/m", by(OTHER_KEY), None).await.is_ok());
    let noticed = ["gw Close", "gw/$edgeHub DeviceKeysChanged", "gw/m DeviceKeysChanged"];
    let mut closed = scene.closed.borrow().clone();
    closed.sort();
    assert_eq!(closed, noticed);
    assert!(is_denied(&scene.log_in_with("gw/m", by(KEY), None).await));
    scene.parent.borrow_mut().put("gw", OTHER_KEY, IdentityStatus::Disabled);
    scene.identities.send(ScopeChanged { version: 9 }).await.unwrap();
    settle().await;
    let own = scene.log_in("gw/m", OTHER_KEY).await;
    assert!(is_denied(&own), "its device is disabled: {own:?}");
    tokio::time::sleep(Duration::from_secs(6)).await;
    scene.parent.borrow_mut().put("gw", OTHER_KEY, IdentityStatus::Enabled);
    assert!(scene.log_in("gw/m", OTHER_KEY).await.is_ok(), "it is enabled again: found by asking");
}

#[actix::test]
async fn a_token_that_never_ends_is_no_trouble() {
    let scene = scene(true).await;
    let token = sas::make("hub.local/devices/leaf", KEY, u64::MAX, None).unwrap();
    let granted = scene.log_in_with("leaf", Some(token), None).await.unwrap();
    assert_eq!(granted.until, u64::MAX);
}

#[test]
fn what_the_parent_says_in_words_that_we_do_not_know_opens_nothing() {
    let read = |json| serde_json::from_value::<IdentityRecord>(json).unwrap();
    let all = json!({"id": "d", "ca": true, "status": "enabled", "generation": "1"});
    assert!(read(all.clone()).ca && read(all).status == IdentityStatus::Enabled);
    let unsaid = read(json!({"id": "d", "keys": [KEY]}));
    let unknown = read(json!({"id": "d", "keys": [KEY], "status": "paused"}));
    for record in [unsaid, unknown] {
        assert_eq!(record.status, IdentityStatus::Disabled);
    }
    let unknown = read(json!({"id": "d", "tpm": "x", "status": "enabled"}));
    assert!(unknown.keys.is_empty() && unknown.thumbprints.is_empty() && !unknown.ca);
}

#[actix::test]
async fn nobody_comes_in_as_a_part_of_this_edge() {
    let scene = scene(true).await;
    scene.parent.borrow_mut().put("other/$edgeHub", KEY, IdentityStatus::Enabled);
    for id in ["gw/$edgeHub", "gw/$edgeAgent"] {
        assert!(is_denied(&scene.log_in(id, KEY).await), "{id}");
        let by_device = Some(token("gw", "hub.local", KEY));
        assert!(is_denied(&scene.log_in_with(id, by_device, None).await), "{id}");
    }
    assert!(scene.log_in("other/$edgeHub", KEY).await.is_ok(), "of another one it may be");
    assert!(scene.log_in("gw", KEY).await.is_ok());
}
