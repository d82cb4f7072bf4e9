//! How many bytes of disk the queue may take, and what happens when they are used up.
//!
//! Promises: newcomers stop at the line; what modules make of messages that are stored already may
//! go above it, up to the limit, so that a relay whose inputs fill the budget is not kept from
//! emptying it. A level that was told is not told again before things have clearly changed.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::row::Priority;

/// What happens at the line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FullPolicy {
    /// New messages wait, un-acknowledged.
    #[default]
    RejectNew,
    /// The oldest are evicted.
    DropOldest,
    /// Those of the lowest priority are evicted, of these the oldest.
    DropLowestPriority,
}

impl FullPolicy {
    /// Which of two messages goes first; each by its priority and its number, in order of arrival.
    pub fn order(self, one: (Priority, u64), other: (Priority, u64)) -> Ordering {
        let by_age = one.1.cmp(&other.1);
        match self {
            FullPolicy::DropLowestPriority => other.0.cmp(&one.0).then(by_age),
            FullPolicy::RejectNew | FullPolicy::DropOldest => by_age,
        }
    }

    /// Whether stored messages make room for new ones.
    pub fn evicts(self) -> bool {
        self != FullPolicy::RejectNew
    }
}

/// Bytes of the smallest budget: with less, one client's messages could fill it.
pub const LEAST_BUDGET: u64 = 4 << 20;

/// What the queue may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// Bytes of used pages; `None`: as many as the device has.
    pub max: Option<u64>,
    /// At the line.
    pub policy: FullPolicy,
}

/// Of the limit, for what modules make of stored messages: a 16th, within these bounds.
const RELAY_LEAST: u64 = 2 << 20;
const RELAY_MOST: u64 = 16 << 20;

impl Budget {
    /// What the device's own setting and the deployment allow together: the lower one.
    pub fn lowest(self, deployed: Option<u64>) -> Budget {
        Budget { max: self.max.into_iter().chain(deployed).min(), ..self }
    }

    /// Above it nobody's messages are taken who is not owed anything.
    pub fn line(self) -> Option<u64> {
        self.max.map(|max| max - (max / 16).clamp(RELAY_LEAST.min(max / 4), RELAY_MOST))
    }

    /// Between line and limit: above it also messages of a higher priority are evicted, if there
    /// are none of the lowest one left.
    pub fn middle(self) -> Option<u64> {
        self.max.zip(self.line()).map(|(max, line)| line + (max - line) / 2)
    }

    /// Bytes that may still be taken: by newcomers, and by those who are owed messages.
    pub fn free(self, used: u64) -> Free {
        let left = |to: Option<u64>| to.map_or(u64::MAX, |to| to.saturating_sub(used));
        Free { newcomers: left(self.line()), relays: left(self.max) }
    }
}

/// Room for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Free {
    /// For everybody.
    pub newcomers: u64,
    /// For those who are owed messages themselves.
    pub relays: u64,
}

impl Free {
    /// No bounds.
    pub const ALL: Free = Free { newcomers: u64::MAX, relays: u64::MAX };

    /// Where both must be kept to.
    pub fn and(self, other: Free) -> Free {
        Free {
            newcomers: self.newcomers.min(other.newcomers),
            relays: self.relays.min(other.relays),
        }
    }

    /// Takes so many bytes, if they fit.
    pub fn take(&mut self, bytes: u64, is_relay: bool) -> bool {
        if bytes > if is_relay { self.relays } else { self.newcomers } {
            return false;
        }
        self.newcomers = self.newcomers.saturating_sub(bytes);
        self.relays = self.relays.saturating_sub(bytes);
        true
    }
}

/// What the file of a queue takes of its disk, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waste {
    /// Of the disk,
    pub file: u64,
    /// … of which so much holds something,
    pub used: u64,
    /// … and so much, up to twice, is kept for what is vital.
    pub reserve: u64,
    /// The disk,
    pub disk: u64,
    /// … and what of it is free.
    pub free: u64,
}

impl Waste {
    /// A smaller copy is made without being asked only of little: clients wait meanwhile.
    const QUICK: u64 = 64 << 20;

    /// Whether the file is to be made smaller: it is mostly empty, and the disk is short.
    pub fn is_worth_it(self) -> bool {
        let waste = self.file.saturating_sub(self.used + 2 * self.reserve);
        let is_short = self.free < self.disk / 10;
        let fits = self.free > self.used + self.used / 8;
        is_short
            && fits
            && self.used <= Self::QUICK
            && waste >= Self::QUICK
            && waste >= self.file / 2
    }
}

/// How full the queue is, for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// There is room.
    #[default]
    Normal,
    /// From 80 % on, until it is less than 75 %.
    High,
    /// New messages wait, or stored ones are evicted; until it is less than 95 %.
    Full,
}

