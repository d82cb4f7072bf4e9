//! A connection with a client at the other end of a pipe, and stand-ins for the hub.

use std::cell::RefCell;
use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::*;
use crate::actors::clock;
use crate::actors::endpoint::budget::{Limits, Shared};
use crate::actors::endpoint::stream::ByteStream;
use crate::actors::port::Port;
use crate::actors::stand_in::{Log, noted, port, settle};
use crate::domain::bag::Bag;
use crate::domain::delivery::{LiveShare, Share};
use crate::domain::packet::Connect;
use crate::domain::row::{Key, Offset, Priority, Row};
use crate::messages::identities::{Granted, Refusal};
use crate::messages::queue::{Finish, Ingest, Pull, Telemetry};
use crate::messages::sessions::Settle;
use crate::messages::twins::{DesiredTaken, GetTwin, PatchReported, TwinAnswer};

type Line = Rc<RefCell<Option<Recipient<Downlink>>>>;

struct Scene {
    client: DuplexStream,
    stored: Log<String>,
    settled: Log<String>,
    /// What was asked for, whoever waits for the answer: ends of rows, patches.
    ordered: Log<String>,
    owed: Log<Row>,
    /// Versions of desired properties that the client has.
    taken: Log<u64>,
    get_twin: Port<GetTwin>,
    line: Line,
    _connection: Addr<Connection>,
}

impl Scene {
    async fn new(filters: &[&str], will: Option<&str>) -> Self {
        let granted = Granted { until: u64::MAX, by_device: false };
        Self::granted(filters, will, granted, Ok(granted)).await
    }

    /// Let in so, and answered so when that is asked again.
    async fn granted(
        filters: &[&str],
        will: Option<&str>,
        granted: Granted,
        again: Result<Granted, Refusal>,
    ) -> Self {
        let (stored, line) = (Log::default(), Line::default());
        let (seen, plugged) = (Log::clone(&stored), Rc::clone(&line));
        let filters: Vec<_> = filters.iter().map(|filter| ((*filter).to_owned(), true)).collect();
        let is_present = !filters.is_empty();
        let (settle_port, settled) = noted(|settle: Settle| settle.lock);
        let ordered = Log::default();
        let (ended, patched) = (Log::clone(&ordered), Log::clone(&ordered));
        let owed = Log::default();
        let pulled = Log::clone(&owed);
        let (taken_port, taken) = noted(|taken: DesiredTaken| taken.version);
        let backend = Backend {
            desired_taken: taken_port,
            open: port(move |open: Open| {
                *plugged.borrow_mut() = Some(open.downlink);
                Ok(Opened { epoch: 1, is_present, filters: filters.clone(), unacked: vec![] })
            }),
            ingest: port(move |Ingest(batch, _)| {
                let show =
                    |message: &Telemetry| format!("{} {:?}", message.bag.as_str(), message.body);
                seen.borrow_mut().extend(batch.iter().map(show));
                Err(StoreError::Unavailable)
            }),
            settle: settle_port,
            log_in: port(move |_: LogIn| again.clone()),
            pull: port(move |_: Pull| Ok(pulled.take().into())),
            finish: port(move |finish: Finish| {
                ended.borrow_mut().push(format!("end of {:?}", finish.ends[0].0.offset));
                Ok(finish.ends.into_iter().map(|(key, _)| key).collect())
            }),
            subscribe: port(|_| Ok(())),
            get_twin: port(|_| TwinAnswer { status: 200, body: "{}".into(), version: None }),
            patch_reported: port(move |patch: PatchReported| {
                patched.borrow_mut().push(format!("patch {:?}", patch.patch));
                TwinAnswer { status: 204, body: Bytes::new(), version: None }
            }),
            ..Backend::default()
        };
        let get_twin = backend.get_twin.clone();
        let (client, ours) = tokio::io::duplex(1 << 16);
        let (read, half) = tokio::io::split(Box::new(ours) as Box<dyn ByteStream>);
        let connect = Connect {
            client_id: "d".into(),
            keep_alive: 0,
            is_clean: false,
            user_name: None,
            password: None,
            will: will.map(|topic| Will {
                topic: topic.to_owned(),
                body: Bytes::from_static(b"gone"),
                retain: false,
            }),
        };
        let greeted = Greeted {
            reader: Reader::new(read),
            half,
            connect,
            log_in: Box::new(LogIn {
                identity: Identity::parse("d").unwrap(),
                token: None,
                certificate: None,
                link: None,
                place: None,
            }),
            granted,
            peer: "test".into(),
        };
        let settings = ConnectionSettings {
            limits: Limits { packets: 10, bytes: 1 << 16 },
            parking: Shared::new(1 << 20),
            window: 10,
            share: Share::NONE,
            live: LiveShare::NONE,
            unwritten: Default::default(),
            watch: Default::default(),
        };
        let _connection = Connection::accept(
            greeted,
            Rc::new(backend),
            Rc::new(settings),
            Obituary::unsupervised(),
        );
        let mut scene =
            Scene { client, stored, settled, ordered, owed, taken, get_twin, line, _connection };
        assert_eq!(scene.read(4).await, [0x20, 2, u8::from(is_present), 0]);
        scene
    }

