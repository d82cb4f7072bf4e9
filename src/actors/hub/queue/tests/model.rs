//! Random lives of routes: swaps, pauses, refusals, cuts, restarts, discards, replays, over the
//! real store, the real table and the real delivery, with a parent that remembers as `localhub`
//! does. At every step the account is whole; at the end every message is where it was counted.

mod steps;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Instant;

use proptest::prelude::*;

use self::steps::{Choice, READERS, ROUTES, Reader, SINKS, Shape, Step, step};
use super::*;
use crate::actors::clock;
use crate::domain::delivery::{Answer, Delivery, Effect};
use crate::domain::link::intervals::{Arrival, Seen};
use crate::domain::row::Offset;
use crate::messages::dead_letters::Pick;
use crate::store::queue::{Fate, Matcher};

type Body = String;

/// What an endpoint has seen.
#[derive(Default)]
struct Party {
    seen: Seen,
    /// In order.
    arrived: Vec<Row>,
    rejected: BTreeSet<Key>,
    throttled: BTreeMap<Identity, u64>,
    /// Ends that were written: a body at an input, once.
    delivered: BTreeSet<(Body, Option<Arc<str>>)>,
}

struct Scene {
    directory: tempfile::TempDir,
    store: Option<Arc<QueueStore>>,
    table: Arc<RouteTable>,
    readers: [Reader; 3],
    parties: [Party; 3],
    share: u8,
    now: Instant,
    generation: u64,
    sent: u64,
    /// Per endpoint: what routes took.
    matched: [BTreeSet<(Body, Option<Arc<str>>)>; 3],
}

fn open(directory: &Path) -> Arc<QueueStore> {
    let options = Options { reserve: 0, ..Options::queue() };
    QueueStore::open(directory, options, Seconds::default()).unwrap()
}

fn hub() -> Identity {
    Identity::parse("gw/$edgeHub").unwrap()
}

fn name(route: usize) -> String {
    format!("r{route}")
}

fn text(row: &Row) -> Body {
    String::from_utf8(row.body.to_vec()).unwrap()
}

