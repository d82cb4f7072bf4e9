//! When a module's container is started again: the rule of `domain/restart`, with the numbers and
//! the words of IoT Edge, and without its dead ends.
//!
//! 10 s, doubled up to 300 s; forgotten after 10 min of health. After 20 in a row the module is
//! `failed`, and is tried again every 5 min: nothing is given up for good. What was counted
//! outlives the runtime ([`Kept`]); no wall clock counts.
//! next: `actors/agent/module.rs`.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::observed::Observed;
use super::words::ModuleStatus;
use crate::domain::backoff::Backoff;
use crate::domain::restart::{Exit, Intensity, RestartLog, RestartPolicy, Verdict};

/// The first delay; the others are multiples of it.
pub const UNIT: Duration = Duration::from_secs(10);

/// Of all module containers.
pub const INTENSITY: Intensity = intensity(UNIT);

/// With this for the first delay: doubled up to 30 times of it, forgotten after 60 times of it.
pub const fn intensity(unit: Duration) -> Intensity {
    Intensity {
        backoff: Backoff { first: unit, max: unit.saturating_mul(30) },
        healthy_after: unit.saturating_mul(60),
        limit: None,
    }
}

/// Restarts in a row after which a module is called `failed`.
pub const FAILED_AFTER: u32 = 20;

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It stays as it is.
    Rest(ModuleStatus),
    /// It is started again after this long, and has this status until then.
    Again(Duration, ModuleStatus),
}

/// What is remembered of a module's restarts when the runtime is restarted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Of which container it is: hash of what that is created from.
    pub hash: String,
    /// One of these ran: `never` starts no other.
    pub has_run: bool,
    /// Ends since it was last healthy that are followed by a restart.
    pub in_a_row: u32,
    /// Restarts since then: of the last end it may not have come yet.
    pub restarts: u32,
    /// The last of them, since the epoch.
    pub last_restart: Option<Duration>,
    /// The boot of the machine in which it ran last.
    #[serde(default)]
    pub boot: String,
    /// The run whose end is among them, or was the last: see [`run_that_ended`].
    pub ended: Option<String>,
}

/// Names a run that has ended.
pub fn run_that_ended(observed: &Observed) -> String {
    format!("{} {:?}", observed.id, observed.finished)
}

/// When nobody watched: what is known of an end that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// How long ago, as far as is known.
    pub ago: Duration,
    /// It was seen, and counted, by an earlier life of the runtime.
    pub is_counted: bool,
    /// The machine was restarted since it ran.
    pub is_before_boot: bool,
}

/// How long ago a run ended, by two readings of wall clocks. When it ended is not known if the engine
/// does not say, or if that would be in the future: the clock was set. Long ago, then.
pub fn ago(finished: Option<Duration>, now: Duration) -> Duration {
    finished.and_then(|finished| now.checked_sub(finished)).unwrap_or(Duration::MAX)
}

impl Next {
    /// The same, a little earlier: not all modules, nor all devices, try at the same time.
    #[must_use]
    pub fn spread(self, seed: &str) -> Self {
        match self {
            Next::Again(delay, status) => Next::Again(spread(delay, seed), status),
            rest => rest,
        }
    }
}

/// When what could not be had is tried again, after so many tries: at most 5 min later.
pub fn retry_delay(unit: Duration, tries: u32, seed: &str) -> Duration {
    spread(intensity(unit).backoff.delay(tries), seed)
}

/// Up to a fifth earlier.
fn spread(delay: Duration, seed: &str) -> Duration {
    let part = u32::from(crc32c::crc32c(format!("{seed} {}", delay.as_millis()).as_bytes()) as u8);
    delay - delay / 5 * part / 255
}

/// The restarts of one module.
#[derive(Debug)]
pub struct Restarts {
    log: RestartLog,
    policy: RestartPolicy,
    longest: Duration,
}

impl Restarts {
    /// None yet; see [`intensity`] for the unit.
    pub fn new(policy: RestartPolicy, unit: Duration) -> Self {
        let intensity = intensity(unit);
        let longest = intensity.backoff.max;
        Restarts { log: RestartLog::new(policy, intensity), policy, longest }
    }

    /// So many were counted before the runtime was restarted.
    pub fn restore(&mut self, in_a_row: u32) {
        self.log.restore(in_a_row);
    }

    /// The deployment has another policy now; restarts so far still count.
    pub fn set_policy(&mut self, policy: RestartPolicy) {
        self.policy = policy;
        self.log.set_policy(policy);
    }

    /// Restarts since it was last healthy.
    pub fn in_a_row(&self) -> u32 {
        self.log.in_a_row()
    }

    /// It runs, since `now`.
    pub fn on_started(&mut self, now: Instant) {
        self.log.on_started(now);
    }

    /// It still runs: after long enough the restarts so far are forgotten.
    pub fn on_running(&mut self, now: Instant) {
        self.log.on_running(now);
    }

