//! What the tests from outside the process share: the real programs, a service client, senders
//! and receivers on raw MQTT, and the count of what became of their messages.
//!
//! next: `world.rs`
#![allow(dead_code, unreachable_pub)] // each test takes what it needs
#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods)]

pub mod account;
pub mod count;
pub mod gateway;
pub mod mqtt;
pub mod pipe;
pub mod program;
pub mod proxy;
pub mod random;
pub mod receiver;
pub mod rest;
pub mod sender;
pub mod storage;
pub mod world;

#[allow(unused_imports)] // each test takes what it needs
pub use random::{Random, number};

use std::thread::sleep;
use std::time::{Duration, Instant};

/// Asks until there is an answer; ends the test with `what` if there is none in time.
#[track_caller]
pub fn wait_for<T>(what: &str, within: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited {within:?} in vain for {what}");
        sleep(Duration::from_millis(20));
    }
}
