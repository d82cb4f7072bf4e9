//! The exchange with a router that does as it is told; and a model with clients that come, go
//! and are slow.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const LIMITS: Limits =
    Limits { clients: 3, filters: 10, outbox: 1 << 20, retained_topics: 10, retained: 1 << 20 };

fn who(name: &str) -> Identity {
    Identity::parse(name).unwrap()
}

fn message(topic: &str, body: &str) -> LocalMessage {
    let (topic, body) = (topic.to_owned(), body.to_owned().into());
    LocalMessage { topic, body, is_at_least_once: true, retain: false }
}

fn retained(topic: &str, body: &str) -> LocalMessage {
    LocalMessage { retain: true, ..message(topic, body) }
}

/// Carries out what the exchange wants, by a router that keeps what it is given for a while.
struct World {
    exchange: Exchange,
    /// References in the router, in order.
    router: VecDeque<(Slot, u64)>,
    /// Whose batch is to be said to be taken, after so many references.
    taken: Vec<Slot>,
    acked: Vec<u64>,
    owed: Vec<Slot>,
    most: usize,
}

impl World {
    fn new(limits: Limits) -> Self {
        let exchange = Exchange::new(limits);
        let (router, taken, acked, owed) = Default::default();
        World { exchange, router, taken, acked, owed, most: 0 }
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            let more = match effect {
                Effect::Open(slot, _) => self.exchange.on_opened(slot),
                Effect::Close(slot) => {
                    self.router.retain(|(of, _)| *of != slot);
                    self.exchange.on_closed(slot)
                }
                Effect::Push { from, to, is_last } => {
                    self.router.extend(to);
                    self.most = self.most.max(self.router.len());
                    self.taken.extend(is_last.then_some(from));
                    Vec::new()
                }
                Effect::Taken(number) => {
                    self.acked.push(number);
                    Vec::new()
                }
                Effect::Owed(slot) => {
                    self.owed.push(slot);
                    Vec::new()
                }
                Effect::Turn => self.exchange.on_turn(),
            };
            self.carry_out(more);
        }
    }

    /// The router goes on until it has nothing left.
    fn run(&mut self) {
        loop {
            let taken = std::mem::take(&mut self.taken);
            let first = self.router.pop_front();
            if taken.is_empty() && first.is_none() {
                return;
            }
            for slot in taken {
                let effects = self.exchange.on_taken(slot);
                self.carry_out(effects);
            }
            if let Some((slot, reference)) = first {
                let effects = self.exchange.on_arrived(slot, &[reference]);
                self.carry_out(effects);
            }
        }
    }

    fn join(&mut self, name: &str, epoch: u64, filters: &[&str]) -> bool {
        let all = filters.iter().map(|filter| ((*filter).to_owned(), true)).collect();
        let fresh: Vec<_> = filters.iter().map(|filter| (*filter).to_owned()).collect();
        let joined = self.exchange.on_joined(&who(name), epoch, all, &fresh);
        let is_in = joined.is_some();
        self.carry_out(joined.map(|(_, effects)| effects).unwrap_or_default());
        is_in
    }

    fn leave(&mut self, name: &str, epoch: u64) {
        let effects = self.exchange.on_left(&who(name), epoch);
        self.carry_out(effects);
    }

    fn publish(&mut self, name: &str, messages: Vec<LocalMessage>) -> Option<u64> {
        let (number, effects) = self.exchange.on_published(&who(name), messages)?;
        self.carry_out(effects);
        Some(number)
    }

    fn pull(&mut self, name: &str) -> Vec<String> {
        let pulled = self.exchange.on_pulled(&who(name), usize::MAX, usize::MAX);
        let line = |it: &Delivery| {
            let body = String::from_utf8_lossy(&it.message.body).into_owned();
            let mark = if it.is_retained { " retained" } else { "" };
            format!("{}={body}{mark}", it.message.topic)
        };
        pulled.iter().map(line).collect()
    }
}

#[test]
fn a_message_goes_by_the_router_to_those_who_asked_and_is_taken_once_it_is_there() {
    let mut world = World::new(LIMITS);
    assert!(world.join("a", 1, &[]) && world.join("b", 1, &["x/+"]) && world.join("c", 1, &["#"]));
    let number = world.publish("a", vec![message("x/1", "hi"), message("y", "ho")]).unwrap();
    assert_eq!((world.acked.len(), world.router.len()), (0, 3));
    world.run();
    assert_eq!(world.acked, [number]);
    assert_eq!(world.owed, [1, 2], "told once each");
    assert_eq!(world.pull("b"), ["x/1=hi"]);
    assert_eq!(world.pull("c"), ["x/1=hi", "y=ho"]);
    assert!(world.pull("a").is_empty());
    assert_eq!(world.exchange.counts(), Counts { published: 2, delivered: 3, ..Counts::default() });
}

#[test]
fn what_nobody_wants_is_taken_at_once() {
    let mut world = World::new(LIMITS);
    world.join("a", 1, &[]);
    let number = world.publish("a", vec![message("x", "hi")]).unwrap();
    assert_eq!((world.acked, world.router.len()), (vec![number], 0));
    assert_eq!(world.exchange.on_published(&who("stranger"), vec![]), None);
}

#[test]
fn the_router_never_has_more_than_it_can_remember_and_batches_take_turns() {
    let mut world = World::new(LIMITS);
    world.join("a", 1, &[]);
    world.join("b", 1, &[]);
    world.join("c", 1, &["#"]);
    let many = |name: &str| (0..200).map(|n| message(name, &n.to_string())).collect();
    world.publish("a", many("a")).unwrap();
    world.publish("b", many("b")).unwrap();
    world.run();
    assert_eq!(world.most, IN_ROUTER);
    let got = world.pull("c");
    assert_eq!((got.len(), world.acked.len()), (400, 2));
    let of_b = got.iter().position(|line| line.starts_with("b=")).unwrap();
    assert!(of_b <= IN_ROUTER + 16, "b waits for no more than is on its way: {of_b}");
    let of_a = got.iter().filter_map(|line| line.strip_prefix("a="));
    assert!(of_a.map(|n| n.parse::<u32>().unwrap()).is_sorted());
}

