//! Local topics: arbitrary MQTT topics between the clients of this device, beside IoT Hub's.
//!
//! `filter.rs` says which topics they are, `policy/` who may use which, `tree.rs` who gets what;
//! `exchange.rs` is the machine that brings messages from one client to the others through a
//! router that carries references. All of it is in memory: nothing here outlives the process.

pub mod exchange;
pub mod filter;
pub mod outbox;
pub mod policy;
pub mod retained;
pub mod tree;

use std::sync::Arc;

use bytes::Bytes;

/// What a client published on a local topic.
#[derive(Clone, PartialEq, Eq)]
pub struct LocalMessage {
    /// Checked by [`filter::check`].
    pub topic: String,
    /// Body. Never logged.
    pub body: Bytes,
    /// Published with `QoS` 1.
    pub is_at_least_once: bool,
    /// To be kept for those who subscribe later; an empty body ends what is kept.
    pub retain: bool,
}

impl std::fmt::Debug for LocalMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, {} bytes", self.topic, self.body.len())
    }
}

impl LocalMessage {
    /// What one costs beside its body: itself, and its places in tables.
    const OVERHEAD: usize = 256;

    /// Memory that it is counted with.
    pub fn cost(&self) -> usize {
        self.topic.len() + self.body.len() + Self::OVERHEAD
    }
}

/// A message on its way to one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// What.
    pub message: Arc<LocalMessage>,
    /// With `QoS` 1: it was published so, and the subscription asks for it.
    pub is_at_least_once: bool,
    /// It was kept, and comes because of a new subscription.
    pub is_retained: bool,
}