    /// Its run ended under our eyes.
    pub fn on_ended(&mut self, exit: Exit, now: Instant) -> Next {
        match self.log.on_exit(exit, now) {
            Verdict::Restart(delay) => self.again(delay),
            Verdict::Leave | Verdict::Escalate => Next::Rest(match exit {
                Exit::Normal => ModuleStatus::Stopped,
                Exit::Unhealthy => ModuleStatus::Unhealthy,
                Exit::Failed | Exit::Panicked => ModuleStatus::Failed,
            }),
        }
    }

    /// It was found ended, some time ago, when nobody watched: before this process, or while the
    /// engine was away. A clean end is then as likely a shutdown of the machine as work done: all
    /// but `never` run anew, at once. An end that was watched, and counted, goes on as it was. After
    /// a restart of the machine all but `never` run anew in any case: how the last run ended says
    /// more of the machine than of the module.
    pub fn on_found_ended(&mut self, exit: Exit, found: Found, now: Instant) -> Next {
        let Found { ago, is_counted, is_before_boot } = found;
        let is_by_machine = is_before_boot || (exit == Exit::Normal && !is_counted);
        if is_by_machine && self.policy > RestartPolicy::Never {
            return Next::Again(Duration::ZERO, ModuleStatus::Backoff);
        }
        let counted = self.log.last_delay().filter(|_| is_counted && self.log.restarts_after(exit));
        let next = match counted {
            Some(delay) => self.again(delay),
            None => self.on_ended(exit, now),
        };
        match next {
            Next::Again(delay, status) => Next::Again(delay.saturating_sub(ago), status),
            rest => rest,
        }
    }

    /// It could not be brought up: no image, no identity, the engine refused. Whatever the policy,
    /// it is tried again.
    pub fn on_not_started(&mut self, now: Instant) -> Next {
        let delay = self.log.retry(now);
        self.again(delay)
    }

