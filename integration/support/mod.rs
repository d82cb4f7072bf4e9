//! What the tests from outside the process share: the real programs, a service client, senders
//! and receivers on raw MQTT, and the count of what became of their messages.
//!
//! next: `world.rs`
#![allow(dead_code, unreachable_pub)] // each test takes what it needs
#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods)]

pub mod count;
pub mod gateway;
pub mod mqtt;
pub mod program;
pub mod receiver;
pub mod rest;
pub mod sender;
pub mod world;

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

/// A number out of the environment.
pub fn number(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) if !text.is_empty() => {
            text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number"))
        }
        _ => default,
    }
}

/// Small, seeded, good enough to pick moments.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}
