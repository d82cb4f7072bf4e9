//! Reported patches that the parent has not got yet, in order.

use std::collections::VecDeque;

use serde_json::{Map, Value};

use super::patch::{can_compose, compose};
use crate::domain::twin::merge_object;

/// Above so many, neighbours are put together.
const COALESCED_ABOVE: usize = 64;
/// So many are never kept: neighbours that cannot be put together (see `can_compose`).
const MAX: usize = 1_024;
/// Patches are put together up to the size that a parent takes: each of them was small enough.
const MAX_BYTES: usize = crate::domain::twin::limits::MAX_BYTES;

/// The patches of one identity.
#[derive(Debug, Default)]
pub struct Outbox {
    patches: VecDeque<Numbered>,
    /// Numbers below it were given.
    next: u64,
    /// How many the patch under way stands for.
    sending: usize,
    /// Most to be put together: fewer after a refusal, to find the one that is refused.
    limit: Option<usize>,
}

#[derive(Debug)]
struct Numbered {
    number: u64,
    /// Of the patch as JSON.
    bytes: usize,
    patch: Map<String, Value>,
}

/// What is to be sent: many patches in one.
#[derive(Clone, Debug, PartialEq)]
pub struct Sending {
    /// The last patch in it.
    pub up_to: u64,
    /// All of them.
    pub patch: Map<String, Value>,
}

/// What has come of a sending.
#[derive(Clone, Debug, PartialEq)]
pub enum Fate {
    /// The parent has these; they are to be deleted.
    Accepted(Vec<u64>),
    /// It will never take this one; it is to be kept as a dead letter.
    Refused(u64, Map<String, Value>),
    /// One of them is refused: send again, fewer at once.
    Split,
    /// Not now: try later.
    Later,
}

impl Outbox {
    /// As they were kept on disk.
    pub fn restore(&mut self, number: u64, patch: Map<String, Value>) {
        debug_assert!(number >= self.next, "in order of numbers");
        self.next = number + 1;
        self.patches.push_back(Numbered { number, bytes: size(&patch), patch });
    }

    /// Takes a new patch in and answers its number; `None`: too many.
    pub fn push(&mut self, patch: Map<String, Value>) -> Option<u64> {
        if self.patches.len() >= MAX {
            return None;
        }
        let number = self.next;
        self.restore(number, patch);
        Some(number)
    }

    /// Puts two neighbours together if there are many: the number that is gone, and the one that
    /// now stands for both.
    pub fn coalesce(&mut self) -> Option<(u64, u64, &Map<String, Value>)> {
        if self.patches.len() <= COALESCED_ABOVE {
            return None;
        }
        let pairs = self.sending..self.patches.len() - 1;
        let at = pairs.into_iter().find(|at| {
            let (first, second) = (&self.patches[*at], &self.patches[at + 1]);
            first.bytes + second.bytes <= MAX_BYTES && can_compose(&first.patch, &second.patch)
        })?;
        let mut first = self.patches.remove(at)?;
        let second = &mut self.patches[at];
        compose(&mut first.patch, &second.patch);
        second.patch = first.patch;
        second.bytes = size(&second.patch);
        Some((first.number, second.number, &second.patch))
    }

    /// The next to send, if none is under way: all that can be put together.
    pub fn send(&mut self) -> Option<Sending> {
        if self.sending > 0 {
            return None;
        }
        let mut patches = self.patches.iter();
        let first = patches.next()?;
        let mut sending = Sending { up_to: first.number, patch: first.patch.clone() };
        self.sending = 1;
        let mut bytes = first.bytes;
        for next in patches.take(self.limit.unwrap_or(usize::MAX) - 1) {
            bytes += next.bytes;
            if bytes > MAX_BYTES || !can_compose(&sending.patch, &next.patch) {
                break;
            }
            compose(&mut sending.patch, &next.patch);
            sending.up_to = next.number;
            self.sending += 1;
        }
        Some(sending)
    }

    /// The parent answered; no answer is 0.
    pub fn on_answered(&mut self, status: u16) -> Fate {
        let sent = std::mem::take(&mut self.sending);
        match status {
            200..=299 => {
                let sent = self.patches.drain(..sent).map(|patch| patch.number).collect();
                Fate::Accepted(sent)
            }
            400..=499 if status != 429 && status != 408 => {
                if sent > 1 {
                    self.limit = Some(sent / 2);
                    return Fate::Split;
                }
                self.limit = None;
                match self.patches.pop_front() {
                    Some(Numbered { number, patch, .. }) => Fate::Refused(number, patch),
                    None => Fate::Later,
                }
            }
            _ => Fate::Later,
        }
    }

    /// Numbers up to this one were given, and are not given again.
    pub fn go_on_after(&mut self, number: u64) {
        self.next = self.next.max(number + 1);
    }

    /// Whether it waits, by itself.
    pub fn has(&self, number: u64) -> bool {
        self.patches.iter().any(|patch| patch.number == number)
    }

    /// Of all patches.
    pub fn numbers(&self) -> impl Iterator<Item = u64> {
        self.patches.iter().map(|patch| patch.number)
    }

    /// How many the parent has not got.
    pub fn len(&self) -> usize {
        self.patches.len()
    }

    /// The parent has all.
    pub fn is_empty(&self) -> bool {
        self.patches.is_empty()
    }

    /// What the parent does not show yet.
    pub(super) fn overlay(&self, reported: &mut Map<String, Value>) {
        self.patches.iter().for_each(|pending| merge_object(reported, &pending.patch));
    }
}

fn size(patch: &Map<String, Value>) -> usize {
    serde_json::to_string(patch).map_or(usize::MAX / 2, |json| json.len())
}
