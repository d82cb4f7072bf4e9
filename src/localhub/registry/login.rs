//! Who comes in.
