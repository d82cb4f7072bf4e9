//! The link against a scripted parent on a real socket, with a queue in memory.

mod parent;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;
use serde_json::{Value, json};

use self::parent::Parent;
use super::*;
use crate::actors::stand_in::{Log, noted, plug, port};
use crate::domain::bag::Bag;
use crate::domain::method::Outcome;
use crate::domain::row::{Endpoint, Priority, Row, Stamp};
use crate::domain::sas;
use crate::messages::client::Down;
use crate::messages::identities::SignError;
use crate::messages::queue::Stored;
use crate::messages::sessions::{PresenceChanged, Settle};
use crate::messages::upstream::{Ask, LinkAnswer, NotConnected, Request};

const DEVICE_KEY: &str = "ZGV2aWNlIGtleQ==";
const HUB_KEY: &str = "aHViIGtleQ==";

pub(super) struct Scene {
    upstream: Addr<Upstream>,
    parent: Parent,
    rows: Rc<RefCell<BTreeMap<Key, Row>>>,
    ended: Log<(u64, End)>,
    changed: Log<bool>,
    ports: UpstreamPorts,
}

fn id(text: &str) -> Identity {
    Identity::parse(text).unwrap()
}

fn dead(why: &str, tries: u32) -> End {
    End::DeadLettered { why: why.into(), tries }
}

fn row(offset: u64, sender: &str) -> Row {
    let key = Key { priority: Priority(5), offset: Offset(offset) };
    Row {
        key,
        sender: id(sender),
        route: "r".into(),
        input: None,
        stamp: Some(Stamp { run: 9, seq: offset }),
        bag: Bag::parse("a=1").unwrap(),
        body: format!("m{offset}").into(),
    }
}

impl Scene {
    async fn new(rows: &[Row]) -> Self {
        let rows: BTreeMap<_, _> = rows.iter().map(|row| (row.key, row.clone())).collect();
        let rows = Rc::new(RefCell::new(rows));
        let ended: Log<(u64, End)> = Rc::default();
        let (pulled, finished, told) = (Rc::clone(&rows), Rc::clone(&rows), Rc::clone(&ended));
        let (changed_port, changed) = noted(|LinkChanged { is_up }| is_up);
        let ports = UpstreamPorts {
            pull: port(move |pull: Pull| {
                let rows = pulled.borrow();
                let owed = rows.values().filter(|row| pull.from.is_before(row.key));
                let owed = owed.filter(|row| !pull.without.contains(&row.sender));
                Ok(owed.take(pull.max).cloned().collect::<Vec<_>>().into())
            }),
            finish: port(move |finish: Finish| {
                for (key, end) in &finish.ends {
                    finished.borrow_mut().remove(key);
                    told.borrow_mut().push((key.offset.0, end.clone()));
                }
                Ok(finish.ends.into_iter().map(|(key, _)| key).collect())
            }),
            sign: port(|sign: Sign| Err(SignError::Unknown(sign.identity))),
            changed: vec![changed_port],
            ..UpstreamPorts::default()
        };
        let (parent, port) = Parent::bind().await;
        let config = UpstreamConfig {
            hub_host: "hub.local".into(),
            device: id("gw"),
            address: Address::plain("127.0.0.1", port),
            device_key: Some(DEVICE_KEY.into()),
            share: Share::NONE,
            live: LiveShare::NONE,
        };
        let obituary = Obituary::unsupervised();
        let upstream = Upstream::new(config, ports.clone(), obituary).start();
        Scene { upstream, parent, rows, ended, changed, ports }
    }

    /// With the link up and our own identities attached.
    async fn up(rows: &[Row]) -> Self {
        let mut scene = Self::new(rows).await;
        scene.parent.serve().await;
        scene
    }

    fn ask(&self, what: Ask) -> impl Future<Output = Result<LinkAnswer, NotConnected>> + use<> {
        let request = self.upstream.send(Request { identity: id("leaf"), what });
        let request = actix::spawn(request);
        async move { request.await.unwrap().unwrap() }
    }

    fn presence(&self, features: Option<Features>) -> impl Future<Output = ()> + use<> {
        let change = PresenceChanged { identity: id("leaf"), features };
        let answer = actix::spawn(self.upstream.send(change));
        async move { answer.await.unwrap().unwrap() }
    }

