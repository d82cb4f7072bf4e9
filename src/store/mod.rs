//! Remembers: the only code that names heed (LMDB).
//!
//! An [`Environment`] is opened once per process by `bin`, which hands `Arc<Kv>` and the queue to
//! the actors: they may be rebuilt at any time, the environment is not. Each environment has one
//! [`writer`] thread, which commits what waits in one transaction; reads are short transactions
//! on the thread that asks. LMDB checks nothing of what it reads, so every [`value`] does.
//!
//! ```text
//!  actor ──submit──► inbox ──► writer thread: run all in ONE transaction, fsync ──► answers
//!    └────fetch, scan, pull────► short read transaction
//! ```

mod birth;
mod clock;
pub mod copy;
mod env;
mod fault;
mod kv;
pub mod live_copy;
mod look;
pub mod queue;
mod raw;
pub mod salvage;
mod space;
mod table;
#[cfg(test)]
mod tests;
pub mod value;
pub mod vault;
mod wait;
mod watch;
pub mod writer;

pub use self::clock::{Clock, SystemClock};
pub use self::env::{
    Environment, Migration, OpenError, Options, QUEUE_MAP_SIZE, STATE_MAP_SIZE, StoreId,
};
pub use self::fault::Fault;
pub use self::kv::Kv;
pub use self::look::inspect;
pub use self::queue::QueueStore;
pub use self::writer::{Kind, Writer, WriterState};