impl Scene {
    async fn new(share: u8) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Some(open(directory.path()));
        let readers = [(); 3].map(|()| Reader::new(share));
        let (parties, matched) = Default::default();
        let (now, generation, sent) = (clock::now(), 0, 0);
        let table = Arc::default();
        let mut scene = Scene {
            directory,
            store,
            table,
            readers,
            parties,
            share,
            now,
            generation,
            sent,
            matched,
        };
        scene.swap([Some((0, None, false)), None, None]).await;
        scene
    }

    fn store(&self) -> Arc<QueueStore> {
        Arc::clone(self.store.as_ref().unwrap())
    }

    async fn swap(&mut self, shapes: [Shape; ROUTES]) {
        let mut routes = serde_json::Map::new();
        for (number, shape) in shapes.into_iter().enumerate() {
            let Some((sink, priority, has_condition)) = shape else { continue };
            let condition = if has_condition { "WHERE IS_DEFINED(yes) " } else { "" };
            let mut route = json!({
                "route": format!("FROM /messages/* {condition}INTO {}", SINKS[sink]),
            });
            if let Some(priority) = priority {
                route["priority"] = priority.into();
            }
            routes.insert(name(number), route);
        }
        self.generation += 1;
        self.table = table(self.generation, &routes.into(), None);
        self.put_in_force().await;
    }

    async fn put_in_force(&self) {
        let routed = Routed::new(Arc::clone(&self.table), &hub());
        self.store().set_matcher(Arc::new(routed)).await.unwrap();
    }

    async fn ingest(&mut self, batch: &[(u8, bool)]) {
        let mut messages = Vec::new();
        for (sender, is_yes) in batch {
            self.sent += 1;
            let bag = if *is_yes { "yes=1" } else { "" };
            let message = telemetry(&format!("leaf{sender}"), bag, &self.sent.to_string());
            let message = incoming(message);
            for win in Routed::new(Arc::clone(&self.table), &hub()).winners(&message) {
                let at = READERS.iter().position(|name| **name == *win.endpoint.0).unwrap();
                let is_new = self.matched[at].insert((self.sent.to_string(), win.input));
                assert!(is_new, "one winner for each endpoint and input");
            }
            messages.push(message);
        }
        let done = self.store().ingest(messages).await.unwrap();
        for endpoint in done.endpoints {
            let at = READERS.iter().position(|name| **name == *endpoint.0).unwrap();
            self.tell(at, Delivery::on_stored);
        }
    }

    fn tell(&mut self, who: usize, input: impl FnOnce(&mut Delivery, Instant) -> Vec<Effect>) {
        let effects = input(&mut self.readers[who].delivery, self.now);
        self.readers[who].take(who, effects);
    }

    fn connect(&mut self, who: usize, is_up: bool) {
        if self.readers[who].is_connected == is_up {
            return;
        }
        self.readers[who].is_connected = is_up;
        if is_up {
            self.tell(who, Delivery::on_connected);
        } else {
            self.readers[who].wire.clear();
            self.readers[who].delivery.on_disconnected();
        }
    }

    fn load(&mut self, who: usize) {
        let Some(ask) = self.readers[who].load.take() else { return };
        let want = Want {
            from: &ask.from,
            max: ask.max,
            max_bytes: ask.max_bytes,
            without: &ask.without,
            live: ask.live,
        };
        let pulled = self.store().pull(&ask.endpoint, &want, None).unwrap();
        assert!(pulled.rest.is_none() && pulled.expired.is_empty() && pulled.damaged.is_empty());
        let Pulled { rows, read_to, paused, left_out, .. } = pulled;
        let loaded = Loaded { rows, read_to, paused, left_out };
        self.tell(who, |machine, now| machine.on_loaded(loaded, now));
    }

    fn arrive(&mut self, who: usize, choice: Choice) {
        let Some((row, attempt, low)) = self.readers[who].wire.pop_front() else { return };
        let party = &mut self.parties[who];
        let is_parent = who == 0;
        let came_before = match row.stamp {
            Some(stamp) => party.seen.has(stamp),
            None => false,
        };
        if came_before {
            // An answer that was lost; or the row would be lost now.
            let is_known = party.arrived.iter().any(|it| it.body == row.body);
            assert!(is_known, "{row:?} is taken for a copy of another, low {low:?}");
        }
        let choice = match choice {
            _ if came_before => Choice::Accept,
            _ if party.rejected.contains(&row.key) => Choice::Reject,
            _ if party.throttled.get(&row.sender) == Some(&attempt) => Choice::Throttle,
            Choice::Reject | Choice::Throttle if !is_parent => Choice::Accept,
            choice => choice,
        };
        match choice {
            Choice::Accept | Choice::AcceptUnheard => {
                let is_new = row
                    .stamp
                    .is_none_or(|stamp| party.seen.on_arrival(stamp, low.0, 0) == Arrival::New);
                if is_new {
                    party.arrived.push(row.clone());
                }
                if matches!(choice, Choice::AcceptUnheard) {
                    // Nothing that is behind it is answered on this connection either.
                    return self.connect(who, false);
                }
                self.tell(who, |machine, now| machine.on_answered(row.key, Answer::Accepted, now));
            }
            Choice::Reject => {
                party.rejected.insert(row.key);
                self.tell(who, |machine, now| machine.on_rejected(row.key, "400 no".into(), now));
            }
            Choice::Throttle => {
                party.throttled.insert(row.sender.clone(), attempt);
                let answer = Answer::Throttled(429);
                self.tell(who, |machine, now| machine.on_answered(row.key, answer, now));
            }
        }
    }

    async fn commit(&mut self, who: usize) {
        let ends = std::mem::take(&mut self.readers[who].ends);
        if ends.is_empty() {
            return;
        }
        for (key, how) in &ends {
            let party = &mut self.parties[who];
            if *how == End::Delivered {
                let came = party.arrived.iter().find(|row| row.key == *key).unwrap();
                party.delivered.insert((text(came), came.input.clone()));
            }
        }
        let endpoint = Endpoint(READERS[who].into());
        let keys = self.store().finish(endpoint, ends).await.unwrap();
        self.tell(who, |machine, now| machine.on_ended(&keys, now));
    }

    async fn restart(&mut self) {
        self.store = None;
        for who in 0..READERS.len() {
            self.connect(who, false);
            self.readers[who] = Reader::new(self.share);
            self.parties[who].throttled.clear(); // tries begin anew: so does the parent's memory
        }
        self.store = Some(open(self.directory.path()));
        self.put_in_force().await;
    }

    async fn pause(&mut self, route: usize, is_paused: bool) {
        self.store().set_paused(&name(route), is_paused).await.unwrap();
        (0..READERS.len()).for_each(|who| self.tell(who, Delivery::on_rewound));
    }

    /// As an operator is told to: what is on the wire has ended before.
    async fn discard(&mut self, who: usize, route: usize) {
        if !self.readers[who].wire.is_empty() || !self.readers[who].ends.is_empty() {
            return;
        }
        let endpoint = Endpoint(READERS[who].into());
        let pick = Pick { route: Some(name(route)), ..Pick::all(endpoint) };
        self.store().discard(pick, None).await.unwrap();
        self.tell(who, Delivery::on_rewound); // not needed; as if something else had asked for it
    }

    async fn settle(&mut self, fate: Fate, route: usize) {
        let pick = Pick { route: Some(name(route)), ..Pick::all(Endpoint::upstream()) };
        self.store().settle(pick, fate, None).await.unwrap();
        self.tell(0, Delivery::on_stored);
    }

    async fn play(&mut self, step: Step) {
        match step {
            Step::Ingest(batch) => self.ingest(&batch).await,
            Step::Swap(shapes) => self.swap(shapes).await,
            Step::Pause(route, is_paused) => self.pause(route, is_paused).await,
            Step::Connect(who, is_up) => self.connect(who, is_up),
            Step::Load(who) => self.load(who),
            Step::Arrive(who, choice) => self.arrive(who, choice),
            Step::Commit(who) => self.commit(who).await,
            Step::Restart => self.restart().await,
            Step::Discard(who, route) => self.discard(who, route).await,
            Step::Settle(fate, route) => self.settle(fate, route).await,
            Step::Wait => {
                self.now += Duration::from_secs(60);
                (0..READERS.len()).for_each(|who| self.tell(who, Delivery::on_wake));
            }
        }
        self.adds_up();
    }

    /// in = out + stored + named ends, for each account, and for each endpoint as seen from here.
    fn adds_up(&self) {
        assert_eq!(self.store().verify().unwrap(), [""; 0]);
        let status = self.store().status().unwrap();
        for (who, matched) in self.matched.iter().enumerate() {
            let own = status.accounts.iter().filter(|account| account.endpoint == READERS[who]);
            let received: u64 = own.map(|account| account.received).sum();
            assert_eq!(received, matched.len() as u64, "{}", READERS[who]);
        }
    }

    /// From now on all goes well; then everything is where it was counted.
    async fn end(&mut self) {
        for route in 0..ROUTES {
            self.pause(route, false).await;
        }
        for _ in 0..4 * self.sent + 20 {
            self.play(Step::Wait).await;
            for who in 0..READERS.len() {
                self.connect(who, true);
                self.load(who);
                while !self.readers[who].wire.is_empty() {
                    self.arrive(who, Choice::Accept);
                }
                self.commit(who).await;
            }
            if self.store().endpoints().unwrap().is_empty() {
                break;
            }
        }
        self.adds_up();
        let (store, status) = (self.store(), self.store().status().unwrap());
        for (who, party) in self.parties.iter().enumerate() {
            let endpoint = Endpoint(READERS[who].into());
            let letters = store.dead_letters(&Pick::all(endpoint), Offset(0), 9_999, true).unwrap();
            let dead: BTreeSet<_> = letters
                .into_iter()
                .map(|letter| (String::from_utf8(letter.body.unwrap()).unwrap(), None))
                .collect();
            let own = status.accounts.iter().filter(|account| account.endpoint == READERS[who]);
            let sum =
                |get: fn(&crate::store::queue::Counts) -> u64| own.clone().map(get).sum::<u64>();
            assert_eq!(sum(|account| account.stored), 0, "owed for ever: {status:?}");
            assert_eq!(sum(|account| account.ends[0]), party.delivered.len() as u64);
            assert_eq!(sum(|account| account.ends[2]), dead.len() as u64);
            let ended = party.delivered.union(&dead).count() as u64;
            assert_eq!(ended, (party.delivered.len() + dead.len()) as u64, "in two places");
            let left = self.matched[who].len() as u64 - ended;
            assert_eq!(sum(|account| account.ends[4]), left, "the rest was discarded");
            self.check_arrivals(who, party);
        }
    }

    fn check_arrivals(&self, who: usize, party: &Party) {
        let mut bodies: BTreeMap<_, usize> = BTreeMap::new();
        let mut last: BTreeMap<_, Key> = BTreeMap::new();
        for row in &party.arrived {
            let (key, sender) = (row.key, row.sender.clone());
            let place = (text(row), row.input.clone());
            assert!(self.matched[who].contains(&place), "never sent there: {row:?}");
            *bodies.entry(place).or_default() += 1;
            if who == 0 {
                let before = last.insert((sender, key.priority, Arc::clone(&row.route)), key);
                assert!(before < Some(key), "{row:?} came after {before:?}");
            }
        }
        // A module gets again what it had not acknowledged; the parent knows a copy.
        assert!(who != 0 || bodies.values().all(|count| *count == 1), "twice: {bodies:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn whatever_becomes_of_routes_every_message_is_where_it_is_counted(
        steps in prop::collection::vec(step(), 1..80),
        share in prop::sample::select(vec![0, 9]),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut scene = Scene::new(share).await;
            for step in steps {
                scene.play(step).await;
            }
            scene.end().await;
        });
    }
}
