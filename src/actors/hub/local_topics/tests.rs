//! Local topics over a real router, with probes for connections.

use std::cell::Cell;

use tokio::sync::mpsc;

use super::*;
use crate::actors::stand_in::plug;
use crate::domain::local_topics::LocalMessage;
use crate::domain::local_topics::exchange::Limits;
use crate::domain::local_topics::policy::Policy;
use crate::domain::restart::Exit;
use crate::messages::supervision::ChildExited;

const LIMITS: Limits =
    Limits { clients: 2, filters: 10, outbox: 1 << 20, retained_topics: 10, retained: 1 << 20 };

struct House {
    local: Local,
    bus: BusHouse,
    topics: Addr<LocalTopics>,
    exits: mpsc::Receiver<Exit>,
}

impl House {
    fn start() -> Self {
        Self::of(Local::new("gw", LIMITS, Policy::default()), BusHouse::default())
    }

    fn of(local: Local, bus: BusHouse) -> Self {
        let (tell, exits) = mpsc::channel(1);
        let port = crate::actors::port::Port::default();
        plug(&port, move |exited: ChildExited| _ = tell.try_send(exited.exit));
        let obituary = Obituary::new("", "local-topics", 1, port.recipient().unwrap());
        let topics = LocalTopics::new(Some(local.clone()), Rc::clone(&bus), obituary).start();
        House { local, bus, topics, exits }
    }

    /// Until connections would see that there is a router now.
    async fn ready(&self, generation: u64) {
        while self.local.board.generation() == generation {
            tokio::task::yield_now().await;
        }
    }

    /// Joins; what its connection is told.
    async fn join(&self, name: &str, filters: &[&str]) -> Option<mpsc::Receiver<String>> {
        let (tell, told) = mpsc::channel(10);
        let port = crate::actors::port::Port::default();
        plug(&port, move |Downlink { what, .. }: Downlink| {
            _ = tell.try_send(format!("{what:?}"));
        });
        let texts = || filters.iter().map(|filter| (*filter).to_owned());
        let join = Join {
            identity: who(name),
            epoch: 1,
            filters: texts().map(|filter| (filter, true)).collect(),
            fresh: texts().collect(),
            sink: port.recipient().unwrap(),
        };
        self.topics.send(join).await.unwrap().then_some(told)
    }

    async fn publish(&self, name: &str, topic: &str) -> Result<(), NotTaken> {
        let message = LocalMessage {
            topic: topic.to_owned(),
            body: "hello".into(),
            is_at_least_once: true,
            retain: false,
        };
        let publish = PublishLocal { identity: who(name), messages: vec![message] };
        self.topics.send(publish).await.unwrap()
    }

    async fn pull(&self, name: &str) -> Vec<String> {
        let pull = PullLocal { identity: who(name), most: 10, bytes: 1 << 20 };
        let pulled = self.topics.send(pull).await.unwrap();
        pulled.iter().map(|delivery| delivery.message.topic.clone()).collect()
    }
}

fn who(name: &str) -> Identity {
    Identity::parse(name).unwrap()
}

#[actix::test]
async fn a_message_is_taken_by_the_router_and_waits_for_those_who_asked_for_it() {
    let house = House::start();
    house.ready(1).await;
    let mut told = house.join("gw/reader", &["é/+"]).await.unwrap();
    house.join("sender", &[]).await.unwrap();
    assert!(house.join("third", &[]).await.is_none(), "there is room for two");
    assert_eq!(house.publish("third", "é/1").await, Err(NotTaken::NoSeat));
    house.publish("sender", "é/1").await.unwrap();
    house.publish("sender", "other").await.unwrap();
    assert_eq!(told.recv().await.unwrap(), "LocalOwed");
    assert_eq!(house.pull("gw/reader").await, ["é/1"]);
    assert!(house.pull("gw/reader").await.is_empty());
    house.publish("sender", "é/日本").await.unwrap();
    assert_eq!(told.recv().await.unwrap(), "LocalOwed", "once more, for it had pulled all");
    let status = house.topics.send(GetLocalStatus).await.unwrap();
    assert_eq!((status.links, status.published, status.delivered), (2, 3, 1));
    assert!(!house.local.board.has_room());
    let leave = Leave { identity: who("sender"), epoch: 1 };
    house.topics.send(leave).await.unwrap();
    while !house.local.board.has_room() {
        tokio::task::yield_now().await;
    }
    assert!(house.join("third", &[]).await.is_some());
}

#[actix::test]
async fn a_dead_router_ends_the_actor_and_the_next_one_has_another_router() {
    let mut house = House::start();
    house.ready(1).await;
    house.join("a", &["x"]).await.unwrap();
    house.publish("a", "x").await.unwrap();
    let bus = house.bus.borrow().clone().unwrap();
    bus.open("killer", 9).await.unwrap().0.kill_router();
    assert_eq!(house.exits.recv().await, Some(Exit::Failed));
    assert!(house.bus.borrow().is_none(), "nobody takes the dead one");
    let generation = house.local.board.generation();
    let next = House::of(house.local.clone(), Rc::clone(&house.bus));
    next.ready(generation).await;
    let mut told = next.join("a", &["x"]).await.unwrap();
    next.publish("a", "x").await.unwrap();
    assert_eq!(told.recv().await.unwrap(), "LocalOwed");
    let status = next.topics.send(GetLocalStatus).await.unwrap();
    assert_eq!(status.published, 2, "counts go on");
}

#[actix::test]
async fn everybody_hears_of_another_policy_and_it_is_in_force_at_once() {
    let house = House::start();
    house.ready(1).await;
    let mut told = house.join("a", &[]).await.unwrap();
    let may = Cell::new(house.local.board.permissions(&who("a")).may_publish("x"));
    assert!(!may.get());
    let all = |text: &str| vec![text.to_owned()];
    let policy = Policy::of_rule(true, &all("a"), &all("publish"), &all("#")).unwrap();
    let generation = house.local.board.generation();
    house.local.deploy(policy.clone());
    may.set(house.local.board.permissions(&who("a")).may_publish("x"));
    assert!(may.get() && house.local.board.generation() > generation);
    assert_eq!(told.recv().await.unwrap(), "LocalChanged");
    let generation = house.local.board.generation();
    house.local.deploy(policy);
    assert_eq!(house.local.board.generation(), generation, "the same one is no other");
}
