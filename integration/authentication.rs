//! Who comes in by what, and for how long, from outside, with the real programs: at the hub itself
//! and at a gateway below it.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "authentication/certificates.rs"]
mod certificates;
#[path = "authentication/changes.rs"]
mod changes;
#[path = "authentication/house.rs"]
mod house;
#[path = "authentication/renewal.rs"]
mod renewal;
#[path = "authentication/rest.rs"]
mod rest;
mod support;