    async fn read(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.client.read_exact(&mut bytes).await.unwrap();
        bytes
    }

    async fn write(&mut self, bytes: &[u8]) {
        self.client.write_all(bytes).await.unwrap();
        settle().await;
    }

    fn send(&self, lock: &str) {
        self.tell(Down::CloudToDevice { lock: lock.into(), bag: Bag::default(), body: "x".into() });
    }

    async fn is_closed(&mut self) -> bool {
        settle().await;
        let mut byte = [0; 1];
        let read = tokio::time::timeout(Duration::from_millis(1), self.client.read(&mut byte));
        matches!(read.await, Ok(Ok(0)))
    }

    fn tell(&self, what: Down) {
        let to = Identity::parse("d").unwrap();
        self.line.borrow().as_ref().unwrap().do_send(Downlink { to, what });
    }
}

/// A message that is owed to the client.
fn row() -> Row {
    Row {
        key: Key { priority: Priority::DEFAULT, offset: Offset(7) },
        sender: Identity::parse("d").unwrap(),
        route: "".into(),
        input: None,
        stamp: None,
        bag: Bag::default(),
        body: "x".into(),
    }
}

/// PUBLISH of `x` to the client's own topic, with `QoS` 0.
fn publish() -> Vec<u8> {
    let topic = b"devices/d/messages/events/";
    [&[0x30, topic.len() as u8 + 3, 0, topic.len() as u8], &topic[..], b"x"].concat()
}