impl Level {
    /// The level after this one. `line`: what is 100 %, if there is a budget. `is_full`: something
    /// finds no room now, or found it by an eviction.
    pub fn next(self, used: u64, line: Option<u64>, is_full: bool) -> Level {
        if is_full {
            return Level::Full;
        }
        let Some(line) = line else { return Level::Normal };
        let part = |percent: u64| (u128::from(line) * u128::from(percent) / 100) as u64;
        match self {
            Level::Full if used >= part(95) => Level::Full,
            Level::High | Level::Full if used >= part(75) => Level::High,
            _ if used >= part(80) => Level::High,
            _ => Level::Normal,
        }
    }

    /// As it is reported.
    pub fn word(self) -> &'static str {
        match self {
            Level::Normal => "normal",
            Level::High => "high",
            Level::Full => "full",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn budget(max: u64) -> Budget {
        Budget { max: Some(max), policy: FullPolicy::RejectNew }
    }

    #[test]
    fn the_lower_of_setting_and_deployment_counts() {
        let none = Budget::default();
        assert_eq!(none.lowest(None).max, None);
        assert_eq!(none.lowest(Some(7)).max, Some(7));
        assert_eq!(budget(5).lowest(Some(7)).max, Some(5));
        assert_eq!(budget(9).lowest(Some(7)).max, Some(7));
        assert_eq!(none.free(u64::MAX), Free::ALL);
    }

    #[test]
    fn relays_have_room_above_the_line_and_nobody_above_the_limit() {
        let budget = budget(1_600);
        assert_eq!((budget.line(), budget.middle()), (Some(1_200), Some(1_400)));
        let mut free = budget.free(1_100);
        assert_eq!((free.newcomers, free.relays), (100, 500));
        assert!(free.take(80, false) && !free.take(80, false));
        assert!(free.take(400, true) && !free.take(40, true));
        assert_eq!((free.newcomers, free.relays), (0, 20));
        assert_eq!(Budget { max: Some(1 << 40), ..budget }.line(), Some((1 << 40) - RELAY_MOST));
    }

    #[test]
    fn the_oldest_or_those_of_the_lowest_priority_go_first() {
        let stored = [(Priority(0), 1), (Priority::DEFAULT, 4), (Priority(3), 2), (Priority(3), 3)];
        let sorted = |policy: FullPolicy| {
            let mut stored = stored;
            stored.sort_by(|one, other| policy.order(*one, *other));
            stored.map(|(_, number)| number)
        };
        assert_eq!(sorted(FullPolicy::DropOldest), [1, 2, 3, 4]);
        assert_eq!(sorted(FullPolicy::DropLowestPriority), [4, 2, 3, 1]);
    }

    #[test]
    fn a_level_is_left_only_when_things_have_clearly_changed() {
        let walk = |steps: &[(u64, bool)]| {
            let mut level = Level::Normal;
            let walk = steps.iter().map(|(used, is_full)| {
                level = level.next(*used, Some(1_000), *is_full);
                level
            });
            walk.collect::<Vec<_>>()
        };
        use Level::{Full, High, Normal};
        let up = walk(&[(799, false), (800, false), (999, false), (999, true), (960, false)]);
        assert_eq!(up, [Normal, High, High, Full, Full]);
        let down = walk(&[(990, true), (949, false), (990, false), (760, false), (749, false)]);
        assert_eq!(down, [Full, High, High, High, Normal]);
        assert_eq!(Normal.next(790, Some(1_000), false), Normal);
        assert_eq!(Full.next(0, None, false), Normal, "a device that has room again");
        assert_eq!(Normal.next(0, None, true), Full);
    }

    #[test]
    fn a_file_is_made_smaller_by_itself_if_it_is_mostly_empty_and_the_disk_short() {
        const MIB: u64 = 1 << 20;
        let (file, used, reserve) = (300 * MIB, 10 * MIB, 16 * MIB);
        let waste = Waste { file, used, reserve, disk: 1_000 * MIB, free: 50 * MIB };
        assert!(waste.is_worth_it());
        assert!(!Waste { free: 200 * MIB, ..waste }.is_worth_it(), "there is room");
        assert!(!Waste { free: 10 * MIB, ..waste }.is_worth_it(), "no room for a copy");
        assert!(!Waste { used: 200 * MIB, ..waste }.is_worth_it(), "it is not empty");
        assert!(!Waste { file: 100 * MIB, ..waste }.is_worth_it(), "little would be won");
    }

    proptest! {
        #[test]
        fn what_was_let_in_is_never_more_than_the_limit(
            max in 1..1_000_000_u64,
            used in 0..1_000_000_u64,
            asks in proptest::collection::vec((0..50_000_u64, any::<bool>()), 0..60),
        ) {
            let budget = budget(max);
            let mut free = budget.free(used);
            let (mut all, mut new) = (used, used);
            for (bytes, is_relay) in asks {
                if free.take(bytes, is_relay) {
                    all += bytes;
                    new = if is_relay { new } else { all };
                }
            }
            prop_assert!(all <= max.max(used));
            prop_assert!(new <= budget.line().unwrap_or(max).max(used));
        }
    }
}
