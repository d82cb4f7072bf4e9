//! The scope cache between a parent and a state in memory, and clients that log in.

mod link;
mod proofs;
mod table;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::actors::clock;
use crate::actors::stand_in::{Log, Shelf, noted, port, settle};
use crate::domain::certificate::{ClientCertificate, Period};
use crate::domain::sas;
use crate::messages::identities::{
    Granted, IdentityRecord, IdentityStatus, LogIn, Lookup, Refusal, Sign, SignError,
};
use crate::messages::upstream::{Ask, LinkAnswer, NotConnected};

const KEY: &str = "c2VjcmV0LW9uZQ==";
const OTHER_KEY: &str = "c2VjcmV0LXR3bw==";

/// The parent's side: its scope, whether it can be reached, and what it was asked.
#[derive(Default)]
struct Parent {
    version: u64,
    records: BTreeMap<Identity, (u64, IdentityRecord)>,
    removed: Vec<(u64, Identity)>,
    is_up: bool,
    asked: Vec<Ask>,
}

impl Parent {
    fn put(&mut self, id: &str, key: &str, status: IdentityStatus) {
        self.put_with(id, |record| {
            record.keys = vec![key.into()];
            record.status = status;
        });
    }

    fn put_with(&mut self, id: &str, change: impl FnOnce(&mut IdentityRecord)) {
        self.version += 1;
        let id = id_of(id);
        let mut record = IdentityRecord {
            id: id.clone(),
            keys: vec![KEY.into()],
            thumbprints: Vec::new(),
            ca: false,
            status: IdentityStatus::Enabled,
            generation: "1".into(),
        };
        change(&mut record);
        self.records.insert(id, (self.version, record));
    }

    fn remove(&mut self, id: &str) {
        self.version += 1;
        self.records.remove(&id_of(id));
        self.removed.push((self.version, id_of(id)));
    }

    /// Pages of two.
    fn answer(&mut self, request: &Request) -> Result<LinkAnswer, NotConnected> {
        if !self.is_up {
            return Err(NotConnected);
        }
        self.asked.push(request.what.clone());
        let body = match request.what {
            Ask::Lookup => match self.records.get(&request.identity) {
                Some((_, record)) => serde_json::to_value(record).unwrap(),
                None => return Ok(LinkAnswer { status: 404, body: "{}".into(), version: None }),
            },
            Ask::Scope(since) => {
                let mut records: Vec<_> =
                    self.records.values().filter(|(version, _)| *version > since).collect();
                records.sort_by_key(|(version, _)| *version);
                let more = records.len() > 2;
                records.truncate(2);
                let last = records.last().map_or(since, |(version, _)| *version);
                let version = if more { last } else { self.version };
                let removed = self.removed.iter().filter(|(version, _)| *version > since);
                json!({
                    "version": version,
                    "identities": records.iter().map(|(_, record)| record).collect::<Vec<_>>(),
                    "removed": removed.map(|(_, id)| id).collect::<Vec<_>>(),
                    "more": more,
                })
            }
            _ => panic!("not asked by identities"),
        };
        Ok(LinkAnswer { status: 200, body: body.to_string().into(), version: None })
    }
}

fn id_of(id: &str) -> Identity {
    Identity::parse(id).unwrap()
}

struct Scene {
    parent: Rc<RefCell<Parent>>,
    shelf: Shelf,
    vault: Rc<Vault>,
    identities: Addr<Identities>,
    closed: Log<String>,
    /// What twins were told.
    twins: Log<String>,
    forget: Port<Forget>,
}

