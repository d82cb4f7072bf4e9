//! The log over a real store, with restarts.

use super::*;
use crate::domain::bag::Bag;
use crate::domain::resent::Transmission;
use crate::domain::row::{Offset, Stamp};
use crate::localhub::testing::{Disk, id, ready};
use crate::messages::queue::LinkStamp;
use crate::messages::registry::Forget;
use crate::messages::telemetry::{AwaitTelemetry, Items, ReadTelemetry};

struct House {
    log: Addr<Telemetry>,
    disk: Disk,
    retention: Retention,
}

fn start(disk: &Disk, retention: Retention) -> Addr<Telemetry> {
    let (save, fetch, scan) = (disk.save.clone(), disk.fetch.clone(), disk.scan.clone());
    let ports = TelemetryPorts { save, fetch, scan, active: Port::default() };
    Telemetry::new(ports, retention, Obituary::unsupervised()).start()
}

fn read(since: u64, max: usize) -> ReadTelemetry {
    ReadTelemetry { since: Offset(since), max }
}

impl House {
    async fn new(retention: Retention) -> Self {
        let disk = Disk::new();
        let log = start(&disk, retention);
        ready(&log, || read(0, 1)).await;
        House { log, disk, retention }
    }

    async fn again(&mut self) {
        self.log = start(&self.disk, self.retention);
        ready(&self.log, || read(0, 1)).await;
    }

    async fn send(&self, sent: Vec<Sent>) -> Vec<Verdict> {
        self.log.send(Ingest(sent, None)).await.unwrap().unwrap()
    }

    async fn read(&self, since: u64, max: usize) -> Items {
        self.log.send(read(since, max)).await.unwrap().unwrap()
    }

    async fn bodies(&self) -> Vec<String> {
        let items = self.read(0, 1000).await.items;
        items.iter().map(|item| String::from_utf8(item.body.to_vec()).unwrap()).collect()
    }
}

fn plain(body: &str) -> Sent {
    let bag = Bag::parse("%24.ct=text&a=1").unwrap();
    Sent { sender: id("d/m"), bag, body: body.to_owned().into(), link: None, transmission: None }
}

fn linked(sender: &str, run: u64, seq: u64, low: u64, attempt: u64) -> Sent {
    let link = LinkStamp { edge: "gw".to_owned(), stamp: Stamp { run, seq }, low, attempt };
    let body = format!("{run}.{seq}").into();
    Sent { sender: id(sender), bag: Bag::default(), body, link: Some(link), transmission: None }
}

#[actix::test]
async fn what_was_acknowledged_is_read_in_order_also_after_a_restart() {
    let mut house = House::new(Retention::default()).await;
    assert_eq!(house.read(10_u64.pow(15), 9).await.next, Offset(1), "the end of an empty log");
    house.send(vec![plain("0"), plain("1")]).await;
    house.again().await;
    assert_eq!(house.send(vec![plain("2")]).await, [Verdict::Stored]);
    assert_eq!(house.bodies().await, ["0", "1", "2"]);
    let page = house.read(1, 2).await;
    assert_eq!((page.items.len(), page.next, page.has_more), (2, Offset(3), true));
    let last = house.read(3, 2).await;
    assert_eq!((last.items.len(), last.next, last.has_more), (1, Offset(4), false));
    let item = &last.items[0];
    assert_eq!((&item.sender, item.bag.as_str()), (&id("d/m"), "%24.ct=text&a=1"));
    let past = house.read(10_u64.pow(15), 9).await;
    assert_eq!((past.items.len(), past.next), (0, Offset(4)));
}

#[actix::test]
async fn a_second_copy_from_an_edge_is_acknowledged_and_dropped_also_after_a_restart() {
    let mut house = House::new(Retention::default()).await;
    let batch = vec![linked("d", 7, 1, 1, 0), linked("d", 7, 2, 1, 0), linked("d", 7, 1, 1, 0)];
    assert_eq!(house.send(batch).await, [Verdict::Stored, Verdict::Stored, Verdict::Stored]);
    assert_eq!(house.bodies().await, ["7.1", "7.2"]);
    house.again().await;
    house
        .send(vec![linked("d", 7, 2, 1, 0), linked("d", 8, 2, 1, 0), linked("d", 7, 5, 5, 0)])
        .await;
    assert_eq!(house.bodies().await, ["7.1", "7.2", "8.2", "7.5"]);
    house.send(vec![linked("d", 7, 4, 1, 0)]).await;
    assert_eq!(house.bodies().await.len(), 4, "below `low` of its own run");
}