#[test]
fn a_retained_message_comes_with_a_new_subscription_and_not_with_an_old_one() {
    let mut world = World::new(LIMITS);
    world.join("a", 1, &[]);
    let all =
        vec![retained("é/1", "x"), retained("é/1", "y"), retained("b", "z"), retained("b", "")];
    world.publish("a", all).unwrap();
    world.join("b", 1, &["#"]);
    assert_eq!(world.pull("b"), ["é/1=y retained"]);
    let all = vec![("#".to_owned(), false)];
    let joined = world.exchange.on_joined(&who("b"), 2, all, &[]).unwrap().1;
    world.carry_out(joined);
    assert!(world.pull("b").is_empty(), "its session was resumed");
    assert_eq!(world.exchange.retained().0, 1);
}

#[test]
fn a_client_that_went_is_forgotten_but_what_it_published_last_arrives() {
    let mut world = World::new(LIMITS);
    world.join("a", 1, &["a"]);
    world.join("b", 1, &["#"]);
    world.publish("a", vec![message("a", "last")]).unwrap();
    world.leave("a", 1);
    assert_eq!(world.exchange.links(), 2, "its batch is under way");
    world.run();
    assert_eq!(world.exchange.links(), 1);
    assert_eq!(world.pull("b"), ["a=last"]);
    assert_eq!(world.exchange.counts().dropped, 1, "its own copy");
    world.join("b", 2, &["#"]);
    world.leave("b", 1);
    assert_eq!(world.exchange.links(), 1, "a late farewell of the connection before");
}

#[test]
fn there_is_room_for_so_many_clients_and_again_when_one_leaves() {
    let mut world = World::new(LIMITS);
    for name in ["a", "b", "c"] {
        assert!(world.join(name, 1, &[]));
    }
    assert!(!world.join("d", 1, &[]));
    world.leave("b", 1);
    assert!(world.join("d", 1, &["x"]));
    world.publish("a", vec![message("x", "1")]).unwrap();
    world.run();
    assert_eq!(world.pull("d"), ["x=1"]);
}

#[derive(Clone, Debug)]
enum Step {
    Join(usize, usize),
    Leave(usize),
    Publish(usize, usize, usize),
    Router(usize),
    Pull(usize),
}

fn a_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..4_usize, 0..4_usize).prop_map(|(who, what)| Step::Join(who, what)),
        (0..4_usize).prop_map(Step::Leave),
        (0..4_usize, 0..3_usize, 1..90_usize).prop_map(|(w, t, n)| Step::Publish(w, t, n)),
        (0..100_usize).prop_map(Step::Router),
        (0..4_usize).prop_map(Step::Pull),
    ]
}

proptest! {
    #[test]
    fn every_copy_is_delivered_or_counted_as_dropped_in_order_and_every_batch_is_taken(
        steps in prop::collection::vec(a_step(), 1..60)
    ) {
        let limits = Limits { outbox: 40 * message("t0", "x").cost(), ..LIMITS };
        let names = ["a", "b", "c", "d"];
        let filters: [&[&str]; 4] = [&[], &["#"], &["t0", "t1"], &["+"]];
        let mut world = World::new(limits);
        let (mut epoch, mut here) = (0, BTreeMap::new());
        let mut numbers = Vec::new();
        let mut stamp = 0_u64;
        let mut last: BTreeMap<(usize, String), u64> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Join(who, what) => {
                    epoch += 1;
                    if world.join(names[who], epoch, filters[what]) {
                        here.insert(who, epoch);
                    }
                }
                Step::Leave(who) => {
                    if let Some(epoch) = here.remove(&who) {
                        world.leave(names[who], epoch);
                    }
                }
                Step::Publish(who, topic, count) if here.contains_key(&who) => {
                    let messages = (0..count).map(|_| {
                        stamp += 1;
                        message(&format!("t{topic}"), &format!("{who}:{stamp}"))
                    });
                    numbers.extend(world.publish(names[who], messages.collect()));
                }
                Step::Router(count) => {
                    for _ in 0..count {
                        if let Some((slot, reference)) = world.router.pop_front() {
                            let effects = world.exchange.on_arrived(slot, &[reference]);
                            world.carry_out(effects);
                        }
                    }
                }
                Step::Pull(who) => {
                    for line in world.pull(names[who]) {
                        let (_, body) = line.split_once('=').unwrap();
                        let (from, stamp) = body.split_once(':').unwrap();
                        let stamp: u64 = stamp.parse().unwrap();
                        let before = last.insert((who, from.to_owned()), stamp);
                        prop_assert!(before.is_none_or(|before| before < stamp), "order");
                    }
                }
                Step::Publish(..) => {}
            }
            prop_assert!(world.router.len() <= IN_ROUTER);
            prop_assert!(world.exchange.in_router == world.router.len());
        }
        world.run();
        for (who, epoch) in here {
            world.leave(names[who], epoch);
        }
        world.run();
        world.acked.sort_unstable();
        prop_assert_eq!(&world.acked, &numbers, "every batch is taken, once");
        let exchange = &world.exchange;
        prop_assert_eq!((exchange.links(), exchange.in_router, exchange.in_router_bytes), (0, 0, 0));
        prop_assert_eq!(exchange.counts().published, stamp);
        prop_assert_eq!(exchange.waiting(), 0);
    }
}