fn start(
    parent: &Rc<RefCell<Parent>>,
    shelf: &Shelf,
    vault: &Rc<Vault>,
) -> (Addr<Identities>, Log<String>, Log<String>, Port<Forget>) {
    let asked = Rc::clone(parent);
    let (send, closed) = noted(|send: sessions::Send| {
        let what = match send.what {
            Down::DeviceKeysChanged => "DeviceKeysChanged",
            Down::Gone(_) => "Gone",
            _ => "Close",
        };
        format!("{} {what}", send.to)
    });
    let twins = Log::<String>::default();
    let (of_gone, of_link) = (Rc::clone(&twins), Rc::clone(&twins));
    let forget = port(move |Forget(gone): Forget| {
        of_gone.borrow_mut().extend(gone.iter().map(|id| format!("forget {id}")));
    });
    let link = port(move |LinkChanged { is_up }: LinkChanged| {
        of_link.borrow_mut().push(format!("link {is_up}"));
    });
    let ports = IdentitiesPorts {
        forget: forget.clone(),
        link,
        save: shelf.save(),
        scan: shelf.scan(),
        request: port(move |request: Request| asked.borrow_mut().answer(&request)),
        send,
    };
    let config = IdentitiesConfig {
        device_id: "gw".into(),
        hub_host: "hub.local".into(),
        gateway_hostname: "gw.local".into(),
    };
    let obituary = Obituary::unsupervised();
    let identities = Identities::new(config, Rc::clone(vault), ports, obituary).start();
    (identities, closed, twins, forget)
}

/// A parent with five identities, which is up or not.
async fn scene(is_up: bool) -> Scene {
    tokio::time::pause();
    fresh(is_up).await
}

/// The same, in time that is paused already.
async fn fresh(is_up: bool) -> Scene {
    let dir = tempfile::tempdir().unwrap();
    let vault = Rc::new(Vault::open(&dir.path().join("key")).unwrap());
    let parent: Rc<RefCell<Parent>> = Rc::default();
    for id in ["gw", "gw/$edgeHub", "gw/m", "leaf", "other"] {
        parent.borrow_mut().put(id, KEY, IdentityStatus::Enabled);
    }
    parent.borrow_mut().is_up = is_up;
    let shelf = Shelf::default();
    let (identities, closed, twins, forget) = start(&parent, &shelf, &vault);
    settle().await;
    Scene { parent, shelf, vault, identities, closed, twins, forget }
}

fn token(id: &str, host: &str, key: &str) -> String {
    let resource = format!("{host}/{}", id_of(id).resource());
    let expiry = clock::unix_time().as_secs() + 60;
    sas::make(&resource, key, expiry, None).unwrap()
}

/// Good for a minute.
fn certificate(name: &str, print: &str, chain: Result<(), String>) -> ClientCertificate {
    let now = clock::unix_time().as_secs();
    let valid = Period { from: now - 60, until: now + 60 };
    ClientCertificate {
        thumbprints: vec![print.into()],
        common_names: vec![name.into()],
        valid,
        chain: chain.map(|()| valid),
    }
}

impl Scene {
    async fn log_in(&self, id: &str, key: &str) -> Result<Granted, Refusal> {
        self.log_in_with(id, Some(token(id, "hub.local", key)), None).await
    }

    async fn log_in_with(
        &self,
        id: &str,
        token: Option<String>,
        certificate: Option<ClientCertificate>,
    ) -> Result<Granted, Refusal> {
        let (link, place) = (None, None);
        let log_in = LogIn { identity: id_of(id), token, certificate, link, place };
        self.identities.send(log_in).await.unwrap()
    }

    /// The process starts anew.
    async fn restart(&mut self) {
        (self.identities, self.closed, self.twins, self.forget) =
            start(&self.parent, &self.shelf, &self.vault);
        settle().await;
    }
}

fn is_denied(answer: &Result<Granted, Refusal>) -> bool {
    matches!(answer, Err(Refusal::Denied(_)))
}

fn is_not_ready(answer: &Result<Granted, Refusal>) -> bool {
    matches!(answer, Err(Refusal::NotReady(_)))
}

