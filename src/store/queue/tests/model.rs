//! Random histories against a model that is a sorted map, with failures and restarts in them.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    /// For each message: sender, and for each endpoint the priority at which it goes there.
    Append(Vec<(u8, [Option<u8>; 3])>),
    /// Endpoint, most rows, sender left out.
    Pull(usize, usize, Option<u8>),
    /// Endpoint, which of the rows owed, how they end.
    Finish(usize, Vec<prop::sample::Index>, u8),
    /// The next commit is lost with its answer, before or after it was made.
    Fail(bool),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let place = || proptest::option::of(prop_oneof![Just(0u8), Just(4), Just(10)]);
    let message = (0..3u8, [place(), place(), place()]);
    let index = any::<prop::sample::Index>();
    prop_oneof![
        4 => prop::collection::vec(message, 0..5).prop_map(Step::Append),
        3 => (0..3usize, 1..6usize, proptest::option::of(0..3u8)).prop_map(|(e, m, w)| Step::Pull(e, m, w)),
        3 => (0..3usize, prop::collection::vec(index, 0..4), 0..6u8).prop_map(|(e, i, h)| Step::Finish(e, i, h)),
        1 => any::<bool>().prop_map(Step::Fail),
        1 => Just(Step::Reopen),
    ]
}

fn sender(n: u8) -> String {
    format!("sender{n}")
}

fn end(n: u8) -> End {
    let ends = [End::Delivered, End::Expired, End::DeadLettered { why: "why".into(), tries: 1 }];
    let more = [End::Evicted, End::Discarded, End::Quarantined];
    ends.into_iter().chain(more).nth(n.into()).unwrap()
}

#[derive(Clone, Default)]
struct Model {
    /// Messages stored; per endpoint, offsets given.
    messages: u64,
    offsets: [u64; 3],
    /// Per endpoint: sender and body of what is owed.
    rows: [BTreeMap<Key, (String, String)>; 3],
    received: u64,
    ends: [u64; 6],
}

impl Model {
    fn append(&mut self, batch: &[(u8, [Option<u8>; 3])]) {
        for (from, places) in batch.iter().filter(|(_, places)| *places != [None; 3]) {
            self.messages += 1;
            for (n, priority) in places.iter().enumerate() {
                let Some(priority) = priority else { continue };
                self.offsets[n] += 1;
                let key = Key { priority: Priority(*priority), offset: Offset(self.offsets[n]) };
                self.rows[n].insert(key, (sender(*from), format!("body {}", self.messages)));
                self.received += 1;
            }
        }
    }

    fn finish(&mut self, endpoint: usize, keys: &[Key], how: u8) {
        for key in keys {
            if self.rows[endpoint].remove(key).is_some() {
                self.ends[usize::from(how)] += 1;
            }
        }
    }
}

struct Subject {
    directory: tempfile::TempDir,
    clock: TestClock,
    store: Option<Arc<QueueStore>>,
    endpoints: [Endpoint; 3],
    /// A commit will be lost: was it made?
    failing: Option<bool>,
}

impl Subject {
    fn store(&mut self) -> Arc<QueueStore> {
        let store = self.store.get_or_insert_with(|| open(self.directory.path(), &self.clock));
        Arc::clone(store)
    }

    /// Whether an answer fits, and whether what was asked for was done.
    fn is_done<T>(&mut self, answer: Result<T, StoreError>) -> bool {
        match (self.failing.take(), answer) {
            (None, answer) => answer.is_ok() || panic!("it should have worked"),
            (Some(is_made), Err(StoreError::Unavailable)) => is_made,
            (Some(_), _) => panic!("it should have failed"),
        }
    }
}

async fn play(steps: Vec<Step>) {
    let (directory, clock) = (tempfile::tempdir().unwrap(), TestClock::default());
    let endpoints = [Endpoint::upstream(), client("d/m"), client("e")];
    let mut subject = Subject { directory, clock, store: None, endpoints, failing: None };
    let mut model = Model::default();
    subject.store().keep_lanes(true).await.unwrap();
    for step in steps {
        let store = subject.store();
        match step {
            Step::Append(batch) => {
                let mut after = model.clone();
                after.append(&batch);
                let mut next = model.messages;
                let batch = batch.iter().map(|(from, places)| {
                    next += u64::from(*places != [None; 3]);
                    let wins = subject.endpoints.iter().zip(places);
                    let wins = wins.filter_map(|(to, place)| place.map(|place| win(to, place)));
                    (message(&sender(*from), &format!("body {next}")), wins.collect())
                });
                let answer = store.append(batch.collect()).await;
                if subject.is_done(answer) {
                    model = after;
                }
            }
            Step::Pull(n, max, without) => {
                let left_out = without.map(sender);
                let expected =
                    model.rows[n].iter().filter(|(_, (from, _))| Some(from) != left_out.as_ref());
                let expected: Vec<_> = expected
                    .take(max)
                    .map(|(key, (from, body))| (*key, from.clone(), body.clone()))
                    .collect();
                let without: Vec<_> =
                    left_out.iter().map(|id| Identity::parse(id).unwrap()).collect();
                let from = Position::default();
                let want =
                    Want { from: &from, max, max_bytes: usize::MAX, without: &without, live: None };
                let pulled = store.pull(&subject.endpoints[n], &want, None).unwrap();
                let found: Vec<_> = pulled
                    .rows
                    .iter()
                    .map(|row| {
                        (
                            row.key,
                            row.sender.to_string(),
                            bodies(std::slice::from_ref(row))[0].to_string(),
                        )
                    })
                    .collect();
                assert_eq!(found, expected);
            }
            Step::Finish(n, which, how) => {
                let all: Vec<Key> = model.rows[n].keys().copied().collect();
                let keys: Vec<Key> =
                    which.iter().filter(|_| !all.is_empty()).map(|i| *i.get(&all)).collect();
                let ends = keys.iter().map(|key| (*key, end(how))).collect();
                let answer = store.finish(subject.endpoints[n].clone(), ends).await;
                if subject.is_done(answer) {
                    model.finish(n, &keys, how);
                }
            }
            Step::Fail(is_made) if subject.failing.is_none() => {
                let point =
                    if is_made { Planned::PanicAfterCommit } else { Planned::PanicBeforeCommit };
                store.writer.plan([point]);
                subject.failing = Some(is_made);
            }
            Step::Fail(_) => {}
            Step::Reopen => {
                drop(store);
                (subject.store, subject.failing) = (None, None);
                subject.store().keep_lanes(true).await.unwrap();
            }
        }
        let store = subject.store();
        adds_up(&store);
        let status = store.status().unwrap();
        assert_eq!(status.accounts.iter().map(|a| a.received).sum::<u64>(), model.received);
        for (n, count) in model.ends.iter().enumerate() {
            assert_eq!(status.accounts.iter().map(|a| a.ends[n]).sum::<u64>(), *count);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_queue_is_a_sorted_map_that_forgets_nothing(steps in prop::collection::vec(step(), 1..40)) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(play(steps));
    }
}
