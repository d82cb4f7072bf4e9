//! The link to the parent, decided: when to dial, what is asked, who is attached, which message
//! the parent cannot take. No socket, no clock: `now` and chance are given.
//!
//! next: `actors/hub/upstream/mod.rs`, which carries it out over `protocol/link/`.

pub mod attached;
pub mod line;
pub mod pairing;
pub mod poison;
pub mod requests;
pub mod settled;
pub mod silence;

pub use self::attached::Attached;
pub use self::line::{Line, Lost, Next};
pub use self::pairing::Pairing;
pub use self::poison::{Poison, Verdict};
pub use self::requests::Requests;
pub use self::settled::Settled;
pub use self::silence::Silence;
