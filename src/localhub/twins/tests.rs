//! Twins over a real store, with restarts.

mod model;

use serde_json::{Value, json};

use super::*;
use crate::domain::registry::IfMatch;
use crate::domain::service_error::ServiceError;
use crate::localhub::testing::{Disk, Sessions, id, ready};
use crate::messages::service_twins::{ChangeTwin, ReadTwins, TwinChange};
use crate::messages::twins::{GetTwin, PatchReported, TwinAnswer};

struct House {
    twins: Addr<Twins>,
    sessions: Sessions,
    disk: Disk,
}

fn start(disk: &Disk) -> (Addr<Twins>, Sessions) {
    let (save, scan) = (disk.save.clone(), disk.scan.clone());
    let ports = TwinsPorts { save, scan, send: Port::default() };
    let sessions = Sessions::plug(&ports.send);
    (Twins::new(ports, Obituary::unsupervised()).start(), sessions)
}

impl House {
    async fn new() -> Self {
        let disk = Disk::new();
        let (twins, sessions) = start(&disk);
        ready(&twins, || ReadTwins(Vec::new())).await;
        House { twins, sessions, disk }
    }

    async fn again(&mut self) {
        (self.twins, self.sessions) = start(&self.disk);
        ready(&self.twins, || ReadTwins(Vec::new())).await;
    }

    async fn desire(&self, desired: Value, condition: IfMatch) -> Result<Value, ServiceError> {
        let change = TwinChange::Merge(json!({"properties": {"desired": desired}}));
        let change = ChangeTwin { identity: id("d"), condition, change };
        self.twins.send(change).await.unwrap()
    }

    async fn report(&self, patch: &str) -> TwinAnswer {
        let patch = patch.to_owned().into();
        self.twins.send(PatchReported { identity: id("d"), patch }).await.unwrap()
    }

    async fn get(&self) -> Value {
        let answer = self.twins.send(GetTwin(id("d"))).await.unwrap();
        assert_eq!(answer.status, 200);
        serde_json::from_slice(&answer.body).unwrap()
    }
}

#[actix::test]
async fn an_unwritten_twin_is_empty_and_what_was_answered_outlives_a_restart() {
    let mut house = House::new().await;
    let empty = json!({"desired": {"$version": 1}, "reported": {"$version": 1}});
    assert_eq!(house.get().await, empty);
    house.desire(json!({"a": {"b": 1}}), IfMatch::None).await.unwrap();
    let answer = house.report(r#"{"x": 1}"#).await;
    assert_eq!((answer.status, answer.version, answer.body.len()), (204, Some(2), 0));
    house.again().await;
    let wanted =
        json!({"desired": {"a": {"b": 1}, "$version": 2}, "reported": {"x": 1, "$version": 2}});
    assert_eq!(house.get().await, wanted);
}

#[actix::test]
async fn what_was_in_line_when_an_identity_was_deleted_does_not_come_back_after_a_restart() {
    let mut house = House::new().await;
    house.desire(json!({"n": 1}), IfMatch::None).await.unwrap();
    let gone = vec![Change::delete(TWINS, "d")]; // as the registry does
    let deleted = house.disk.save.ask(Save(gone), std::time::Duration::from_secs(5));
    let late = PatchReported { identity: id("d"), patch: "{}".into() };
    let late = house.twins.send(late);
    house.twins.do_send(Forget(vec![id("d")]));
    let _ = futures_util::future::join(deleted, late).await;
    house.again().await;
    let empty = json!({"desired": {"$version": 1}, "reported": {"$version": 1}});
    assert_eq!(house.get().await, empty);
}

#[actix::test]
async fn patches_go_out_in_order_with_their_versions() {
    let house = House::new().await;
    let both = futures_util::future::join(
        house.desire(json!({"n": 1}), IfMatch::None),
        house.desire(json!({"n": null}), IfMatch::None),
    );
    let (first, second) = both.await;
    first.and(second).unwrap();
    let sent = house.sessions.take();
    let patch = |version: u64, patch: &str| {
        let bytes = bytes::Bytes::from(patch.to_owned());
        let what = crate::messages::client::Down::Desired { version, patch: bytes };
        ("d".to_owned(), format!("{what:?}"))
    };
    assert_eq!(sent, [patch(2, r#"{"n":1,"$version":2}"#), patch(3, r#"{"n":null,"$version":3}"#)]);
}

#[actix::test]
async fn a_stale_etag_and_bad_properties_change_nothing() {
    let house = House::new().await;
    let twin = house.desire(json!({"n": 1}), IfMatch::None).await.unwrap();
    let etag = IfMatch::Etag(twin["etag"].as_str().unwrap().to_owned());
    house.desire(json!({"n": 2}), etag.clone()).await.unwrap();
    assert_eq!(house.desire(json!({"n": 3}), etag).await.unwrap_err().status, 412);
    let answer = house.report(r#"{"a b": 1}"#).await;
    assert_eq!((answer.status, answer.version), (400, None));
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    assert!(body["errorCode"].is_number() && body["message"].is_string());
    assert_eq!(house.get().await["desired"]["n"], json!(2));
    house.twins.send(Forget(vec![id("d")])).await.unwrap();
    assert_eq!(house.get().await["desired"], json!({"$version": 1}));
}
