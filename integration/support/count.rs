//! What became of the messages of a sender: lost, doubled, out of order; and the runtime's own
//! account of them.

use std::collections::HashSet;

use serde_json::Value;

use super::sender::Sent;

/// One message where it came out.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// Message.
    pub n: u64,
    /// It says itself that it may be a second copy.
    pub dup: bool,
}

impl Arrival {
    pub fn of(body: &[u8], dup: bool) -> Self {
        let text = std::str::from_utf8(body).unwrap();
        Arrival { n: text.trim_end().parse().unwrap_or_else(|_| panic!("not ours: {text}")), dup }
    }
}

/// Of one or more senders.
#[derive(Clone, Debug, Default)]
pub struct Count {
    pub acked: usize,
    /// Acknowledged, and never arrived.
    pub lost: usize,
    /// Arrived twice, without a word that it may.
    pub duplicated: usize,
    /// Arrived after a later one of its sender.
    pub reordered: usize,
    /// Acknowledgements out of order.
    pub wrong_acks: usize,
    /// Arrived, but was never sent.
    pub invented: usize,
    /// The first of each kind, for people.
    pub examples: Vec<String>,
}

impl Count {
    pub fn is_clean(&self) -> bool {
        let Count { lost, duplicated, reordered, wrong_acks, invented, .. } = self;
        lost + duplicated + reordered + wrong_acks + invented == 0
    }

    /// Adds what came of one sender.
    pub fn add(&mut self, id: &str, sent: &Sent, arrived: &[Arrival]) {
        let (mut seen, mut latest) = (HashSet::new(), None);
        for Arrival { n, dup } in arrived.iter().copied() {
            if usize::try_from(n).unwrap() >= sent.acked.len() {
                self.invented += 1;
                self.example(format!("{id}: message {n} was never sent"));
            }
            if !seen.insert(n) {
                if !dup {
                    self.duplicated += 1;
                    self.example(format!("{id}: message {n} came twice"));
                }
                continue;
            }
            if latest.is_some_and(|latest| n < latest) {
                self.reordered += 1;
                self.example(format!("{id}: message {n} came after {latest:?}"));
            }
            latest = latest.max(Some(n));
        }
        for (n, _) in sent.acked.iter().enumerate().filter(|(_, is_acked)| **is_acked) {
            self.acked += 1;
            if !seen.contains(&(n as u64)) {
                self.lost += 1;
                self.example(format!("{id}: message {n} was acknowledged and never came"));
            }
        }
        self.wrong_acks += sent.wrong.len();
        self.examples.extend(sent.wrong.first().map(|wrong| format!("{id}: {wrong}")));
    }

    fn example(&mut self, text: String) {
        if self.examples.len() < 10 {
            self.examples.push(text);
        }
    }
}

/// The queue's own account (`/status`): received = stored + named ends, per route; what is wrong.
pub fn broken_account(queue: &Value) -> Vec<String> {
    let number = |value: &Value, name: &str| value[name].as_u64().unwrap_or(u64::MAX);
    let mut wrong = Vec::new();
    for route in queue["routes"].as_array().into_iter().flatten() {
        let ends = ["delivered", "expired", "dead_lettered", "evicted", "discarded", "quarantined"];
        let ended: u64 = ends.iter().map(|end| number(route, end)).sum();
        if number(route, "received") != number(route, "stored") + ended {
            wrong.push(format!("received is not stored and ends together: {route}"));
        }
    }
    wrong
}

/// One figure of the account over all routes: `delivered`, `stored`, …
pub fn total(queue: &Value, name: &str) -> u64 {
    let routes = queue["routes"].as_array().into_iter().flatten();
    routes.map(|route| route[name].as_u64().unwrap_or(0)).sum()
}
