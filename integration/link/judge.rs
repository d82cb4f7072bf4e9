//! Holds what arrived against what was sent.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use edge_runtime::domain::iso8601;

use super::client::{Client, Log};
use super::service::Asked;
use crate::support::rest::Service;

/// The hub's telemetry by sender, numbers in order of arrival; read on from where it was.
#[derive(Default)]
pub struct Telemetry {
    next: u64,
    pub of: BTreeMap<String, Vec<u64>>,
    /// By sender and number, the time since 1970 at which the hub took it.
    taken: BTreeMap<(String, u64), Duration>,
}

impl Telemetry {
    pub fn read(&mut self, service: &Service) {
        while let Some((items, next)) = service.telemetry(self.next) {
            self.next = next;
            if items.is_empty() {
                return;
            }
            for item in items {
                let body = STANDARD.decode(item["body"].as_str().unwrap()).unwrap();
                let n = std::str::from_utf8(&body).unwrap().parse().unwrap();
                let device = item["deviceId"].as_str().unwrap().to_owned();
                let taken = iso8601::parse(item["enqueuedTime"].as_str().unwrap()).unwrap();
                self.taken.entry((device.clone(), n)).or_insert(taken);
                self.of.entry(device).or_default().push(n);
            }
        }
    }

    pub fn count(&self, id: &str) -> usize {
        self.of.get(id).map_or(0, Vec::len)
    }

    /// From the sending of a message to its arrival in the hub, of all of a client's.
    pub fn delays(&self, id: &str, log: &Log) -> impl Iterator<Item = Duration> {
        let numbered = (0..).zip(&log.sent_at);
        numbered.filter_map(|(n, sent)| {
            Some(self.taken.get(&(id.to_owned(), n))?.saturating_sub(*sent))
        })
    }

    /// Every message once and in order: 0, 1, 2, ….
    pub fn judge(&self, id: &str, log: &Log, wrong: &mut Vec<String>) {
        let arrived = self.of.get(id).map_or(&[][..], Vec::as_slice);
        if !arrived.iter().copied().eq(0..log.sent) {
            wrong.push(format!("{id}: sent 0..{}, at the hub {arrived:?}", log.sent));
        }
        if log.acked != log.sent {
            wrong.push(format!("{id}: sent {}, acknowledged {}", log.sent, log.acked));
        }
    }
}

/// Every reported patch was answered 204 and is in the hub's twin, the last one last.
pub fn judge_reported(client: &Client, service: &Service, wrong: &mut Vec<String>) {
    let id = &client.log_in.id;
    let twin = service.call("GET", &format!("/twins/{id}"), None);
    let (reported, log) = (&twin["properties"]["reported"], client.log.lock().unwrap());
    for patch in 0..log.patches {
        if log.answers.get(&patch) != Some(&204) {
            let status = log.answers.get(&patch);
            wrong.push(format!("{id}: patch {patch} was answered with {status:?}"));
        }
        if reported[format!("p{patch}")] != patch {
            wrong.push(format!("{id}: patch {patch} is not in the hub's twin: {reported}"));
        }
    }
    if log.patches > 0 && reported["last"] != log.patches - 1 {
        wrong.push(format!("{id}: the last of {} patches is not: {reported}", log.patches));
    }
}

/// What is still to come to a client from the hub.
pub fn is_served(log: &Log, messages: u64, patches: u64) -> bool {
    let is_there = |n: u64| log.desired.get(&format!("d{n}")).is_some_and(|it| *it == n);
    let last = log.devicebound.iter().max().map_or(0, |last| last + 1);
    last == messages && (0..patches).all(is_there)
}

/// Every cloud-to-device message once and in order.
pub fn judge_devicebound(id: &str, log: &Log, count: u64, wrong: &mut Vec<String>) {
    if !log.devicebound.iter().copied().eq(0..count) {
        wrong.push(format!("{id}: cloud-to-device 0..{count}, came {:?}", log.devicebound));
    }
}

/// Each call ran at most once, and once if it was answered. Answers calls by status.
pub fn judge_calls(clients: &[Client], asked: &Asked, wrong: &mut Vec<String>) -> [usize; 4] {
    let (mut counts, mut known) = ([0; 4], 0);
    for (call, (whose, status)) in &asked.calls {
        let runs = clients[*whose].log.lock().unwrap().runs.get(call).copied().unwrap_or(0);
        known += runs;
        match (status, runs) {
            (200, 1) => counts[0] += 1,
            (404, 0) => counts[1] += 1,
            (404, 1) => counts[2] += 1,
            (504, 0 | 1) => counts[3] += 1,
            _ => wrong.push(format!("call {call} ended with {status} and ran {runs} times")),
        }
    }
    let runs: u32 =
        clients.iter().map(|it| it.log.lock().unwrap().runs.values().sum::<u32>()).sum();
    if runs != known {
        wrong.push(format!("{runs} calls ran, {known} of them were asked for"));
    }
    counts
}
