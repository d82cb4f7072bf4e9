//! What the delivery of an endpoint's rows is told, and what it wants done.

use std::time::Instant;

use super::Position;
use crate::domain::identity::Identity;
use crate::domain::row::{End, Key, Offset, Row};

/// What the endpoint answered to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It has it on disk.
    Accepted,
    /// It will never take this row.
    Rejected(u16),
    /// It takes nothing from this sender for now.
    Throttled(u16),
}

impl Answer {
    /// The meaning of a `refused/{status}`. An unknown status must not hold up a lane for ever.
    pub fn of_refusal(status: u16) -> Self {
        match status {
            429 | 500..=599 => Answer::Throttled(status),
            _ => Answer::Rejected(status),
        }
    }
}

/// What the store answers to a `Load`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Rows to send, in order.
    pub rows: Vec<Row>,
    /// What was not given out up to here is left out on purpose, or not there.
    pub read_to: Offset,
    /// The lowest offset that was left out because its route is paused: it is still owed.
    pub paused: Option<Offset>,
    /// How many were left out.
    pub left_out: usize,
}

impl From<Vec<Row>> for Loaded {
    fn from(rows: Vec<Row>) -> Self {
        Loaded { rows, ..Loaded::default() }
    }
}

/// What the shell is to do next, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Read rows, and call `on_loaded`.
    Load {
        /// Where to begin.
        from: Position,
        /// Free slots in the window.
        max: usize,
        /// Free bytes in the window; one row is read in any case.
        max_bytes: usize,
        /// Senders whose rows are left out.
        without: Vec<Identity>,
        /// Only rows of senders that owe nothing up to here.
        live: Option<Offset>,
    },
    /// Send the row to the endpoint.
    Publish {
        /// What.
        row: Row,
        /// Which try of this sender: `$.try` of link.md.
        attempt: u64,
        /// The lowest offset that is still owed: `$.low`.
        low: Offset,
    },
    /// Record the end of a row and delete it, and call `on_ended`. Many may share a transaction.
    End {
        /// Which row.
        key: Key,
        /// Its named end.
        how: End,
    },
    /// Call `on_wake` at this time.
    WakeAt(Instant),
}
