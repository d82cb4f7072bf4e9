//! When work that the device refused is tried again: per kind, later each time.

use std::time::{Duration, Instant};

use super::Kind;
use crate::domain::backoff::Backoff;

const RETRY: Backoff = Backoff { first: Duration::from_millis(100), max: Duration::from_secs(5) };

#[derive(Debug, Default)]
pub(super) struct Holds {
    vital: Option<Hold>,
    appends: Option<Hold>,
}

#[derive(Clone, Copy, Debug)]
struct Hold {
    until: Instant,
    refusals: u32,
}

impl Holds {
    fn of(&mut self, kind: Kind) -> &mut Option<Hold> {
        match kind {
            Kind::Vital | Kind::End => &mut self.vital,
            Kind::Append => &mut self.appends,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.vital.is_none() && self.appends.is_none()
    }

    /// The device refused this kind; answers for how long it is held.
    pub(super) fn hold(&mut self, kind: Kind, now: Instant) -> Duration {
        let hold = self.of(kind);
        let refusals = hold.map_or(0, |hold| hold.refusals);
        let delay = RETRY.delay(refusals);
        *hold = Some(Hold { until: now + delay, refusals: refusals + 1 });
        delay
    }

    /// The device took work of this kind. After vital work there may be room for appends: they
    /// need not wait for long then.
    pub(super) fn clear(&mut self, kind: Kind, now: Instant) {
        *self.of(kind) = None;
        if let Some(appends) = &mut self.appends {
            appends.until = appends.until.min(now + RETRY.first);
        }
    }

    pub(super) fn is_held(&self, kind: Kind, now: Instant) -> bool {
        let hold = match kind {
            Kind::Vital | Kind::End => self.vital,
            Kind::Append => self.appends,
        };
        hold.is_some_and(|hold| now < hold.until)
    }

    /// The next time that a hold ends.
    pub(super) fn next(&self, now: Instant) -> Option<Instant> {
        let holds = [self.vital, self.appends].into_iter().flatten();
        holds.map(|hold| hold.until).filter(|until| now < *until).min()
    }
}
