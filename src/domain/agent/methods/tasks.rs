//! Tasks that a direct method began, and how they ended. The table is bounded: what ended is
//! forgotten in time, oldest first.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long the end of a task is remembered.
pub const REMEMBERED: Duration = Duration::from_secs(24 * 3600);
/// Tasks known at most; more under way than that are not begun.
pub const MOST: usize = 100;

/// How a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It waits for others.
    NotStarted,
    /// Under way.
    Running,
    /// Done.
    Completed,
    /// Not done, and it is over.
    Failed,
    /// Never heard of, or forgotten.
    Unknown,
}

impl Status {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::NotStarted => "NotStarted",
            Status::Running => "Running",
            Status::Completed => "Completed",
            Status::Failed => "Failed",
            Status::Unknown => "Unknown",
        }
    }
}

#[derive(Debug)]
struct Task {
    status: Status,
    message: String,
    ended: Option<Instant>,
    number: u64,
}

/// See the module documentation.
#[derive(Debug, Default)]
pub struct Tasks {
    tasks: BTreeMap<String, Task>,
    last: u64,
}

impl Tasks {
    /// A new task; false if there are too many under way.
    pub fn on_begun(&mut self, id: &str, now: Instant) -> bool {
        self.prune(now);
        if self.tasks.len() >= MOST && !self.drop_oldest() {
            return false;
        }
        self.last += 1;
        let task = Task {
            status: Status::NotStarted,
            message: String::new(),
            ended: None,
            number: self.last,
        };
        self.tasks.insert(id.to_owned(), task);
        true
    }

    /// Its turn has come.
    pub fn on_started(&mut self, id: &str) {
        if let Some(task) = self.tasks.get_mut(id) {
            task.status = Status::Running;
        }
    }

    /// It is over, with what is to be said of it.
    pub fn on_ended(&mut self, id: &str, result: Result<String, String>, now: Instant) {
        if let Some(task) = self.tasks.get_mut(id) {
            let (status, message) = match result {
                Ok(message) => (Status::Completed, message),
                Err(message) => (Status::Failed, message),
            };
            (task.status, task.message, task.ended) = (status, message, Some(now));
        }
    }

    /// How it stands.
    pub fn status(&mut self, id: &str, now: Instant) -> (Status, &str) {
        self.prune(now);
        match self.tasks.get(id) {
            Some(task) => (task.status, &task.message),
            None => (Status::Unknown, "no task of this id is known since edge-runtime was started"),
        }
    }

    /// Known ones.
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// None is known.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    fn prune(&mut self, now: Instant) {
        let is_new = |ended: Instant| now.saturating_duration_since(ended) < REMEMBERED;
        self.tasks.retain(|_, task| task.ended.is_none_or(is_new));
    }

    /// Of those that ended.
    fn drop_oldest(&mut self) -> bool {
        let ended = self.tasks.iter().filter(|(_, task)| task.ended.is_some());
        let oldest = ended.min_by_key(|(_, task)| task.number).map(|(id, _)| id.clone());
        oldest.is_some_and(|id| self.tasks.remove(&id).is_some())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "some instant to count from")]

    use super::*;

    #[test]
    fn a_task_is_known_from_its_beginning_until_a_day_after_its_end() {
        let (mut tasks, now) = (Tasks::default(), Instant::now());
        assert_eq!(tasks.status("a", now).0, Status::Unknown);
        assert!(tasks.on_begun("a", now));
        assert_eq!(tasks.status("a", now), (Status::NotStarted, ""));
        tasks.on_started("a");
        assert_eq!(tasks.status("a", now + 2 * REMEMBERED).0, Status::Running);
        tasks.on_ended("a", Err("the disk".into()), now);
        assert_eq!(tasks.status("a", now), (Status::Failed, "the disk"));
        assert_eq!(tasks.status("a", now + REMEMBERED).0, Status::Unknown);
        assert!(tasks.is_empty());
    }

    #[test]
    fn the_table_is_bounded_and_forgets_what_ended_first() {
        let (mut tasks, now) = (Tasks::default(), Instant::now());
        (0..MOST).for_each(|n| assert!(tasks.on_begun(&n.to_string(), now)));
        assert!(!tasks.on_begun("more", now), "all are under way");
        tasks.on_ended("7", Ok(String::new()), now);
        tasks.on_ended("3", Ok(String::new()), now);
        assert!(tasks.on_begun("more", now));
        assert_eq!(tasks.status("3", now).0, Status::Unknown);
        assert_eq!(tasks.status("7", now).0, Status::Completed);
        assert_eq!(tasks.len(), MOST);
    }
}
