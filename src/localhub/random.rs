//! Random bytes: keys, tokens.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom, SystemRandom};

use crate::domain::hex::hex;

/// A new symmetric key, base64 of 32 random bytes.
pub fn key() -> String {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).expect("the system gives random bytes");
    STANDARD.encode(bytes)
}

/// A token that may stand in a URL: 24 hex digits.
pub fn token() -> String {
    let mut bytes = [0; 12];
    SystemRandom::new().fill(&mut bytes).expect("the system gives random bytes");
    hex(&bytes)
}