    fn again(&self, delay: Duration) -> Next {
        if self.log.in_a_row() > FAILED_AFTER {
            return Next::Again(self.longest, ModuleStatus::Failed);
        }
        Next::Again(delay, ModuleStatus::Backoff)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Exit::{Failed, Normal, Unhealthy};
    use ModuleStatus as Status;
    use RestartPolicy::{Always, Never, OnFailure, OnUnhealthy};

    const SECOND: Duration = Duration::from_secs(1);

    #[expect(clippy::disallowed_methods, reason = "any point in time will do")]
    fn any_time() -> Instant {
        Instant::now()
    }

    #[test]
    fn each_policy_restarts_after_its_exits_and_names_the_status_otherwise() {
        let again = Next::Again(SECOND * 10, Status::Backoff);
        let table = [
            (Never, Normal, Next::Rest(Status::Stopped)),
            (Never, Failed, Next::Rest(Status::Failed)),
            (Never, Unhealthy, Next::Rest(Status::Unhealthy)),
            (OnFailure, Normal, Next::Rest(Status::Stopped)),
            (OnFailure, Failed, again),
            (OnFailure, Unhealthy, Next::Rest(Status::Unhealthy)),
            (OnUnhealthy, Normal, Next::Rest(Status::Stopped)),
            (OnUnhealthy, Failed, again),
            (OnUnhealthy, Unhealthy, again),
            (Always, Normal, again),
            (Always, Failed, again),
            (Always, Unhealthy, again),
        ];
        for (policy, exit, next) in table {
            let mut restarts = Restarts::new(policy, UNIT);
            assert_eq!(restarts.on_ended(exit, any_time()), next, "{policy:?} {exit:?}");
        }
    }

    #[test]
    fn delays_double_to_five_minutes_then_it_is_failed_and_still_tried() {
        let mut restarts = Restarts::new(Always, UNIT);
        let now = any_time();
        let all: Vec<Next> = (0..25).map(|_| restarts.on_ended(Failed, now)).collect();
        let delays = |nexts: &[Next]| {
            let delay = |next: &Next| match next {
                Next::Again(delay, _) => delay.as_secs(),
                Next::Rest(_) => panic!("it gave up"),
            };
            nexts.iter().map(delay).collect::<Vec<_>>()
        };
        assert_eq!(delays(&all[..7]), [10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(all[19], Next::Again(SECOND * 300, Status::Backoff));
        assert_eq!(all[20], Next::Again(SECOND * 300, Status::Failed));
        assert_eq!(all[24], Next::Again(SECOND * 300, Status::Failed));
    }

    #[test]
    fn ten_minutes_of_health_forget_what_was() {
        let mut restarts = Restarts::new(Always, UNIT);
        let now = any_time();
        restarts.on_ended(Failed, now);
        restarts.on_ended(Failed, now);
        restarts.on_started(now);
        restarts.on_running(now + SECOND * 599);
        assert_eq!(restarts.in_a_row(), 2);
        restarts.on_running(now + SECOND * 600);
        assert_eq!(restarts.in_a_row(), 0);
        let next = restarts.on_ended(Failed, now + SECOND * 700);
        assert_eq!(next, Next::Again(SECOND * 10, Status::Backoff));
    }

    #[test]
    fn what_cannot_be_started_is_tried_again_whatever_the_policy() {
        let mut restarts = Restarts::new(Never, UNIT);
        let now = any_time();
        assert_eq!(restarts.on_not_started(now), Next::Again(SECOND * 10, Status::Backoff));
        assert_eq!(restarts.on_not_started(now), Next::Again(SECOND * 20, Status::Backoff));
    }

    #[test]
    fn what_could_not_be_had_is_tried_again_within_five_minutes_and_not_by_all_at_once() {
        let delays =
            |seed: &str| (0..9).map(|tries| retry_delay(UNIT, tries, seed)).collect::<Vec<_>>();
        for (tries, delay) in delays("a").into_iter().enumerate() {
            let most = SECOND * 300.min(10 << tries);
            assert!(delay <= most && delay >= most * 4 / 5, "{tries}: {delay:?}");
        }
        assert_ne!(delays("a"), delays("b"));
        let rest = Next::Rest(Status::Failed);
        assert_eq!(rest.spread("a"), rest);
    }

    #[test]
    fn an_end_that_nobody_saw_is_made_good() {
        let found = |policy, exit, ago| {
            let found = Found { ago: SECOND * ago, is_counted: false, is_before_boot: false };
            Restarts::new(policy, UNIT).on_found_ended(exit, found, any_time())
        };
        let at_once = Next::Again(Duration::ZERO, Status::Backoff);
        assert_eq!(found(OnUnhealthy, Normal, 5), at_once, "the machine was shut down");
        assert_eq!(found(Never, Normal, 5), Next::Rest(Status::Stopped));
        assert_eq!(found(Never, Failed, 5), Next::Rest(Status::Failed));
        assert_eq!(found(OnFailure, Failed, 3), Next::Again(SECOND * 7, Status::Backoff));
        assert_eq!(found(OnFailure, Failed, 60), at_once);
    }

    #[test]
    fn after_a_restart_of_the_machine_all_but_never_run_anew_at_once_and_nothing_is_counted() {
        for is_counted in [false, true] {
            for (policy, exit) in [(OnFailure, Normal), (OnUnhealthy, Failed), (Always, Failed)] {
                let mut restarts = Restarts::new(policy, UNIT);
                restarts.restore(3);
                let found = Found { ago: SECOND, is_counted, is_before_boot: true };
                let next = restarts.on_found_ended(exit, found, any_time());
                assert_eq!(next, Next::Again(Duration::ZERO, Status::Backoff), "{policy:?}");
                assert_eq!(restarts.in_a_row(), 3);
            }
            let found = Found { ago: SECOND, is_counted, is_before_boot: true };
            let next = Restarts::new(Never, UNIT).on_found_ended(Failed, found, any_time());
            assert_eq!(next, Next::Rest(Status::Failed));
        }
    }

    #[test]
    fn what_was_counted_before_a_restart_of_the_runtime_goes_on() {
        let found = |policy, in_a_row, exit, ago| {
            let mut restarts = Restarts::new(policy, UNIT);
            restarts.restore(in_a_row);
            let found = Found { ago: SECOND * ago, is_counted: true, is_before_boot: false };
            let next = restarts.on_found_ended(exit, found, any_time());
            assert_eq!(restarts.in_a_row(), in_a_row, "it is not counted twice");
            next
        };
        assert_eq!(found(Always, 3, Failed, 15), Next::Again(SECOND * 25, Status::Backoff));
        assert_eq!(found(Always, 3, Failed, 900), Next::Again(Duration::ZERO, Status::Backoff));
        assert_eq!(found(Always, 21, Failed, 0), Next::Again(SECOND * 300, Status::Failed));
        assert_eq!(found(OnFailure, 1, Normal, 5), Next::Rest(Status::Stopped), "work done");
        assert_eq!(found(Never, 0, Failed, 5), Next::Rest(Status::Failed));
        let mut restarts = Restarts::new(Always, UNIT);
        restarts.restore(4);
        assert_eq!(
            restarts.on_ended(Failed, any_time()),
            Next::Again(SECOND * 160, Status::Backoff)
        );
    }

    #[test]
    fn an_end_whose_time_is_not_known_was_long_ago() {
        assert_eq!(ago(Some(SECOND * 100), SECOND * 130), SECOND * 30);
        assert_eq!(ago(None, SECOND * 130), Duration::MAX);
        assert_eq!(ago(Some(SECOND * 131), SECOND * 130), Duration::MAX, "the clock was set back");
        let found = Found { ago: Duration::MAX, is_counted: true, is_before_boot: false };
        let mut restarts = Restarts::new(Always, UNIT);
        restarts.restore(9);
        let next = restarts.on_found_ended(Failed, found, any_time());
        assert_eq!(next, Next::Again(Duration::ZERO, Status::Backoff));
    }

    #[test]
    fn a_new_policy_keeps_the_count() {
        let mut restarts = Restarts::new(Always, UNIT);
        let now = any_time();
        restarts.on_ended(Failed, now);
        restarts.set_policy(OnFailure);
        assert_eq!(restarts.on_ended(Failed, now), Next::Again(SECOND * 20, Status::Backoff));
        assert_eq!(restarts.on_ended(Normal, now), Next::Rest(Status::Stopped));
    }
}
