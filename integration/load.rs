//! Limits under load, from outside: many TLS clients at once; clients that are slow, dead, or
//! mean; and that the others do not notice.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "load/crowd.rs"]
mod crowd;
#[path = "load/door.rs"]
mod door;
#[path = "load/files.rs"]
mod files;
#[path = "load/flood.rs"]
mod flood;
#[path = "load/gauge.rs"]
mod gauge;
#[path = "load/many.rs"]
mod many;
#[path = "load/slow.rs"]
mod slow;
mod support;
