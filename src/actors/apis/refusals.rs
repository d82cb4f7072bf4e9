//! Keeps those who are refused again and again from filling the audit log, as at the doors of
//! MQTT and HTTPS: 50 lines for each of them in 10 s, and then one for all that were left out.

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::time::Duration;

use crate::actors::clock;
use crate::domain::door::Offences;

/// How often what was left out is told.
const SWEEP: Duration = Duration::from_secs(5);

/// See the module documentation. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Refusals(Rc<RefCell<Known>>);

#[derive(Debug, Default)]
struct Known {
    seen: Offences<String>,
    is_sweeping: bool,
}

impl Refusals {
    /// One more of `who`; whether the log is to have a line for it.
    pub(super) fn is_said(&self, who: &str) -> bool {
        let mut known = self.0.borrow_mut();
        if !std::mem::replace(&mut known.is_sweeping, true) {
            actix::spawn(sweep(Rc::downgrade(&self.0)));
        }
        known.seen.count(&who.to_owned(), clock::now()).is_said()
    }
}

/// For as long as there is something to be counted.
async fn sweep(known: Weak<RefCell<Known>>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let Some(known) = known.upgrade() else { return };
        let mut known = known.borrow_mut();
        for (who, left_out) in known.seen.sweep(clock::now()) {
            let who = who.as_deref().unwrap_or("others");
            tracing::warn!(target: "audit", who, left_out, "more was refused than is in the log");
        }
        known.is_sweeping = !known.seen.is_empty();
        if !known.is_sweeping {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix::test]
    async fn of_each_there_are_fifty_lines_in_a_span_and_then_it_begins_anew() {
        tokio::time::pause();
        let refusals = Refusals::default();
        let said = |who: &str| (0..500).filter(|_| refusals.is_said(who)).count();
        assert_eq!((said("a"), said("b")), (50, 50));
        tokio::time::sleep(Duration::from_secs(16)).await;
        assert!(refusals.0.borrow().seen.is_empty() && !refusals.0.borrow().is_sweeping);
        assert_eq!(said("a"), 50);
    }
}
