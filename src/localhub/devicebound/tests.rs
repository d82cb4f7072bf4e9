//! Messages that wait, over a real store, with restarts and in driven time.

use super::*;
use crate::domain::bag::Bag;
use crate::domain::delivery::Position;
use crate::domain::row::{Endpoint, Row};
use crate::localhub::testing::{Disk, Sessions, id, ready};
use crate::messages::devicebound::{Ack, CountDevicebound, Enqueue, Purge, TakeFeedback};

struct House {
    queue: Addr<Devicebound>,
    sessions: Sessions,
    disk: Disk,
}

fn start(disk: &Disk) -> (Addr<Devicebound>, Sessions) {
    let ports = DeviceboundPorts {
        save: disk.save.clone(),
        fetch: disk.fetch.clone(),
        scan: disk.scan.clone(),
        send: Port::default(),
    };
    let sessions = Sessions::plug(&ports.send);
    (Devicebound::new(ports, Obituary::unsupervised()).start(), sessions)
}

impl House {
    async fn new() -> Self {
        let disk = Disk::new();
        disk.change(vec![Change::put(tables::IDENTITIES, "d", "{}")]).await;
        let (queue, sessions) = start(&disk);
        ready(&queue, || CountDevicebound).await;
        House { queue, sessions, disk }
    }

    async fn again(&mut self) {
        (self.queue, self.sessions) = start(&self.disk);
        ready(&self.queue, || CountDevicebound).await;
    }

    async fn send(&self, body: &str, expires: Option<Duration>, ack: Ack) {
        let bag = Bag::parse(&format!("%24.mid={body}")).unwrap();
        let body = body.to_owned().into();
        let message = Enqueue { device: id("d"), bag, body, expires, ack };
        self.queue.send(message).await.unwrap().unwrap();
    }

    async fn pull(&self, from: &Position) -> Vec<Row> {
        let endpoint = Endpoint::client(&id("d"));
        let (from, without) = (from.clone(), Vec::new());
        let pull = Pull { endpoint, from, max: 32, max_bytes: 1 << 20, without, live: None };
        self.queue.send(pull).await.unwrap().unwrap().rows
    }

    async fn bodies(&self) -> Vec<String> {
        let rows = self.pull(&Position::default()).await;
        rows.iter().map(|row| String::from_utf8(row.body.to_vec()).unwrap()).collect()
    }

    async fn finish(&self, key: Key) {
        let ends = vec![(key, End::Delivered)];
        let finish = Finish { endpoint: Endpoint::client(&id("d")), ends, is_last: false };
        assert_eq!(self.queue.send(finish).await.unwrap(), Ok(vec![key]));
    }

    async fn count(&self) -> u64 {
        let counts = self.queue.send(CountDevicebound).await.unwrap().unwrap();
        counts.get(&id("d")).copied().unwrap_or(0)
    }

    async fn feedback(&self) -> Vec<(String, String)> {
        let records = self.queue.send(TakeFeedback).await.unwrap().unwrap();
        let text = |record: &serde_json::Value, name: &str| record[name].as_str().unwrap().into();
        let pair = |r: &serde_json::Value| (text(r, "originalMessageId"), text(r, "statusCode"));
        records.iter().map(pair).collect()
    }
}

#[actix::test]
async fn messages_wait_in_order_over_a_restart_until_they_are_settled() {
    let mut house = House::new().await;
    for body in ["0", "1", "2"] {
        house.send(body, None, Ack::None).await;
    }
    assert_eq!(house.sessions.take()[0], ("d".to_owned(), "Owed".to_owned()));
    house.again().await;
    assert_eq!(house.bodies().await, ["0", "1", "2"]);
    let first = house.pull(&Position::default()).await.remove(0);
    assert_eq!(first.bag.as_str(), "%24.mid=0");
    house.finish(first.key).await;
    house.finish(first.key).await; // a second time, after the first was lost on its way
    assert_eq!((house.bodies().await, house.count().await), (vec!["1".into(), "2".into()], 2));
    house.again().await;
    assert_eq!(house.bodies().await, ["1", "2"]);
    house.send("3", None, Ack::None).await;
    assert_eq!(house.bodies().await, ["1", "2", "3"], "numbers go on");
}

