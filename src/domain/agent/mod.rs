//! EdgeAgent's decisions: what a deployment means, what differs from it, what to do about it.
//!
//! `manifest` reads the desired properties, `body` makes of a module what the engine is asked to
//! create, `plan` compares that with what the engine has, `restarts` says when to try again,
//! `reported` tells the hub. next: `manifest/mod.rs`, then `actors/agent/deployment.rs`.

pub mod body;
pub mod create_options;
pub mod daemon_api;
pub mod diff;
pub mod fields;
pub mod fit;
pub mod garbage;
pub mod gateway;
pub mod identities;
pub mod image;
pub mod image_rules;
pub mod last_good;
pub mod layers;
pub mod manifest;
pub mod methods;
pub mod names;
pub mod observed;
pub mod plan;
pub mod preview;
pub mod protocol;
pub mod redact;
pub mod reported;
pub mod restarts;
pub mod state;
pub mod when;
pub mod words;