#[actix::test]
async fn a_known_client_comes_in_with_the_parent_away_and_after_a_restart() {
    let mut scene = scene(true).await;
    assert!(scene.log_in("leaf", KEY).await.is_ok());
    scene.parent.borrow_mut().is_up = false;
    assert!(scene.log_in("leaf", KEY).await.is_ok());
    scene.restart().await;
    assert!(scene.log_in("leaf", KEY).await.is_ok());
    assert!(!scene.shelf.shows("leaf") && !scene.shelf.shows(KEY), "it lies open on the disk");
}

#[actix::test]
async fn nobody_is_refused_for_good_before_the_scope_was_ever_read() {
    let scene = scene(false).await;
    assert!(is_not_ready(&scene.log_in("leaf", KEY).await));
    scene.parent.borrow_mut().is_up = true;
    scene.identities.send(LinkChanged { is_up: true }).await.unwrap();
    settle().await;
    assert!(scene.log_in("leaf", KEY).await.is_ok());
}

#[actix::test]
async fn only_a_fresh_answer_refuses_for_good() {
    let scene = scene(true).await;
    assert!(is_denied(&scene.log_in("leaf", OTHER_KEY).await));
    assert!(is_denied(&scene.log_in("stranger", KEY).await));
    assert!(is_denied(&scene.log_in_with("leaf", None, None).await));

    scene.parent.borrow_mut().is_up = false;
    scene.identities.send(LinkChanged { is_up: false }).await.unwrap();
    assert!(is_not_ready(&scene.log_in("leaf", OTHER_KEY).await), "it may be new by now");
    assert!(is_not_ready(&scene.log_in("stranger", KEY).await));
    scene.parent.borrow_mut().is_up = true;
    assert!(is_denied(&scene.log_in("stranger", KEY).await));
    scene.parent.borrow_mut().is_up = false; // and nobody has noticed
    tokio::time::sleep(Duration::from_secs(6)).await; // what was answered is old
    assert!(is_not_ready(&scene.log_in("stranger", KEY).await));
}

#[actix::test]
async fn a_key_that_was_changed_at_the_parent_is_found_by_asking_it() {
    let scene = scene(true).await;
    scene.parent.borrow_mut().put("leaf", OTHER_KEY, IdentityStatus::Enabled);
    assert!(scene.log_in("leaf", OTHER_KEY).await.is_ok(), "no notice has come yet");
    scene.parent.borrow_mut().put("new", KEY, IdentityStatus::Enabled);
    assert!(scene.log_in("new", KEY).await.is_ok(), "a miss is looked up");
}

#[actix::test]
async fn the_parent_is_not_asked_over_and_over_for_one_identity() {
    let scene = scene(true).await;
    scene.parent.borrow_mut().asked.clear();
    for _ in 0..10 {
        assert!(is_denied(&scene.log_in("stranger", KEY).await));
    }
    assert_eq!(scene.parent.borrow().asked, [Ask::Lookup]);
}

#[actix::test]
async fn who_has_made_an_identity_at_the_parent_finds_it_at_once() {
    let scene = scene(true).await;
    let look = async || {
        let look = Lookup { identity: id_of("gw/new"), ask_parent: true };
        scene.identities.send(look).await.unwrap().unwrap()
    };
    assert_eq!(look().await, None);
    scene.parent.borrow_mut().put("gw/new", KEY, IdentityStatus::Enabled);
    assert_eq!(look().await.map(|record| record.id), Some(id_of("gw/new")));
}

#[actix::test]
async fn a_token_is_good_for_its_identity_at_this_hub_or_this_edge_only() {
    let scene = scene(true).await;
    let check =
        async |host, id| scene.log_in_with("leaf", Some(token(id, host, KEY)), None).await.is_ok();
    assert!(check("HUB.local", "leaf").await);
    assert!(check("gw.local", "leaf").await);
    assert!(!check("elsewhere", "leaf").await);
    assert!(!check("hub.local", "other").await);
}

