//! The registry over a real store, with restarts.

use serde_json::{Value, json};

use super::*;
use crate::domain::registry::{Draft, IfMatch};
use crate::domain::sas;
use crate::localhub::testing::{Disk, Sessions, id, ready};
use crate::messages::identities::{LogIn, Lookup, Refusal, Sign};
use crate::messages::registry::{AskScope, DeleteIdentity, ListIdentities, PutIdentity, ScopeAsk};

fn showing_nothing(who: &str) -> LogIn {
    LogIn { identity: id(who), token: None, certificate: None, link: None, place: None }
}

struct House {
    registry: Addr<Registry>,
    sessions: Sessions,
    disk: Disk,
}

fn start(disk: &Disk) -> (Addr<Registry>, Sessions) {
    let ports = RegistryPorts {
        save: disk.save.clone(),
        scan: disk.scan.clone(),
        ..RegistryPorts::default()
    };
    let sessions = Sessions::plug(&ports.send);
    let registry = Registry::new(ports, "hub.local".to_owned(), Obituary::unsupervised());
    (registry.start(), sessions)
}

impl House {
    async fn new() -> Self {
        let disk = Disk::new();
        let (registry, sessions) = start(&disk);
        ready(&registry, || ListIdentities::Devices).await;
        House { registry, sessions, disk }
    }

    /// The same store, read by a new actor.
    async fn again(&mut self) {
        (self.registry, self.sessions) = start(&self.disk);
        ready(&self.registry, || ListIdentities::Devices).await;
    }

    async fn put(&self, who: &str, body: Value, condition: IfMatch) -> Result<Entry, ServiceError> {
        let draft = Draft::parse(id(who), &body).unwrap();
        self.registry.send(PutIdentity { draft, condition }).await.unwrap()
    }

    async fn scope(&self, edge: &str, what: ScopeAsk) -> (u16, Value) {
        let ask = AskScope { edge: edge.to_owned(), what };
        let answer = self.registry.send(ask).await.unwrap();
        (answer.status, serde_json::from_slice(&answer.body).unwrap_or_default())
    }

    async fn log_in(&self, who: &str, key: &str) -> Result<(), Refusal> {
        let resource = format!("hub.local/{}", id(who).resource());
        let token = sas::make(&resource, key, u64::MAX, None).unwrap();
        let log_in = LogIn { token: Some(token), ..showing_nothing(who) };
        self.registry.send(log_in).await.unwrap().map(|_| ())
    }
}

#[actix::test]
async fn what_was_answered_is_there_after_a_restart() {
    let mut house = House::new().await;
    let edge = json!({"capabilities": {"iotEdge": true}});
    let gw = house.put("gw", edge, IfMatch::None).await.unwrap();
    let scope = json!({"deviceScope": gw.own_scope()});
    let leaf = house.put("leaf", scope.clone(), IfMatch::None).await.unwrap();
    house.put("gone", scope, IfMatch::None).await.unwrap();
    let delete = DeleteIdentity { identity: id("gone"), condition: IfMatch::Any };
    house.registry.send(delete).await.unwrap().unwrap();
    let before = house.scope("gw", ScopeAsk::Since(0)).await;

    house.again().await;
    assert_eq!(house.scope("gw", ScopeAsk::Since(0)).await, before);
    assert_eq!(before.1["removed"], json!(["gone"]));
    let listed = house.registry.send(ListIdentities::One(id("leaf"))).await.unwrap().unwrap();
    assert_eq!(listed.first(), Some(&leaf));
    assert_eq!(house.log_in("leaf", &leaf.keys()[1]).await, Ok(()));
}

#[actix::test]
async fn a_change_ends_the_connection_and_tells_the_edge() {
    let house = House::new().await;
    let edge = json!({"capabilities": {"iotEdge": true}});
    let gw = house.put("gw", edge, IfMatch::None).await.unwrap();
    let scope = json!({"deviceScope": gw.own_scope()});
    let leaf = house.put("leaf", scope, IfMatch::None).await.unwrap();
    house.sessions.take();
    let disabled = house.put("leaf", json!({"status": "disabled"}), IfMatch::Any).await.unwrap();
    let sent = house.sessions.take();
    assert!(sent[0].0 == "leaf" && sent[0].1.starts_with("Close"), "{sent:?}");
    let told = format!("ScopeChanged {{ version: {} }}", disabled.version);
    assert_eq!(sent[1], ("gw/$edgeHub".to_owned(), told));
    let refused = house.log_in("leaf", &leaf.keys()[0]).await;
    assert!(matches!(refused, Err(Refusal::Denied(why)) if why.contains("disabled")));
    let (status, page) = house.scope("gw", ScopeAsk::Since(leaf.version)).await;
    assert_eq!((status, &page["identities"][0]["status"]), (200, &json!("disabled")));
    assert_eq!(page["more"], json!(false));
}

