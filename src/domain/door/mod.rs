//! Who stands at the door: sockets that were accepted and have not logged in.
//!
//! Nobody at one place can shut out those who come from another: room, turns and the log are
//! shared out by [`Place`].
//!
//! next: `actors/endpoint/doorkeeper.rs`, which holds the door

mod offences;
mod pace;
mod place;
mod strangers;
mod turns;

pub use self::offences::{Offences, Seen};
pub use self::pace::Pace;
pub use self::place::Place;
pub use self::strangers::{Arrival, Strangers};
pub use self::turns::Turns;