#[actix::test]
async fn what_came_with_disconnect_is_stored_and_the_will_is_not() {
    tokio::time::pause();
    let mut scene = Scene::new(&[], Some("devices/d/messages/events/")).await;
    scene.write(&[publish(), vec![0xE0, 0]].concat()).await;
    assert_eq!(*scene.stored.borrow(), [r#" b"x""#]);
}

#[actix::test]
async fn the_will_of_a_client_that_goes_without_disconnect_is_a_message_of_it() {
    tokio::time::pause();
    let mut scene = Scene::new(&[], Some("devices/d/messages/events/a=b")).await;
    scene.client.shutdown().await.unwrap();
    settle().await;
    assert_eq!(*scene.stored.borrow(), [r#"a=b&MessageType=Will b"gone""#]);
    let mut scene = Scene::new(&[], Some("devices/other/messages/events/")).await;
    scene.client.shutdown().await.unwrap();
    settle().await;
    assert!(scene.stored.borrow().is_empty(), "of another identity");
}

#[actix::test]
async fn a_locked_message_waits_for_the_first_subscribe_of_a_resumed_session() {
    tokio::time::pause();
    let filter = "devices/d/messages/devicebound/#";
    let mut scene = Scene::new(&[filter], None).await;
    scene.send("1");
    scene.send("1"); // once more, after the link was lost
    settle().await;
    let mut byte = [0];
    let silence = tokio::time::timeout(Duration::from_secs(1), scene.client.read(&mut byte));
    assert!(silence.await.is_err(), "it is held");
    tokio::time::sleep(Duration::from_secs(1)).await; // no SUBSCRIBE: long enough
    let head = scene.read(2).await;
    assert_eq!(head[0], 0x32);
    scene.read(head[1].into()).await;
    scene.send("2");
    scene.read(2 + usize::from(head[1])).await;
    scene.write(&[0x40, 2, 0, 1, 0x40, 2, 0, 2]).await;
    assert_eq!(*scene.settled.borrow(), ["1", "2"]);
    scene.send("1"); // the parent had not heard of it when the link was lost
    scene.send("3");
    assert!(scene.read(2 + usize::from(head[1])).await.ends_with(&[0, 3, b'x']));
    assert_eq!(*scene.settled.borrow(), ["1", "2", "1"]);
}

#[actix::test]
async fn a_connection_ends_with_what_it_came_in_by() {
    tokio::time::pause();
    let until = clock::unix_time().as_secs() + 60;
    let granted = Granted { until, by_device: false };
    let mut scene = Scene::granted(&[], None, granted, Ok(granted)).await;
    for (ahead, is_closed) in [(57, false), (64, true)] {
        clock::put_forward(Duration::from_secs(ahead));
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(scene.is_closed().await, is_closed, "after {ahead} s");
    }
}

#[actix::test]
async fn new_keys_of_a_device_end_the_modules_that_came_in_by_them_and_no_others() {
    for by_device in [false, true] {
        tokio::time::pause();
        let granted = Granted { until: u64::MAX, by_device };
        let mut scene = Scene::granted(&[], None, granted, Ok(granted)).await;
        scene.tell(Down::DeviceKeysChanged);
        assert_eq!(scene.is_closed().await, by_device);
        tokio::time::resume();
    }
}

/// The change of its keys was told before it had a seat to be told at.
#[actix::test]
async fn who_was_let_in_and_would_not_be_any_more_is_closed_once_its_session_is_open() {
    tokio::time::pause();
    let granted = Granted { until: u64::MAX, by_device: false };
    let denied = Err(Refusal::Denied("another key".into()));
    let mut scene = Scene::granted(&[], None, granted, denied).await;
    assert!(scene.is_closed().await);
}

#[actix::test]
async fn what_a_client_acknowledged_or_patched_before_it_hung_up_counts() {
    tokio::time::pause();
    let mut scene = Scene::new(&["devices/d/messages/devicebound/#"], None).await;
    scene.owed.borrow_mut().push(row());
    tokio::time::sleep(Duration::from_secs(2)).await; // it is held until then
    let sent = scene.read(5).await;
    assert_eq!(sent[0] & 0x36, 0x32, "a row with QoS 1");
    let topic = b"$iothub/twin/PATCH/properties/reported/?$rid=1";
    let patch = [&[0x30, topic.len() as u8 + 4, 0, topic.len() as u8], &topic[..], b"{}"].concat();
    scene.write(&[&[0x40, 2, 0, 1], &patch[..], &[0xE0, 0]].concat()).await;
    scene.ordered.borrow_mut().sort(); // either may be first
    assert_eq!(*scene.ordered.borrow(), ["end of Offset(7)", r#"patch b"{}""#]);
}

/// PUBLISH with `QoS` 1 and packet id 5.
fn request(topic: &str) -> Vec<u8> {
    let length = topic.len() as u8;
    [&[0x32, length + 5, 0, length], topic.as_bytes(), &[0, 5, b' ']].concat()
}

#[actix::test]
async fn a_twin_request_is_answered_without_a_subscription_and_acknowledged_behind_that() {
    tokio::time::pause();
    let mut scene = Scene::new(&[], None).await;
    scene.write(&request("$iothub/twin/GET/?$rid=7")).await;
    let topic = b"$iothub/twin/res/200/?$rid=7";
    let answer = [&[0x30, topic.len() as u8 + 4, 0, topic.len() as u8], &topic[..], b"{}"].concat();
    assert_eq!(scene.read(answer.len()).await, answer);
    assert_eq!(scene.read(4).await, [0x40, 2, 0, 5]);
}

/// Twins that take their time to be read.
struct SlowTwins;

impl Actor for SlowTwins {
    type Context = Context<Self>;
}

impl Handler<GetTwin> for SlowTwins {
    type Result = ResponseFuture<TwinAnswer>;

    fn handle(&mut self, _: GetTwin, _: &mut Self::Context) -> Self::Result {
        Box::pin(async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            TwinAnswer { status: 200, body: "{}".into(), version: None }
        })
    }
}

/// Else a client that is cut sends an older patch again, behind one that was answered.
#[actix::test]
async fn twin_requests_are_answered_in_order_of_arrival_and_nothing_else_waits_for_them() {
    tokio::time::pause();
    let mut scene = Scene::new(&[], None).await;
    scene.get_twin.plug(&SlowTwins.start());
    let patch = request("$iothub/twin/PATCH/properties/reported/?$rid=8");
    scene.write(&[&request("$iothub/twin/GET/?$rid=7"), &patch[..], &[0xC0, 0]].concat()).await;
    assert_eq!(scene.ordered.borrow().len(), 1, "it is asked at once");
    assert_eq!(scene.read(2).await, [0xD0, 0]);
    for (topic, body) in
        [("$iothub/twin/res/200/?$rid=7", "{}"), ("$iothub/twin/res/204/?$rid=8", "")]
    {
        let answer = scene.read(4 + topic.len() + body.len() + 4).await;
        let (answer, ack) = answer.split_at(answer.len() - 4);
        assert_eq!(&answer[4..], [topic, body].concat().as_bytes());
        assert_eq!(ack, [0x40, 2, 0, 5]);
    }
}

#[actix::test]
async fn a_method_without_a_payload_is_sent_with_null() {
    tokio::time::pause();
    let mut scene = Scene::new(&["$iothub/methods/POST/#"], None).await;
    scene.tell(Down::Method { call: 9, name: "go".into(), payload: Bytes::new() });
    let topic = b"$iothub/methods/POST/go/?$rid=9";
    let call = [&[0x30, topic.len() as u8 + 6, 0, topic.len() as u8], &topic[..], b"null"].concat();
    assert_eq!(scene.read(call.len()).await, call);
}

#[actix::test]
async fn a_filter_that_the_hub_does_not_have_is_refused_and_one_of_another_closes() {
    for (filter, answer) in [
        ("nonsense/#", Some(0x80)),
        ("$iothub/methods/POST/#", Some(1)),
        ("devices/other/messages/devicebound/#", None),
    ] {
        tokio::time::pause();
        let mut scene = Scene::new(&[], None).await;
        let length = filter.len() as u8;
        scene
            .write(&[&[0x82, length + 5, 0, 3, 0, length], filter.as_bytes(), &[1]].concat())
            .await;
        match answer {
            Some(code) => assert_eq!(scene.read(5).await, [0x90, 3, 0, 3, code], "{filter}"),
            None => assert!(scene.is_closed().await, "{filter}"),
        }
        tokio::time::resume();
    }
}

#[actix::test]
async fn a_patch_of_desired_properties_is_taken_with_its_puback_and_not_before() {
    tokio::time::pause();
    let mut scene = Scene::new(&["$iothub/twin/PATCH/properties/desired/#"], None).await;
    scene.tell(Down::Desired { version: 4, patch: "{}".into() });
    let topic = "$iothub/twin/PATCH/properties/desired/?$version=4";
    let publish = scene.read(2 + 2 + topic.len() + 2 + 2).await;
    assert_eq!((publish[0], &publish[4..4 + topic.len()]), (0x32, topic.as_bytes()));
    assert!(scene.taken.borrow().is_empty());
    scene.write(&[0x40, 2, 0, 1]).await;
    assert_eq!(*scene.taken.borrow(), [4]);
}

/// docs/performance.md says what an idle client takes as a whole.
#[test]
fn a_connection_and_what_reads_and_writes_for_it_stay_small() {
    assert!(size_of::<Connection>() <= 512, "{}", size_of::<Connection>());
    assert!(size_of::<Reader>() <= 96, "{}", size_of::<Reader>());
}