#[actix::test]
async fn a_second_copy_of_a_client_is_known_by_dup_id_and_bytes_also_after_a_restart() {
    let sent = |connection, packet_id, is_again| {
        let transmission = Some(Transmission { packet_id, is_again, connection });
        Sent { transmission, ..plain(&packet_id.to_string()) }
    };
    let mut house = House::new(Retention::default()).await;
    house.send(vec![sent(1, 1, false), sent(1, 2, false)]).await;
    assert_eq!(house.send(vec![sent(2, 2, true)]).await, [Verdict::Stored]);
    house.again().await;
    let again = vec![sent(3, 1, true), sent(3, 2, true), sent(3, 3, true)];
    assert_eq!(house.send(again).await, vec![Verdict::Stored; 3]);
    assert_eq!(house.bodies().await, ["1", "2", "3"]);
    house.log.send(Forget(vec![id("d/m")])).await.unwrap();
    house.send(vec![sent(4, 1, true)]).await;
    assert_eq!(house.bodies().await, ["1", "2", "3", "1"], "another of that id has its own");
}

#[actix::test]
async fn what_an_earlier_life_left_in_line_is_not_written_over() {
    let mut house = House::new(Retention::default()).await;
    house.disk.refuse_once();
    let unanswered = actix::spawn(house.log.send(Ingest(vec![linked("d", 7, 1, 1, 0)], None)));
    for _ in 0..20 {
        tokio::task::yield_now().await; // until it is in line
    }
    house.log.do_send(crate::messages::supervision::Shutdown);
    house.again().await;
    assert!(unanswered.await.unwrap().is_err());
    house.send(vec![linked("d", 7, 2, 1, 0), linked("d", 7, 1, 1, 0)]).await;
    assert_eq!(house.bodies().await, ["7.1", "7.2"]);
}

#[actix::test]
async fn a_refused_sender_is_refused_until_its_next_try_and_no_other_with_it() {
    let house = House::new(Retention::default()).await;
    let refuse = |status| RefuseTelemetry { sender: id("bad"), status };
    house.log.send(refuse(Some(429))).await.unwrap();
    let batch = vec![linked("bad", 1, 1, 1, 0), linked("good", 1, 2, 1, 0)];
    let verdicts = house.send(batch).await;
    assert!(matches!(verdicts[..], [Verdict::Refused(429, _), Verdict::Stored]), "{verdicts:?}");
    house.log.send(refuse(None)).await.unwrap();
    let verdicts = house.send(vec![linked("bad", 1, 3, 1, 0), linked("bad", 1, 1, 1, 1)]).await;
    assert!(matches!(verdicts[..], [Verdict::Refused(429, _), Verdict::Stored]), "{verdicts:?}");
    assert_eq!(house.bodies().await, ["1.2", "1.1"], "it was not noted when it was refused");
}

#[actix::test]
async fn the_oldest_goes_when_there_is_too_much() {
    let mut house = House::new(Retention { bytes: Some(2000), age: None }).await;
    for n in 0..300 {
        house.send(vec![plain(&n.to_string())]).await;
    }
    let left = loop {
        let left = house.bodies().await;
        if left.len() < 40 {
            break left;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(left.last().unwrap(), "299");
    let page = house.read(0, 1000).await;
    assert!(page.items[0].offset.0 > 250 && page.next == Offset(301), "{page:?}");
    house.again().await;
    let after = house.bodies().await;
    assert!(left.ends_with(&after) && after.len() > 10, "{after:?}");
}

#[actix::test]
async fn a_reader_that_waits_is_told_when_there_is_more() {
    let house = House::new(Retention::default()).await;
    let waiting = house.log.send(AwaitTelemetry { since: Offset(1) });
    house.send(vec![plain("0")]).await;
    waiting.await.unwrap().unwrap();
    house.log.send(AwaitTelemetry { since: Offset(0) }).await.unwrap().unwrap();
}
