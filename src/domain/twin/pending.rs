//! Reported patches that the parent has not got yet (link.md, last paragraph).
//!
//! Kept one by one, sent merged. When the parent refuses what was sent, it is split until the one
//! that it refuses is found; that one is dead-lettered and the others go on.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::merge::join;

/// Above this many the two oldest become one.
const MOST: usize = 64;

/// A patch that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patch {
    /// Increases.
    pub id: u64,
    /// JSON object.
    pub patch: Value,
}

/// The patches of one identity.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PendingPatches {
    last: u64,
    patches: Vec<Patch>,
    /// How many, from the front, are under way.
    #[serde(skip)]
    sending: usize,
    /// After a refusal: how many to send next.
    #[serde(skip)]
    at_most: Option<usize>,
}

/// What an answer of the parent means.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// These are at the parent: forget them.
    Done(Vec<u64>),
    /// This one will never be: it goes to the dead letters with the status.
    Refused(Patch, u16),
    /// Send again, fewer at once or later.
    Again,
}

impl PendingPatches {
    /// Adds a patch; answers its id.
    pub fn push(&mut self, patch: Value) -> u64 {
        self.last += 1;
        self.patches.push(Patch { id: self.last, patch });
        if self.patches.len() > MOST {
            // What is under way stays as it was sent.
            let at = self.sending;
            if self.patches.len() > at + 1 {
                let later = self.patches.remove(at + 1);
                join(&mut self.patches[at].patch, &later.patch);
            }
        }
        self.last
    }

    /// What to send now, merged; `None` if nothing waits or something is under way.
    pub fn next_to_send(&mut self) -> Option<Value> {
        if self.sending > 0 || self.patches.is_empty() {
            return None;
        }
        let count = self.at_most.unwrap_or(usize::MAX).clamp(1, self.patches.len());
        self.sending = count;
        let mut merged = self.patches[0].patch.clone();
        for later in &self.patches[1..count] {
            join(&mut merged, &later.patch);
        }
        Some(merged)
    }

    /// The parent answered what is under way.
    pub fn on_answer(&mut self, status: u16) -> Outcome {
        let count = std::mem::take(&mut self.sending);
        match status {
            200..=299 => {
                // The rest of what was split goes on in small parts until it is through.
                self.at_most = self.at_most.map(|most| most.saturating_mul(2));
                let done = self.patches.drain(..count).map(|patch| patch.id);
                Outcome::Done(done.collect())
            }
            400..=499 if status != 429 && status != 408 => {
                if count == 1 {
                    self.at_most = None;
                    return Outcome::Refused(self.patches.remove(0), status);
                }
                self.at_most = Some(count / 2);
                Outcome::Again
            }
            _ => Outcome::Again,
        }
    }

    /// No answer will come to what is under way.
    pub fn on_disconnected(&mut self) {
        self.sending = 0;
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.patches.len()
    }

    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        self.patches.is_empty()
    }

    /// Whether an answer is awaited.
    pub fn is_sending(&self) -> bool {
        self.sending > 0
    }

    /// All that wait, merged: what the local copy has and the parent has not.
    pub fn merged(&self) -> Option<Value> {
        let (first, rest) = self.patches.split_first()?;
        let mut merged = first.patch.clone();
        rest.iter().for_each(|later| join(&mut merged, &later.patch));
        Some(merged)
    }
}
