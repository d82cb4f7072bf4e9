//! The edge runtime as a whole: what it is started from, who answers what, and its tree.

mod depot;
mod start;
mod wires;

pub use self::start::{recipe, run, store_directory};
