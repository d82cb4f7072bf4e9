//! What comes from the hub's side: direct methods, cloud-to-device messages and desired patches,
//! to clients picked at random, over REST that no cut reaches.
//!
//! next: `client.rs`

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, sleep};
use std::time::Duration;

use serde_json::json;

use crate::support::Random;
use crate::support::rest::Service;

/// Calls at a time.
const CALLERS: u64 = 4;
const PAUSE: Duration = Duration::from_millis(15);

/// What was asked for.
#[derive(Default)]
pub struct Asked {
    /// By number of the call: whose, and 200, 404 or 504.
    pub calls: BTreeMap<u64, (usize, u16)>,
    /// By client, how many messages: 0, 1, ….
    pub devicebound: BTreeMap<usize, u64>,
    /// By client, how many patches: `d0`, `d1`, ….
    pub desired: BTreeMap<usize, u64>,
    pub wrong: Vec<String>,
}

/// See the module documentation.
pub struct Traffic {
    pub asked: Arc<Mutex<Asked>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Traffic {
    /// To the devices `ids`; which of them, `seed` says.
    pub fn start(service: &Service, ids: &[String], seed: u64) -> Self {
        let (asked, stop) = (Arc::<Mutex<Asked>>::default(), Arc::<AtomicBool>::default());
        let last = Arc::new(AtomicU64::new(0));
        let mut threads = Vec::new();
        for number in 0..CALLERS + 2 {
            let work = Work { service: service.clone(), ids: ids.to_vec(), asked: asked.clone() };
            let (stop, last) = (stop.clone(), last.clone());
            let mut random = Random::new(seed + number);
            threads.push(std::thread::spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    let whose = usize::try_from(random.below(work.ids.len() as u64)).unwrap();
                    match number {
                        0 => work.send(whose),
                        1 => work.desire(whose),
                        _ => work.call(whose, last.fetch_add(1, Ordering::SeqCst)),
                    }
                    sleep(PAUSE);
                }
            }));
        }
        Traffic { asked, stop, threads }
    }

    /// No more; waits for the calls under way.
    pub fn finish(self) -> Asked {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads {
            thread.join().unwrap();
        }
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

struct Work {
    service: Service,
    ids: Vec<String>,
    asked: Arc<Mutex<Asked>>,
}

impl Work {
    /// One thread does this, so that the numbers of a device go in their order.
    fn send(&self, whose: usize) {
        let n = self.asked.lock().unwrap().devicebound.get(&whose).copied().unwrap_or(0);
        let target = format!("/devices/{}/messages/devicebound", self.ids[whose]);
        match self.service.try_call("POST", &target, Some(&json!({ "n": n }))) {
            Ok((204, _)) => {
                self.asked.lock().unwrap().devicebound.insert(whose, n + 1);
            }
            Ok((403, _)) => {} // fifty wait for it already
            other => self.wrong(format!("{target}: {other:?}")),
        }
    }

    fn desire(&self, whose: usize) {
        let n = self.asked.lock().unwrap().desired.get(&whose).copied().unwrap_or(0);
        let target = format!("/twins/{}", self.ids[whose]);
        let patch = json!({ "properties": { "desired": { format!("d{n}"): n } } });
        match self.service.try_call("PATCH", &target, Some(&patch)) {
            Ok((200, _)) => {
                self.asked.lock().unwrap().desired.insert(whose, n + 1);
            }
            other => self.wrong(format!("{target}: {other:?}")),
        }
    }

    fn call(&self, whose: usize, call: u64) {
        let payload = json!({ "call": call });
        let target = format!("/twins/{}/methods", self.ids[whose]);
        let body =
            json!({ "methodName": "run", "responseTimeoutInSeconds": 5, "payload": payload });
        let status = match self.service.try_call("POST", &target, Some(&body)) {
            Ok((200, answer)) if answer["status"] == 200 && answer["payload"] == payload => 200,
            Ok((status @ (404 | 504), _)) => status,
            other => return self.wrong(format!("call {call}: {other:?}")),
        };
        self.asked.lock().unwrap().calls.insert(call, (whose, status));
    }

    fn wrong(&self, why: String) {
        self.asked.lock().unwrap().wrong.push(why);
    }
}
