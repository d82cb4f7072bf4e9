//! The lanes in backoff: senders whose rows the parent does not take for now.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::domain::backoff::Backoff;
use crate::domain::identity::Identity;
use crate::domain::row::Offset;

const BACKOFF: Backoff = Backoff { first: Duration::from_secs(1), max: Duration::from_secs(60) };

/// A sender without a lane here is sent as its rows come.
#[derive(Debug, Default)]
pub(super) struct Lanes(BTreeMap<Identity, Lane>);

#[derive(Debug)]
struct Lane {
    /// Refusals in a row; those of one burst count once.
    refusals: u32,
    /// `None`: the delay is over, and no row has ended since.
    until: Option<Instant>,
    /// The first offset to read again when the delay is over.
    unsent: Offset,
}

impl Lanes {
    /// Puts `sender` into backoff and answers until when; `None` if it was there already.
    pub(super) fn back_off(
        &mut self,
        sender: &Identity,
        offset: Offset,
        now: Instant,
    ) -> Option<Instant> {
        if self.hold(sender, offset) {
            return None;
        }
        let refusals = self.0.get(sender).map_or(0, |lane| lane.refusals);
        let until = now + BACKOFF.delay(refusals);
        let lane = Lane { refusals: refusals + 1, until: Some(until), unsent: offset };
        self.0.insert(sender.clone(), lane);
        Some(until)
    }

    /// Notes the row at `offset` as not sent if `sender` is in backoff, and answers whether it is.
    pub(super) fn hold(&mut self, sender: &Identity, offset: Offset) -> bool {
        let Some(lane) = self.0.get_mut(sender).filter(|lane| lane.until.is_some()) else {
            return false;
        };
        lane.unsent = lane.unsent.min(offset);
        true
    }

    /// Ends the delays that are over and answers from where to read again.
    ///
    /// A sender with rows in flight waits on: these may be refused too, and what is sent now
    /// would overtake them.
    pub(super) fn resume(
        &mut self,
        now: Instant,
        is_in_flight: impl Fn(&Identity) -> bool,
    ) -> Option<Offset> {
        let mut first = None;
        for (sender, lane) in &mut self.0 {
            let is_over = lane.until.is_some_and(|until| until <= now);
            if is_over && !is_in_flight(sender) {
                lane.until = None;
                first = first.into_iter().chain([lane.unsent]).min();
            }
        }
        first
    }

    /// A row of `sender` has ended: if its delay is over, the next refusal is a first one again.
    pub(super) fn close(&mut self, sender: &Identity) {
        if self.0.get(sender).is_some_and(|lane| lane.until.is_none()) {
            self.0.remove(sender);
        }
    }
}
