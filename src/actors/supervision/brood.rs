//! Children that come and go, for an owner that starts them by name: the same rule, obituary and
//! snapshot as in a static supervisor, without an order among them.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use actix::Recipient;
use futures_util::future::join_all;

use super::child::{Child, Running};
use super::{Obituary, panic_below, snapshot_of};
use crate::actors::clock;
use crate::domain::restart::{Intensity, RestartLog, RestartPolicy, Verdict};
use crate::messages::supervision::{ChildExited, Snapshot};

/// See the module documentation.
#[derive(Default)]
pub struct Brood {
    children: BTreeMap<String, Child>,
    births: u64,
}

impl Brood {
    /// Names of all children.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.children.keys().map(String::as_str)
    }

    /// Starts a child, in the place of one of the same name.
    pub fn start(
        &mut self,
        name: &str,
        rule: (RestartPolicy, Intensity),
        start: impl Fn(Obituary) -> Running + 'static,
        owner: Recipient<ChildExited>,
    ) {
        self.stop(name);
        let log = RestartLog::new(rule.0, rule.1);
        self.children.insert(name.to_owned(), Child::new(name, Rc::new(start), log));
        self.start_again(name, owner);
    }

    /// Starts a child anew after its delay; does nothing if it is gone, or runs.
    pub fn start_again(&mut self, name: &str, owner: Recipient<ChildExited>) {
        let Some(child) = self.children.get_mut(name).filter(|child| child.running.is_none())
        else {
            return;
        };
        self.births += 1;
        child.birth = self.births;
        child.log.on_started(clock::now());
        child.running = Some((child.start)(Obituary::new(name, child.birth, owner)));
    }

    /// Stops a child for good.
    pub fn stop(&mut self, name: &str) {
        if let Some(mut child) = self.children.remove(name) {
            child.tell_to_stop();
        }
    }

    /// A child ended. Answers its name and after how long to `start_again`, if it is to be.
    pub fn on_exited(&mut self, exited: ChildExited) -> Option<(String, Duration)> {
        let child = self.children.get_mut(&exited.child)?;
        if child.birth != exited.birth {
            return None; // an earlier one of this name
        }
        child.running = None;
        let verdict = child.log.on_exit(exited.exit, clock::now());
        child.last_error = Some(format!("{:?}: {}", exited.exit, exited.why));
        tracing::warn!(child = exited.child, exit = ?exited.exit, why = exited.why, ?verdict, "actor ended");
        match verdict {
            Verdict::Restart(delay) => {
                child.restarts += 1;
                Some((exited.child, delay))
            }
            // One of many never takes the others with it: it is tried again, slowly.
            Verdict::Escalate => Some((exited.child, Intensity::ESCALATES.backoff.max)),
            Verdict::Leave => None,
        }
    }

    /// All children and those below them; `prefix` goes before each name.
    pub fn snapshot(&self, prefix: &str) -> impl Future<Output = Vec<Snapshot>> + use<> {
        let each = self.children.values().map(|child| {
            let (running, error) = (child.running.clone(), child.last_error.clone());
            snapshot_of(format!("{prefix}{}", child.name), running, child.restarts, error)
        });
        let all = join_all(each.collect::<Vec<_>>());
        async move { all.await.concat() }
    }

    /// Makes a child, or one below it, panic (test builds).
    pub fn panic_at(&self, mut path: Vec<String>, prefix: &str) -> actix::ResponseFuture<bool> {
        let first = if path.is_empty() { String::new() } else { path.remove(0) };
        let child = first.strip_prefix(prefix).and_then(|name| self.children.get(name));
        panic_below(child.and_then(|child| child.running.clone()), path)
    }
}

impl Drop for Brood {
    fn drop(&mut self) {
        self.children.values_mut().for_each(Child::tell_to_stop);
    }
}