#[actix::test]
async fn a_certificate_is_known_by_its_thumbprint() {
    let scene = scene(true).await;
    scene.parent.borrow_mut().put_with("leaf", |record| {
        record.keys.clear();
        record.thumbprints = vec!["AB".repeat(20)];
    });
    let shown = |print: &str| Some(certificate("whatever", print, Err("nobody".into())));
    let until = clock::unix_time().as_secs() + 60;
    let granted = scene.log_in_with("leaf", None, shown(&"ab".repeat(20))).await.unwrap();
    assert!(granted.until.abs_diff(until) < 5, "as long as the certificate is good");
    assert!(is_denied(&scene.log_in_with("leaf", None, shown(&"00".repeat(20))).await));
    assert!(is_denied(&scene.log_in("leaf", KEY).await), "it has no key any more");
}

#[actix::test]
async fn connections_of_removed_disabled_and_changed_identities_end_at_once() {
    let scene = scene(true).await;
    scene.parent.borrow_mut().remove("gw/m");
    scene.parent.borrow_mut().put("leaf", KEY, IdentityStatus::Disabled);
    scene.parent.borrow_mut().put("other", OTHER_KEY, IdentityStatus::Enabled);
    scene.identities.send(ScopeChanged { version: 8 }).await.unwrap();
    settle().await;
    let mut closed = scene.closed.borrow().clone();
    closed.sort();
    assert_eq!(closed, ["gw/m Gone", "leaf Close", "other Close"]);
    assert!(is_denied(&scene.log_in("leaf", KEY).await));
}

#[actix::test]
async fn after_a_restart_only_what_has_changed_is_read() {
    let mut scene = scene(true).await;
    scene.restart().await;
    assert_eq!(scene.parent.borrow().asked.last(), Some(&Ask::Scope(5)));
    scene.parent.borrow_mut().remove("leaf");
    scene.restart().await;
    assert_eq!(*scene.closed.borrow(), ["leaf Gone"]);
    scene.restart().await;
    assert!(is_denied(&scene.log_in("leaf", KEY).await));
    assert_eq!(scene.shelf.len("identities"), 5, "four, and whose they are");
}

#[actix::test]
async fn what_could_not_be_written_is_written_with_the_next_change() {
    let mut scene = scene(true).await;
    scene.shelf.set_full(true);
    scene.parent.borrow_mut().remove("leaf");
    scene.parent.borrow_mut().put("new", KEY, IdentityStatus::Enabled);
    scene.identities.send(ScopeChanged { version: 7 }).await.unwrap();
    settle().await;
    scene.shelf.set_full(false);
    scene.parent.borrow_mut().put("other", OTHER_KEY, IdentityStatus::Enabled);
    scene.identities.send(ScopeChanged { version: 8 }).await.unwrap();
    settle().await;
    scene.parent.borrow_mut().is_up = false;
    scene.restart().await;
    assert!(scene.log_in("new", KEY).await.is_ok());
    assert!(is_not_ready(&scene.log_in("leaf", KEY).await));
}

#[actix::test]
async fn identities_of_another_hub_are_forgotten() {
    let mut scene = scene(true).await;
    scene.parent.borrow_mut().is_up = false;
    let vault = tempfile::tempdir().unwrap();
    scene.vault = Rc::new(Vault::open(&vault.path().join("lost")).unwrap());
    scene.restart().await;
    assert!(is_not_ready(&scene.log_in("leaf", KEY).await), "the key file was lost");
}

#[actix::test]
async fn it_signs_with_the_primary_key_of_those_it_knows_or_can_look_up() {
    let scene = scene(true).await;
    let sign = async |id| {
        let sign = Sign { identity: id_of(id), data: b"text".to_vec() };
        scene.identities.send(sign).await.unwrap()
    };
    assert_eq!(sign("gw/$edgeHub").await.unwrap(), sas::sign(KEY, b"text").unwrap());
    assert_eq!(sign("gw/none").await, Err(SignError::Unknown(id_of("gw/none"))));
    scene.parent.borrow_mut().put("gw/late", OTHER_KEY, IdentityStatus::Enabled);
    assert_eq!(sign("gw/late").await.unwrap(), sas::sign(OTHER_KEY, b"text").unwrap());
}