    /// Waits until so many rows have ended.
    async fn ended(&self, count: usize) -> Vec<(u64, End)> {
        for _ in 0..1_000 {
            if self.ended.borrow().len() >= count {
                return self.ended.borrow().clone();
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        panic!("only {:?}", self.ended.borrow());
    }

    async fn status(&self) -> LinkStatus {
        self.upstream.send(GetLinkStatus).await.unwrap()
    }
}

#[actix::test]
async fn it_logs_in_as_edge_hub_with_the_devices_token_until_its_own_key_is_known() {
    let mut scene = Scene::new(&[]).await;
    let connect = scene.parent.accept().await;
    assert_eq!(connect.client_id, "gw/$edgeHub");
    let user_name = "hub.local/gw/$edgeHub/?api-version=2021-04-12&link=1";
    assert_eq!(connect.user_name.as_deref(), Some(user_name));
    assert!(connect.is_clean);
    let token = sas::SasToken::parse(connect.password.as_deref().unwrap()).unwrap();
    assert!(token.is_for(&id("gw")).is_ok());
    assert!(token.check(&[DEVICE_KEY.into()], 0, 0).is_ok());

    plug(&scene.ports.sign, |sign: Sign| Ok(sas::sign(HUB_KEY, &sign.data).unwrap()));
    scene.parent.cut();
    let connect = scene.parent.accept().await;
    let token = sas::SasToken::parse(connect.password.as_deref().unwrap()).unwrap();
    assert!(token.is_for(&id("gw/$edgeHub")).is_ok());
    assert!(token.check(&[HUB_KEY.into()], 0, 0).is_ok());
}

#[actix::test]
async fn a_token_that_is_refused_is_followed_by_the_other_one() {
    let mut scene = Scene::new(&[]).await;
    plug(&scene.ports.sign, |sign: Sign| Ok(sas::sign(HUB_KEY, &sign.data).unwrap()));
    let mut seen = Vec::new();
    for _ in 0..2 {
        let connect = scene.parent.refuse(5).await;
        let token = sas::SasToken::parse(connect.password.as_deref().unwrap()).unwrap();
        seen.push(token.identity().unwrap().to_string());
    }
    seen.sort();
    assert_eq!(seen, ["gw", "gw/$edgeHub"]);
    assert_eq!(scene.status().await.attempts, 2);
}

#[actix::test]
async fn messages_carry_their_stamps_and_end_with_their_puback() {
    let mut scene = Scene::up(&[row(4, "leaf"), row(5, "gw/m")]).await;
    let (topic, body, first) = scene.parent.published().await;
    assert_eq!(topic, "devices/leaf/messages/events/a=1&%24.run=9&%24.seq=4&%24.low=0");
    assert_eq!(body, "m4");
    let (topic, _, second) = scene.parent.published().await;
    assert!(topic.starts_with("devices/gw/modules/m/messages/events/a=1&"), "{topic}");
    assert!(scene.ended.borrow().is_empty(), "not acknowledged yet");
    scene.parent.ack(first).await;
    scene.parent.ack(second).await;
    assert_eq!(scene.ended(2).await, [(4, End::Delivered), (5, End::Delivered)]);

    scene.rows.borrow_mut().insert(row(6, "leaf").key, row(6, "leaf"));
    scene.upstream.do_send(Stored(Endpoint::upstream()));
    assert_eq!(scene.parent.published().await.1, "m6");
}

#[actix::test]
async fn a_refused_message_is_dead_lettered_and_its_puback_means_nothing_more() {
    let mut scene = Scene::up(&[row(4, "leaf"), row(5, "leaf")]).await;
    let (_, _, first) = scene.parent.published().await;
    let (_, _, second) = scene.parent.published().await;
    scene
        .parent
        .say("$iothub/devices/leaf/messages/refused/400/?$seq=4&$run=9", r#"{"message":"no"}"#)
        .await;
    scene.parent.ack(first).await;
    scene.parent.ack(second).await;
    let ended = scene.ended(2).await;
    assert_eq!(ended, [(4, dead("400 no", 1)), (5, End::Delivered)]);
}

#[actix::test]
async fn a_throttled_sender_is_probed_with_the_next_number_and_the_others_go_on() {
    let mut scene = Scene::up(&[row(4, "leaf"), row(5, "other")]).await;
    let (_, _, first) = scene.parent.published().await;
    let (_, _, second) = scene.parent.published().await;
    scene.parent.say("$iothub/devices/leaf/messages/refused/429/?$seq=4&$run=9", "{}").await;
    scene.parent.ack(first).await;
    scene.parent.ack(second).await;
    assert_eq!(scene.ended(1).await, [(5, End::Delivered)]);
    assert_eq!(scene.status().await.lanes_in_backoff, 1);
    let (topic, _, probe) = scene.parent.published().await; // after a second
    assert!(topic.ends_with("&%24.try=1"), "{topic}");
    scene.parent.ack(probe).await;
    assert_eq!(scene.ended(2).await[1], (4, End::Delivered));
}

#[actix::test]
async fn what_was_in_flight_when_the_link_was_cut_is_sent_again() {
    let mut scene = Scene::up(&[row(4, "leaf"), row(5, "leaf")]).await;
    let (_, _, first) = scene.parent.published().await;
    scene.parent.published().await;
    scene.parent.ack(first).await;
    scene.ended(1).await;
    scene.parent.cut();
    scene.parent.serve().await;
    let (topic, body, again) = scene.parent.published().await;
    assert!(body == "m5" && topic.ends_with("%24.seq=5&%24.low=5"), "{topic}");
    scene.parent.ack(again).await;
    assert_eq!(scene.ended(2).await, [(4, End::Delivered), (5, End::Delivered)]);
    assert_eq!(*scene.changed.borrow(), [true, false, true]);
}

#[actix::test]
async fn requests_are_answered_or_end_with_the_link() {
    let mut scene = Scene::new(&[]).await;
    assert_eq!(scene.ask(Ask::TwinGet).await, Err(NotConnected), "there is no link yet");
    scene.parent.serve().await;
    let answer = scene.ask(Ask::TwinPatch("{}".into()));
    let rid = scene.parent.asked("$iothub/devices/leaf/twin/PATCH/properties/reported/").await;
    let topic = format!("$iothub/devices/leaf/twin/res/204/?$rid={rid}&$version=7");
    scene.parent.say(&topic, "").await;
    let wanted = LinkAnswer { status: 204, body: Bytes::new(), version: Some(7) };
    assert_eq!(answer.await, Ok(wanted));

    let answer = scene.ask(Ask::Scope(3));
    scene.parent.asked("$iothub/devices/leaf/scope/GET/").await;
    scene.parent.cut();
    assert_eq!(answer.await, Err(NotConnected));
}

#[actix::test]
async fn presence_is_answered_when_the_parent_knows_and_told_anew_on_the_next_link() {
    let mut scene = Scene::up(&[]).await;
    let features = Features { c2d: true, inputs: true, ..Features::default() };
    let told = scene.presence(Some(features));
    let (rid, payload) = scene.parent.attach("leaf").await;
    let payload: Value = serde_json::from_str(&payload).unwrap();
    assert_eq!(payload, json!({"c2d": true, "methods": false, "desired": false}));
    scene.parent.say(&format!("$iothub/devices/leaf/res/200/?$rid={rid}"), "").await;
    told.await;
    assert_eq!(scene.status().await.attached, 3);

    scene.parent.cut();
    scene.parent.serve().await;
    let told = scene.presence(Some(features)); // the sessions say it again
    let (rid, _) = scene.parent.attach("leaf").await;
    scene.parent.say(&format!("$iothub/devices/leaf/res/200/?$rid={rid}"), "").await;
    told.await;
    let told = scene.presence(None);
    let rid = scene.parent.asked("$iothub/devices/leaf/attach/DELETE/").await;
    scene.parent.say(&format!("$iothub/devices/leaf/res/200/?$rid={rid}"), "").await;
    told.await;
}

#[actix::test]
async fn a_method_ends_in_its_answer_or_in_the_gateways_own_trouble() {
    let mut scene = Scene::up(&[]).await;
    let call = "$iothub/devices/gw/modules/m/methods/POST/blink/?$rid=3";
    scene.parent.say(call, "").await;
    scene.parent.asked_topic("$iothub/devices/gw/modules/m/methods/err/404/?$rid=3").await;
    plug(&scene.ports.invoke, |invoke: Invoke| {
        assert_eq!((&invoke.call.name[..], &invoke.call.payload[..]), ("blink", &b"null"[..]));
        Outcome::Answered(200, "true".into())
    });
    scene.parent.say(call, "").await;
    scene.parent.asked_topic("$iothub/devices/gw/modules/m/methods/res/200/?$rid=3").await;
}

#[actix::test]
async fn what_the_parent_sends_goes_to_whom_it_concerns() {
    let mut scene = Scene::up(&[]).await;
    let scopes: Log<u64> = Rc::default();
    let patches: Log<(u64, Bytes)> = Rc::default();
    let downs: Log<String> = Rc::default();
    let (one, two, three) = (Rc::clone(&scopes), Rc::clone(&patches), Rc::clone(&downs));
    plug(&scene.ports.scope, move |scope: ScopeChanged| one.borrow_mut().push(scope.version));
    plug(&scene.ports.desired, move |desired: DesiredPatched| {
        two.borrow_mut().push((desired.version, desired.patch));
    });
    plug(&scene.ports.send, move |send: sessions::Send| {
        let Down::CloudToDevice { lock, bag, .. } = send.what else { panic!("not for a client") };
        three.borrow_mut().push(format!("{} {lock} {}", send.to, bag.as_str()));
        true
    });
    scene.parent.say("$iothub/devices/gw/modules/$edgeHub/scope/PATCH/?$version=8", "").await;
    scene
        .parent
        .order("$iothub/devices/leaf/twin/PATCH/properties/desired/?$version=4", "{}")
        .await;
    scene.parent.say("$iothub/devices/leaf/messages/devicebound/a=1&%24.lock=t7", "x").await;
    while downs.borrow().is_empty() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    scene.upstream.do_send(Settle { identity: id("leaf"), lock: "t7".into() });
    let settled = "$iothub/devices/leaf/devicebound/settle/completed/?$lock=t7";
    scene.parent.asked_topic(settled).await;
    // the settlement was lost with a link: the parent gives the message again
    scene.parent.say("$iothub/devices/leaf/messages/devicebound/a=1&%24.lock=t7", "x").await;
    scene.parent.asked_topic(settled).await;
    assert_eq!(*scopes.borrow(), [8]);
    assert_eq!(*patches.borrow(), [(4, Bytes::from("{}"))]);
    assert_eq!(*downs.borrow(), ["leaf t7 a=1"]);
}

#[actix::test]
async fn a_message_at_which_the_parent_always_closes_is_given_up() {
    let mut scene = Scene::new(&[row(4, "leaf"), row(5, "other")]).await;
    for close in 0..6 {
        scene.parent.serve().await;
        assert_eq!(scene.parent.published().await.1, "m4");
        if close >= 3 {
            assert!(scene.parent.is_quiet().await, "one at a time");
        }
        scene.parent.cut();
    }
    assert_eq!(scene.ended(1).await, [(4, dead("parent closes", 6))]);
    scene.parent.serve().await;
    assert_eq!(scene.parent.published().await.1, "m5");
}

#[actix::test]
async fn a_link_that_is_cut_again_and_again_makes_no_dead_letter() {
    let mut scene = Scene::new(&[row(4, "leaf")]).await;
    for _ in 0..7 {
        scene.parent.serve().await;
        assert_eq!(scene.parent.published().await.1, "m4");
        scene.parent.reset();
    }
    scene.parent.serve().await;
    let (_, body, number) = scene.parent.published().await;
    scene.parent.ack(number).await;
    assert_eq!((&*body, scene.ended(1).await), ("m4", vec![(4, End::Delivered)]));
}

#[actix::test]
async fn a_parent_that_does_not_grant_the_subscription_serves_no_links() {
    let mut scene = Scene::new(&[row(4, "leaf")]).await;
    scene.parent.accept().await;
    scene.parent.grant(0x80).await;
    let state = async || scene.status().await.state;
    while state().await != "parent serves no links" {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let status = scene.status().await;
    assert!(status.next_attempt_seconds > Some(20) && status.attached == 0);
    assert!(scene.changed.borrow().is_empty());
}
