//! Requests on the link: numbered, bounded in flight, asked again when no answer comes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

/// An answer that did not come for so long is asked for again.
const AGAIN: Duration = Duration::from_secs(10);
/// After so many times nobody waits any more.
const TRIES: u32 = 3;
/// So many are on the wire at once.
const IN_FLIGHT: usize = 256;

/// The requests of one connection. `T` is what is asked, and who waits for the answer.
#[derive(Debug)]
pub struct Requests<T> {
    next: u64,
    waiting: VecDeque<u64>,
    all: BTreeMap<u64, Request<T>>,
    /// Those on the wire, by when they were asked.
    asked: BTreeSet<(Instant, u64)>,
}

#[derive(Debug)]
struct Request<T> {
    what: T,
    asked: Option<Instant>,
    tries: u32,
}

/// What has come of time.
#[derive(Debug, PartialEq, Eq)]
pub struct Overdue<T> {
    /// To be asked again.
    pub again: Vec<u64>,
    /// Given up.
    pub given_up: Vec<T>,
}

impl<T> Default for Requests<T> {
    fn default() -> Self {
        let (waiting, all, asked) = Default::default();
        Requests { next: 1, waiting, all, asked }
    }
}

impl<T> Requests<T> {
    /// Takes a request in and answers its number on the link.
    pub fn push(&mut self, what: T) -> u64 {
        let rid = self.next;
        self.next += 1;
        self.all.insert(rid, Request { what, asked: None, tries: 0 });
        self.waiting.push_back(rid);
        rid
    }

    /// The next to put on the wire, if there is room.
    pub fn send(&mut self, now: Instant) -> Option<(u64, &T)> {
        if self.asked.len() >= IN_FLIGHT {
            return None;
        }
        let rid = self.waiting.pop_front()?;
        let request = self.all.get_mut(&rid)?;
        request.asked = Some(now);
        request.tries += 1;
        self.asked.insert((now, rid));
        Some((rid, &self.all[&rid].what))
    }

    /// One that is not answered yet: others may wait for it too.
    pub fn get_mut(&mut self, rid: u64) -> Option<&mut T> {
        self.all.get_mut(&rid).map(|request| &mut request.what)
    }

    /// The answer came, or nobody waits for it any more. Unknown and late ones are `None`.
    pub fn take(&mut self, rid: u64) -> Option<T> {
        let request = self.all.remove(&rid)?;
        match request.asked {
            Some(at) => {
                self.asked.remove(&(at, rid));
            }
            None => self.waiting.retain(|waiting| *waiting != rid),
        }
        Some(request.what)
    }

    /// Puts what is overdue back in front, to be sent again, and gives up what was asked often.
    pub fn on_wake(&mut self, now: Instant) -> Overdue<T> {
        let mut overdue = Overdue { again: Vec::new(), given_up: Vec::new() };
        while let Some(&(at, rid)) = self.asked.first() {
            if at + AGAIN > now {
                break;
            }
            self.asked.pop_first();
            if self.all.get(&rid).is_some_and(|request| request.tries < TRIES) {
                overdue.again.push(rid);
            } else if let Some(request) = self.all.remove(&rid) {
                overdue.given_up.push(request.what);
            }
        }
        for rid in overdue.again.iter().rev() {
            if let Some(request) = self.all.get_mut(rid) {
                request.asked = None;
            }
            self.waiting.push_front(*rid);
        }
        overdue
    }

    /// The link is gone, and with it all of them.
    pub fn clear(&mut self) -> Vec<T> {
        let next = self.next;
        let all = std::mem::take(self).all;
        self.next = next; // an answer to an earlier one is never taken for one to a later
        all.into_values().map(|request| request.what).collect()
    }

    /// Asked, or about to be.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "some instant to count from")]
    fn start() -> Instant {
        Instant::now()
    }

    fn send(requests: &mut Requests<&'static str>, now: Instant) -> Vec<(u64, &'static str)> {
        std::iter::from_fn(|| requests.send(now).map(|(rid, what)| (rid, *what))).collect()
    }

    #[test]
    fn a_request_is_asked_three_times_and_then_given_up() {
        let (mut now, mut requests) = (start(), Requests::default());
        requests.push("a");
        requests.push("b");
        for _ in 0..3 {
            assert_eq!(send(&mut requests, now), [(1, "a"), (2, "b")]);
            assert!(requests.on_wake(now + AGAIN / 2).again.is_empty());
            now += AGAIN;
            let overdue = requests.on_wake(now);
            assert_eq!(overdue.again.len() + overdue.given_up.len(), 2);
        }
        assert!(requests.is_empty() && send(&mut requests, now).is_empty());
    }

    #[test]
    fn an_answer_is_taken_once_and_frees_its_place() {
        let (now, mut requests) = (start(), Requests::default());
        for _ in 0..=IN_FLIGHT {
            requests.push("a");
        }
        assert_eq!(send(&mut requests, now).len(), IN_FLIGHT);
        assert_eq!(requests.take(7), Some("a"));
        assert_eq!(requests.take(7), None);
        assert_eq!(send(&mut requests, now), [(IN_FLIGHT as u64 + 1, "a")]);
    }

    #[test]
    fn a_request_that_was_taken_back_is_not_sent() {
        let (now, mut requests) = (start(), Requests::default());
        let rid = requests.push("a");
        requests.push("b");
        assert_eq!(requests.take(rid), Some("a"));
        assert_eq!(send(&mut requests, now), [(2, "b")]);
    }

    #[test]
    fn an_answer_from_before_the_link_was_lost_is_not_taken_for_a_later_one() {
        let (now, mut requests) = (start(), Requests::default());
        requests.push("a");
        send(&mut requests, now);
        assert_eq!(requests.clear(), ["a"]);
        requests.push("b");
        assert_eq!(requests.take(1), None);
        assert_eq!(send(&mut requests, now), [(2, "b")]);
    }
}
