//! Which priority is read next: strict order, in which a lower priority may wait for ever; or, as
//! a setting, with a share that each priority has in any case.
//!
//! With a share of s per cent, rows are sent in cycles of at most N = 100 / s: first N - 10 in
//! strict order, then a round with one of each priority below 0 that has any. So of a priority
//! that has rows to send, at least one in N goes in the long run, and between two of them go at
//! most N + 8 of others.

use super::position::{LAST, Position};
use crate::domain::row::Priority;

/// The most that each of eleven priorities can have: per cent.
pub const MOST_SHARE: u8 = 9;

/// What each priority has in any case, in per cent; 0: nothing, the order is strict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share(u8);

impl Share {
    /// Strict order.
    pub const NONE: Share = Share(0);

    /// `None`: more than there is for eleven priorities.
    pub fn of_percent(percent: u8) -> Option<Self> {
        (percent <= MOST_SHARE).then_some(Share(percent))
    }

    /// N of the module documentation.
    pub(super) fn cycle(self) -> Option<usize> {
        100_usize.checked_div(self.0.into())
    }
}

#[derive(Debug)]
pub(super) struct Turns {
    /// Rows in strict order between two rounds; `None`: there are no rounds.
    strict: Option<usize>,
    /// Rows sent in strict order since the last round.
    sent: usize,
    /// In a round: it is the turn of the priorities below this one.
    round: Option<Priority>,
}

impl Turns {
    pub(super) fn new(share: Share) -> Self {
        let strict = share.cycle().map(|cycle| cycle - usize::from(LAST.0));
        Turns { strict, sent: 0, round: None }
    }

    /// What is read next is one row of a round.
    pub(super) fn is_turn(&self) -> bool {
        self.round.is_some()
    }

    /// From where to read, and how many rows at most.
    pub(super) fn next(&mut self, position: &Position, max: usize) -> (Position, usize) {
        let Some(strict) = self.strict else { return (position.clone(), max) };
        if self.round.is_none() && self.sent >= strict {
            self.round = Some(Priority(0));
        }
        match self.round {
            Some(above) => (position.below(above), max.min(1)),
            None => (position.clone(), max.min(strict - self.sent)),
        }
    }

    /// What `next` said was read. If there was nothing the round, if there is one, is over.
    pub(super) fn on_read(&mut self, is_nothing: bool) {
        if self.round.is_some() && is_nothing {
            self.end_round();
        }
    }

    /// A row that was read was sent.
    pub(super) fn on_sent(&mut self, priority: Priority) {
        match &mut self.round {
            Some(above) if priority < LAST => *above = priority,
            Some(_) => self.end_round(),
            None => self.sent = self.sent.saturating_add(1),
        }
    }

    fn end_round(&mut self) {
        self.round = None;
        self.sent = 0;
    }
}
