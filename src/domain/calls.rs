//! Direct methods under way: each ends once, in its answer or in 404 or 504, and is sent at most
//! once (link.md, method; spec edgehub 1.11).
//!
//! ```text
//!  invoke ─┬─ reachable ──► sent ──answer──► ended
//!          └─ waiting ──────►┘  ├──too late──► 504
//!                │              └──left, and not back in time──► 504
//!                └─ connect time-out ──► 404
//! ```
//!
//! A client whose connection ends may have the call already, and answers it on the next one: SDKs
//! connect anew for every token. So it is waited for a little, and no longer.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::identity::Identity;
use super::method::{Call, Outcome};

/// A client connects again at once, if it does at all; longer than that, its answer is lost.
const BACK: Duration = Duration::from_secs(3);

/// What the shell is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send the call to its target, with its number.
    Send(u64, Identity, Call),
    /// Tell the caller.
    End(u64, Outcome),
}

#[derive(Debug)]
struct Pending {
    target: Identity,
    call: Call,
    is_sent: bool,
    until: Instant,
    /// Its target has left: to be back by then.
    back_by: Option<Instant>,
}

impl Pending {
    fn deadline(&self) -> Instant {
        self.back_by.map_or(self.until, |back_by| back_by.min(self.until))
    }
}

/// See the module documentation.
#[derive(Debug, Default)]
pub struct Calls {
    last: u64,
    pending: BTreeMap<u64, Pending>,
}

impl Calls {
    /// Numbers calls from here on. Answers to calls of an earlier life may still come: no number
    /// is to be used twice.
    pub fn after(last: u64) -> Self {
        Calls { last, pending: BTreeMap::new() }
    }

    /// A new call. Answers its number and what to do.
    pub fn on_invoked(
        &mut self,
        target: Identity,
        call: Call,
        is_reachable: bool,
        now: Instant,
    ) -> (u64, Vec<Effect>) {
        self.last += 1;
        let number = self.last;
        let until = now + call.connect_timeout;
        let pending =
            Pending { target: target.clone(), call, is_sent: false, until, back_by: None };
        self.pending.insert(number, pending);
        let effects = if is_reachable { self.on_reachable(&target, now) } else { Vec::new() };
        let effects = if effects.is_empty() { self.on_time(now) } else { effects };
        (number, effects)
    }

    /// The target is connected and has subscribed to methods.
    pub fn on_reachable(&mut self, target: &Identity, now: Instant) -> Vec<Effect> {
        let waiting = self.pending.iter_mut();
        let waiting = waiting.filter(|(_, call)| !call.is_sent && call.target == *target);
        waiting
            .map(|(number, pending)| {
                pending.is_sent = true;
                pending.until = now + pending.call.response_timeout;
                Effect::Send(*number, target.clone(), pending.call.clone())
            })
            .collect()
    }

    /// The target is connected, with whatever subscriptions: it may answer again.
    pub fn on_back(&mut self, target: &Identity) {
        for pending in self.pending.values_mut().filter(|call| call.target == *target) {
            pending.back_by = None;
        }
    }

    /// The target has left.
    pub fn on_left(&mut self, target: &Identity, now: Instant) {
        let sent = self.pending.values_mut().filter(|call| call.is_sent && call.target == *target);
        sent.for_each(|pending| pending.back_by = Some(now + BACK));
    }

    /// The link to the target is lost: its answers are not given on another (link.md).
    pub fn on_link_lost(&mut self, target: &Identity, now: Instant) -> Vec<Effect> {
        let sent = self.pending.values_mut().filter(|call| call.is_sent && call.target == *target);
        sent.for_each(|pending| pending.back_by = Some(now));
        self.on_time(now)
    }

    /// An answer came. Only the target's own counts, and only the first.
    pub fn on_answered(&mut self, from: &Identity, number: u64, outcome: Outcome) -> Vec<Effect> {
        match self.pending.get(&number) {
            Some(pending) if pending.is_sent && pending.target == *from => {
                self.pending.remove(&number);
                vec![Effect::End(number, outcome)]
            }
            _ => Vec::new(),
        }
    }

