//! What the `queue` answers to an operator: dead letters, backlogs to discard, routes to pause.

use std::collections::BTreeMap;

use actix::Message;
use serde::{Deserialize, Serialize};

use super::state::StoreError;
use crate::domain::row::{Endpoint, Offset};

/// Which dead letters, or rows, of an endpoint are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pick {
    /// Whose.
    pub endpoint: Endpoint,
    /// Only of this route.
    pub route: Option<String>,
    /// Only these; `None`: all.
    pub offsets: Option<Vec<Offset>>,
}

impl Pick {
    /// All of an endpoint.
    pub fn all(endpoint: Endpoint) -> Self {
        Pick { endpoint, route: None, offsets: None }
    }

    /// Whether this offset is meant.
    pub fn has(&self, offset: Offset) -> bool {
        self.offsets.as_ref().is_none_or(|offsets| offsets.contains(&offset))
    }
}

/// Dead letters in order, `max` at most, after an offset.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Vec<Letter>, StoreError>")]
pub struct ReadDeadLetters {
    /// Which.
    pub pick: Pick,
    /// Those with a higher offset.
    pub after: Offset,
    /// Most.
    pub max: usize,
    /// With their messages.
    pub is_whole: bool,
}

/// A message that an endpoint will never take.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// `$upstream` or `device/module`.
    pub endpoint: String,
    /// Of the message: `edgectl trace` takes it.
    pub id: String,
    /// Its place in the endpoint's queue, and its name.
    pub offset: u64,
    /// Of its row.
    pub priority: u8,
    /// The route that owed it.
    pub route: String,
    /// The input of the module, if the endpoint is one.
    pub input: Option<String>,
    /// Who sent it.
    pub sender: String,
    /// Of properties and body.
    pub bytes: u64,
    /// What the endpoint said.
    pub why: String,
    /// How often it was sent, as far as is known.
    pub tries: u32,
    /// Since it was refused, in seconds of store time.
    pub age_seconds: u64,
    /// From its storing to its refusal.
    pub waited_seconds: u64,
}

/// A dead letter, with its message if that was asked for.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Letter {
    /// What is known of it.
    pub known: DeadLetter,
    /// By name in the topic.
    pub properties: BTreeMap<String, String>,
    /// `None`: it was not asked for, or is damaged.
    pub body: Option<Vec<u8>>,
}

/// Bodies are never logged.
impl std::fmt::Debug for Letter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.known)
    }
}

/// Does something to many dead letters, or rows: those that are there when it begins. Answers
/// once all of it is on disk; if it is broken off, some of it is.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Progress, StoreError>")]
pub struct Settle {
    /// To which.
    pub pick: Pick,
    /// What.
    pub how: How,
}

/// See [`Settle`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Dead letters are owed again.
    Replay,
    /// Dead letters are discarded.
    Drop,
    /// Rows that are owed are discarded.
    Discard,
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// How many.
    pub messages: u64,
    /// Of their properties and bodies.
    pub bytes: u64,
}

/// What is stored for the route is not sent from now on, or is again; also after a restart.
/// Answers once that is so.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<(), StoreError>")]
pub struct Pause {
    /// Its name.
    pub route: String,
    /// `false`: it goes on.
    pub is_paused: bool,
}