#[actix::test]
async fn a_device_that_is_made_anew_gets_no_message_of_the_deleted_one() {
    let mut house = House::new().await;
    house.send("old", None, Ack::Full).await;
    let registry = |change| house.disk.change(vec![change]); // and the hub is killed
    registry(Change::delete(tables::IDENTITIES, "d")).await;
    house.again().await;
    house.disk.change(vec![Change::put(tables::IDENTITIES, "d", "{}")]).await;
    assert_eq!((house.bodies().await, house.count().await), (Vec::new(), 0));
    house.send("new", None, Ack::None).await;
    house.again().await;
    assert_eq!(house.bodies().await, ["new"]);
    house.queue.send(crate::messages::registry::Forget(vec![id("d")])).await.unwrap();
    assert_eq!(house.count().await, 0);
}

#[actix::test]
async fn ten_are_out_at_most_and_settling_one_makes_room() {
    let house = House::new().await;
    for n in 0..12 {
        house.send(&n.to_string(), None, Ack::None).await;
    }
    let mut position = Position::default();
    let rows = house.pull(&position).await;
    assert_eq!(rows.len(), 10);
    rows.iter().for_each(|row| position.pass(row.key));
    assert!(house.pull(&position).await.is_empty());
    house.sessions.take();
    house.finish(rows[4].key).await;
    assert_eq!(house.sessions.take().len(), 1, "there is more");
    assert_eq!(house.pull(&position).await.len(), 1);
}

#[actix::test]
async fn feedback_is_given_once_to_those_who_asked_for_it() {
    let house = House::new().await;
    for (body, ack) in [("a", Ack::Positive), ("b", Ack::Negative), ("c", Ack::Full)] {
        house.send(body, None, ack).await;
    }
    let rows = house.pull(&Position::default()).await;
    house.finish(rows[0].key).await;
    assert_eq!(house.queue.send(Purge { device: id("d") }).await.unwrap(), Ok(2));
    let pair = |id: &str, status: &str| (id.to_owned(), status.to_owned());
    let expected = [pair("a", "Success"), pair("b", "Purged"), pair("c", "Purged")];
    assert_eq!(house.feedback().await, expected);
    assert_eq!(house.feedback().await, []);
    assert_eq!(house.count().await, 0);
}

/// Lets time pass. Not paused for longer: the store answers from a thread of its own, and a
/// paused clock runs ahead whenever nothing else is to be done.
async fn later(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[actix::test]
async fn what_expires_is_not_given_and_what_is_not_settled_ends_after_ten_tries() {
    let house = House::new().await;
    house.send("late", Some(Duration::from_secs(1)), Ack::Full).await;
    house.send("stays", None, Ack::Full).await;
    assert_eq!(house.bodies().await, ["stays"]);
    *house.sessions.is_connected.borrow_mut() = true;
    for tries in 1..=10 {
        assert_eq!(house.bodies().await.len(), 1, "before try {tries}");
        house.sessions.take();
        later(Duration::from_secs(61)).await;
        let is_again = || house.sessions.sent.borrow().iter().any(|(_, what)| what.contains("Rew"));
        while !is_again() && house.count().await > 0 {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(house.count().await, 0);
    let mut feedback = Vec::new();
    while feedback.len() < 2 {
        feedback.extend(house.feedback().await);
    }
    feedback.sort();
    let pair = |id: &str, status: &str| (id.to_owned(), status.to_owned());
    assert_eq!(feedback, [pair("late", "Expired"), pair("stays", "DeliveryCountExceeded")]);
}

#[actix::test]
async fn who_reads_on_after_a_minute_had_it_in_vain_and_who_begins_anew_has_not() {
    let house = House::new().await;
    house.send("stays", None, Ack::Full).await;
    let mut position = Position::default();
    position.pass(house.pull(&position).await[0].key);
    position.rewind(key(Offset(1)));
    for tries in 1..10 {
        later(Duration::from_secs(61)).await;
        assert_eq!(house.pull(&position).await.len(), 1, "after {tries} tries");
        let barrier = house.disk.save.ask(Save(Vec::new()), DEADLINE);
        barrier.await.unwrap().unwrap(); // the count is on disk
    }
    later(Duration::from_secs(61)).await;
    assert_eq!(house.bodies().await, ["stays"], "a new connection");
    later(Duration::from_secs(61)).await;
    assert!(house.pull(&position).await.is_empty());
}