    /// Time has passed.
    pub fn on_time(&mut self, now: Instant) -> Vec<Effect> {
        let over = self.pending.iter().filter(|(_, call)| call.deadline() <= now);
        let over: Vec<_> = over.map(|(number, call)| (*number, call.is_sent)).collect();
        over.into_iter()
            .map(|(number, was_sent)| {
                self.pending.remove(&number);
                let outcome = if was_sent { Outcome::TimedOut } else { Outcome::NotConnected };
                Effect::End(number, outcome)
            })
            .collect()
    }

    /// When `on_time` has something to do.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.pending.values().map(Pending::deadline).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "some time to count from")]
    fn some_time() -> Instant {
        Instant::now()
    }

    fn call(connect: u64) -> Call {
        Call {
            name: "reset".into(),
            payload: "null".into(),
            response_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(connect),
        }
    }

    fn target() -> Identity {
        Identity::parse("d/m").unwrap()
    }

    #[test]
    fn a_call_is_sent_once_and_ends_in_the_first_answer_of_its_target() {
        let (mut calls, now) = (Calls::default(), some_time());
        let (one, effects) = calls.on_invoked(target(), call(0), true, now);
        assert_eq!(effects, [Effect::Send(one, target(), call(0))]);
        assert_eq!(calls.on_reachable(&target(), now), []);
        let ok = Outcome::Answered(200, "{}".into());
        let stranger = Identity::parse("d/other").unwrap();
        assert_eq!(calls.on_answered(&stranger, one, ok.clone()), []);
        assert_eq!(calls.on_answered(&target(), one, ok.clone()), [Effect::End(one, ok.clone())]);
        assert_eq!(calls.on_answered(&target(), one, ok), []);
        assert_eq!(calls.next_deadline(), None);
    }

    #[test]
    fn a_target_that_leaves_has_a_little_time_to_come_back_and_answer() {
        let (mut calls, now) = (Calls::default(), some_time());
        let (one, _) = calls.on_invoked(target(), call(0), true, now);
        let (waiting, _) = calls.on_invoked(target(), call(20), false, now);
        calls.on_left(&target(), now);
        assert_eq!(calls.next_deadline(), Some(now + BACK));
        calls.on_back(&target());
        assert_eq!(calls.on_time(now + BACK), []);
        calls.on_left(&Identity::parse("d/other").unwrap(), now + BACK);
        calls.on_left(&target(), now + BACK);
        assert_eq!(calls.on_time(now + BACK * 2), [Effect::End(one, Outcome::TimedOut)]);
        let late = calls.on_answered(&target(), one, Outcome::Answered(200, "{}".into()));
        assert_eq!(late, []);
        assert_eq!(calls.next_deadline(), Some(now + Duration::from_secs(20)));
        let effects = calls.on_reachable(&target(), now + BACK * 2);
        assert_eq!(effects, [Effect::Send(waiting, target(), call(20))]);
    }

    #[test]
    fn what_went_over_a_link_that_is_lost_ends_with_it() {
        let (mut calls, now) = (Calls::after(7), some_time());
        let (eight, _) = calls.on_invoked(target(), call(0), true, now);
        let other = Identity::parse("d/other").unwrap();
        assert_eq!((eight, calls.on_link_lost(&other, now)), (8, vec![]));
        assert_eq!(calls.on_link_lost(&target(), now), [Effect::End(eight, Outcome::TimedOut)]);
    }

    #[test]
    fn a_target_that_is_not_there_is_waited_for_as_long_as_the_caller_says() {
        let (mut calls, now) = (Calls::default(), some_time());
        let (one, effects) = calls.on_invoked(target(), call(0), false, now);
        assert_eq!(effects, [Effect::End(one, Outcome::NotConnected)]);
        let (two, effects) = calls.on_invoked(target(), call(5), false, now);
        assert_eq!(effects, []);
        let later = now + Duration::from_secs(4);
        assert_eq!(calls.on_time(later), []);
        assert_eq!(calls.on_reachable(&target(), later), [Effect::Send(two, target(), call(5))]);
        let too_late = later + Duration::from_secs(30);
        assert_eq!(calls.on_time(too_late), [Effect::End(two, Outcome::TimedOut)]);
    }
}
