//! Sample module.
fn main() {}