#[actix::test]
async fn an_edge_is_told_of_its_own_scope_only() {
    let house = House::new().await;
    let edge = json!({"capabilities": {"iotEdge": true}});
    house.put("gw", edge.clone(), IfMatch::None).await.unwrap();
    house.put("other", edge, IfMatch::None).await.unwrap();
    let found = house.scope("gw", ScopeAsk::One(id("gw/$edgeAgent"))).await;
    assert_eq!((found.0, &found.1["id"]), (200, &json!("gw/$edgeAgent")));
    assert_eq!(found.1["keys"].as_array().map(Vec::len), Some(2));
    assert_eq!(house.scope("gw", ScopeAsk::One(id("other"))).await.0, 404);
    assert_eq!(house.scope("gw", ScopeAsk::Attach(id("gw"))).await.0, 200);
    assert_eq!(house.scope("gw", ScopeAsk::Attach(id("other/$edgeHub"))).await.0, 404);
    house.put("gw/$edgeAgent", json!({"status": "disabled"}), IfMatch::Any).await.unwrap();
    assert_eq!(house.scope("gw", ScopeAsk::Attach(id("gw/$edgeAgent"))).await.0, 403);
}

#[actix::test]
async fn an_edge_is_told_by_what_an_identity_proves_who_it_is() {
    let house = House::new().await;
    let edge = json!({"capabilities": {"iotEdge": true}});
    let gw = house.put("gw", edge, IfMatch::None).await.unwrap();
    let make = async |id, authentication| {
        let body = json!({"deviceScope": gw.own_scope(), "authentication": authentication});
        house.put(id, body, IfMatch::None).await.unwrap();
        house.scope("gw", ScopeAsk::One(self::id(id))).await.1
    };
    let by_authority = make("a", json!({"type": "certificateAuthority"})).await;
    assert_eq!(by_authority["ca"], json!(true));
    let print = json!({"primaryThumbprint": "AB".repeat(20), "secondaryThumbprint": ""});
    let by_print = make("b", json!({"type": "selfSigned", "x509Thumbprint": print})).await;
    assert_eq!(by_print["thumbprints"], json!(["ab".repeat(20)]));
    let by_nothing = make("c", json!({"type": "none"})).await;
    for (record, absent) in [
        (&by_authority, &["keys", "thumbprints"][..]),
        (&by_print, &["keys", "ca"]),
        (&by_nothing, &["keys", "thumbprints", "ca"]),
    ] {
        assert!(absent.iter().all(|name| record[name].is_null()), "{record}");
    }
    let (_, page) = house.scope("gw", ScopeAsk::Since(0)).await;
    assert!(page["identities"].as_array().unwrap().contains(&by_authority), "{page}");
}

#[actix::test]
async fn new_keys_of_a_device_are_told_to_its_modules() {
    let house = House::new().await;
    house.put("d", json!({}), IfMatch::None).await.unwrap();
    house.put("d/m", json!({}), IfMatch::None).await.unwrap();
    house.sessions.take();
    let key = "MDEyMzQ1Njc4OWFiY2RlZg==";
    let keys = json!({"symmetricKey": {"primaryKey": key, "secondaryKey": key}});
    house.put("d", json!({"authentication": keys}), IfMatch::Any).await.unwrap();
    let sent = house.sessions.take();
    assert!(sent[0].0 == "d" && sent[0].1.starts_with("Close"), "{sent:?}");
    assert_eq!(sent[1], ("d/m".to_owned(), "DeviceKeysChanged".to_owned()));
}

#[actix::test]
async fn pages_have_a_hundred_changes_and_lead_to_the_end() {
    let house = House::new().await;
    let edge = json!({"capabilities": {"iotEdge": true}});
    house.put("gw", edge, IfMatch::None).await.unwrap();
    for n in 0..120 {
        house.put(&format!("gw/m{n}"), json!({}), IfMatch::None).await.unwrap();
    }
    let (_, first) = house.scope("gw", ScopeAsk::Since(0)).await;
    assert_eq!(
        (first["identities"].as_array().unwrap().len(), &first["more"]),
        (100, &json!(true))
    );
    let since = first["version"].as_u64().unwrap();
    let (_, last) = house.scope("gw", ScopeAsk::Since(since)).await;
    assert_eq!((last["identities"].as_array().unwrap().len(), &last["more"]), (23, &json!(false)));
}

#[actix::test]
async fn it_signs_with_the_primary_key_and_is_not_ready_before_it_was_read() {
    let house = House::new().await;
    let entry = house.put("d", json!({}), IfMatch::None).await.unwrap();
    let sign = |who| Sign { identity: id(who), data: b"text".to_vec() };
    let signed = house.registry.send(sign("d")).await.unwrap();
    assert_eq!(signed, Ok(sas::sign(&entry.keys()[0], b"text").unwrap()));
    assert!(house.registry.send(sign("nobody")).await.unwrap().is_err());
    let lookup = Lookup { identity: id("d"), ask_parent: false };
    assert_eq!(house.registry.send(lookup).await.unwrap().unwrap().unwrap().id, id("d"));
    let (unread, _) = start(&house.disk);
    let refused = unread.send(showing_nothing("d")).await.unwrap();
    assert!(matches!(refused, Err(Refusal::NotReady(_))), "{refused:?}");
}
