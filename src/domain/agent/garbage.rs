//! Which images go: those that this runtime pulled, and nothing has needed for long.
//!
//! What others pulled, built or loaded has no record here, and is left alone; so is what a
//! container is of, whosever it is, and what the present or the last good deployment names.
//! next: `actors/agent/engine/collect.rs`.

use std::time::Duration;

/// Keys of records in `state/` begin with it.
pub const PREFIX: &str = "images/";

/// That this runtime pulled an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The engine's id of it.
    pub id: String,
    /// By what name.
    pub name: String,
    /// When it was needed last, since the epoch.
    pub used: Duration,
}

/// What is known of the image now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// The engine has it.
    pub is_here: bool,
    /// The name still leads to it.
    pub is_named: bool,
    /// It has other names.
    pub has_names: bool,
    /// A deployment names it.
    pub is_wanted: bool,
    /// A container is of it.
    pub is_used: bool,
}

/// What follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is needed: its time begins anew.
    Touch,
    /// It is not, not for long enough yet.
    Keep,
    /// It is not ours to remove: the record goes.
    Forget,
    /// It goes, by this name or id.
    Remove(String),
}

impl Record {
    /// Of a key and a value; `None` for what is not a record.
    pub fn parse(key: &[u8], value: &[u8]) -> Option<Self> {
        let (id, name) = std::str::from_utf8(key).ok()?.strip_prefix(PREFIX)?.split_once('/')?;
        let seconds = std::str::from_utf8(value).ok()?.parse().ok()?;
        Some(Record { id: id.into(), name: name.into(), used: Duration::from_secs(seconds) })
    }

    /// Its key.
    pub fn key(&self) -> Vec<u8> {
        format!("{PREFIX}{}/{}", self.id, self.name).into_bytes()
    }

    /// Its value.
    pub fn value(&self) -> Vec<u8> {
        self.used.as_secs().to_string().into_bytes()
    }

    /// What is to be done with the image, at `time`, if it may lie about for `age`.
    pub fn judge(&self, now: Now, time: Duration, age: Duration) -> Verdict {
        if !now.is_here {
            return Verdict::Forget;
        }
        let is_from_the_future = self.used > time; // the clock was set back
        if now.is_wanted || now.is_used || is_from_the_future {
            return Verdict::Touch;
        }
        if time - self.used < age {
            return Verdict::Keep;
        }
        match (now.is_named, now.has_names) {
            (true, _) => Verdict::Remove(self.name.clone()),
            (false, false) => Verdict::Remove(self.id.clone()), // its tag has moved on
            (false, true) => Verdict::Forget,                   // others name it
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn record() -> Record {
        Record { id: "sha256:1".into(), name: "r.io/a:1".into(), used: DAY * 10 }
    }

    #[test]
    fn what_nothing_needs_goes_after_its_time_and_what_is_others_stays() {
        let old = Now { is_here: true, is_named: true, has_names: true, ..Now::default() };
        let judge = |now: Now, days: u32| record().judge(now, DAY * days, DAY * 7);
        assert_eq!(judge(old, 16), Verdict::Keep);
        assert_eq!(judge(old, 17), Verdict::Remove("r.io/a:1".into()));
        assert_eq!(judge(Now { is_wanted: true, ..old }, 99), Verdict::Touch);
        assert_eq!(judge(Now { is_used: true, ..old }, 99), Verdict::Touch);
        assert_eq!(judge(Now { is_named: false, ..old }, 99), Verdict::Forget, "others name it");
        let moved = Now { is_named: false, has_names: false, ..old };
        assert_eq!(judge(moved, 99), Verdict::Remove("sha256:1".into()));
        assert_eq!(judge(moved, 9), Verdict::Touch, "the clock was set back");
        assert_eq!(judge(Now::default(), 11), Verdict::Forget);
    }

    #[test]
    fn records_are_read_as_they_were_written() {
        let record = record();
        assert_eq!(Record::parse(&record.key(), &record.value()), Some(record));
        assert_eq!(Record::parse(b"last-good", b"{}"), None);
        assert_eq!(Record::parse(b"images/x", b"1"), None);
    }
}
