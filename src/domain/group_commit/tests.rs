//! Driven time: whatever comes, who waits how long, and in how many transactions it is written.

use super::*;

const MS: Duration = Duration::from_millis(1);

fn micros(n: u64) -> Duration {
    Duration::from_micros(n)
}

#[expect(clippy::disallowed_methods, reason = "some instant to count from")]
fn zero() -> Instant {
    Instant::now()
}

/// A writer whose transactions take `cost`, with driven time.
struct Bench {
    group: GroupCommit,
    now: Instant,
    /// Until then a transaction is written.
    busy: Instant,
    cost: Duration,
    waiting: Waiting,
    /// When the appends that wait came.
    came: Vec<Instant>,
    /// Appends of each transaction, …
    written: Vec<usize>,
    /// … how long each append waited for its beginning,
    delays: Vec<Duration>,
    /// … and each of the ends for which nothing came before.
    ends: Vec<Duration>,
}

impl Bench {
    fn new() -> Self {
        let (now, cost) = (zero(), micros(300));
        let (written, delays, ends, came) = Default::default();
        let group = GroupCommit::new(Window::default());
        let waiting = Waiting::default();
        Bench { group, now, busy: now, cost, waiting, came, written, delays, ends }
    }

    /// Time goes on; answers whether a transaction began, and how many appends it has.
    fn go_on(&mut self, until: Instant) -> Option<usize> {
        let from = self.now.max(self.busy);
        let at = match self.group.on_wait(&self.waiting, from) {
            Begin::Now => from,
            Begin::At(at) => at,
            Begin::Never => until,
        };
        if at >= until || from >= until {
            self.now = until;
            return None;
        }
        self.now = at;
        if self.group.on_wait(&self.waiting, at) != Begin::Now {
            return self.go_on(until); // it is put off
        }
        self.group.on_begun(self.waiting.appends, at);
        self.busy = at + self.cost;
        self.delays.extend(self.came.drain(..).map(|came| at - came));
        self.ends.extend(self.waiting.ends_since.map(|since| at - since));
        self.written.push(self.waiting.appends);
        Some(std::mem::take(&mut self.waiting).appends)
    }

    fn go_on_to(&mut self, until: Instant) {
        while self.now < until {
            self.go_on(until);
        }
    }

    fn append(&mut self, count: usize) {
        self.waiting.appends += count;
        self.came.extend(std::iter::repeat_n(self.now, count));
    }

    fn end(&mut self, count: usize) {
        self.waiting.ends += count;
        self.waiting.ends_since.get_or_insert(self.now);
    }

    /// One append each `gap`, `count` of them.
    fn steadily(&mut self, gap: Duration, count: usize) {
        for _ in 0..count {
            self.append(1);
            self.go_on_to(self.now + gap);
        }
        self.go_on_to(self.now + 10 * MS);
    }

    /// Clients that send `window` at a time, `latency` after the commit of those before.
    fn in_turns(&mut self, window: usize, latency: Duration, turns: usize) -> Duration {
        let begin = self.now;
        for _ in 0..turns {
            self.append(window);
            while self.go_on(self.now + 100 * MS).is_none() {}
            self.go_on_to(self.busy + latency);
        }
        self.now - begin
    }

    fn longest(&self) -> Duration {
        self.delays.iter().max().copied().unwrap_or_default()
    }
}

#[test]
fn a_lonely_message_is_written_at_once() {
    let mut bench = Bench::new();
    bench.steadily(5 * MS, 200);
    assert_eq!(bench.longest(), Duration::ZERO);
    assert_eq!(bench.written.len(), 200);
}

#[test]
fn messages_that_come_now_and_then_wait_for_the_first_pause_at_most() {
    let mut bench = Bench::new();
    bench.steadily(micros(350), 1_000);
    assert!(bench.longest() <= micros(500), "{:?}", bench.longest());
}

#[test]
fn where_many_come_steadily_one_transaction_takes_them_for_the_longest_time_and_no_longer() {
    let mut bench = Bench::new();
    bench.steadily(micros(100), 10_000);
    assert!(bench.longest() <= MS, "{:?}", bench.longest());
    assert!(bench.written.len() <= 1_010, "{} transactions in a second", bench.written.len());
}

#[test]
fn much_weight_is_written_at_once() {
    let mut bench = Bench::new();
    bench.append(1);
    bench.go_on(bench.now + MS);
    bench.append(32);
    let came = bench.now;
    assert_eq!(bench.go_on(came + MS), Some(32));
    assert_eq!(bench.now, came + bench.cost, "as soon as the one before it is written");
}

#[test]
fn clients_that_wait_for_their_pubacks_are_not_kept_waiting_for_what_does_not_come() {
    let mut bench = Bench::new();
    let took = bench.in_turns(10, micros(100), 1_000);
    assert!(took < micros(500) * 1_020, "{took:?}: a pause each, but for a try now and then");
    assert_eq!(bench.written.iter().sum::<usize>(), 10_000);
}

#[test]
fn ends_go_with_the_next_appends() {
    let mut bench = Bench::new();
    for _ in 0..1_000 {
        bench.append(100);
        bench.go_on_to(bench.now + micros(400)); // written; the module acknowledges them
        bench.end(100);
        bench.go_on_to(bench.now + micros(200));
    }
    assert!(bench.written.len() <= 1_001, "{} transactions", bench.written.len());
}

#[test]
fn ends_wait_for_appends_only_so_long_and_so_many_and_not_if_none_came_lately() {
    let mut bench = Bench::new();
    bench.append(1);
    bench.go_on_to(bench.now + MS);
    bench.end(1);
    bench.go_on_to(bench.now + 20 * MS);
    bench.end(1);
    bench.go_on_to(bench.now + 20 * MS);
    assert_eq!(bench.ends, [2 * MS, Duration::ZERO]);
    bench.append(1);
    bench.go_on_to(bench.now + MS);
    bench.end(512);
    bench.go_on_to(bench.now + MS);
    assert_eq!(bench.ends.last(), Some(&Duration::ZERO));
}

#[test]
fn what_is_vital_waits_for_the_first_pause_and_takes_along_whatever_waits() {
    let mut bench = Bench::new();
    bench.append(5);
    bench.go_on(bench.now + MS);
    let begun = bench.now;
    bench.append(5);
    bench.end(5);
    bench.waiting.vital = 1;
    bench.go_on(begun + 10 * MS);
    assert_eq!((bench.now, bench.waiting), (begun + micros(500), Waiting::default()));
}

#[test]
fn what_is_written_elsewhere_begins_at_once() {
    let mut bench = Bench::new();
    bench.append(1);
    bench.go_on(bench.now + MS);
    bench.append(1);
    assert_ne!(bench.group.begin(&bench.waiting, bench.now), Begin::Now);
    bench.group.on_exchanged();
    assert_eq!(bench.group.begin(&bench.waiting, bench.now), Begin::Now);
}
