//! Local topics from outside: arbitrary MQTT topics between clients of the edge, on raw MQTT.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "local_topics/beside.rs"]
mod beside;
#[path = "local_topics/exchange.rs"]
mod exchange;
#[path = "local_topics/flood.rs"]
mod flood;
#[path = "local_topics/policy.rs"]
mod policy;
#[path = "local_topics/scene.rs"]
mod scene;
mod support;
