//! Children that come and go, for an owner that starts them by name: the same rule, obituary and
//! snapshot as in a static supervisor, without an order among them.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use actix::Recipient;
use futures_util::future::join_all;

use super::child::{Child, Running};
use super::{Obituary, panic_below, report_end, snapshot_of};
use crate::actors::clock;
use crate::domain::restart::{Intensity, RestartLog, RestartPolicy, Verdict};
use crate::messages::supervision::{ChildExited, Snapshot};

/// See the module documentation.
pub struct Brood {
    /// Path of the owner.
    above: String,
    /// What kind of thing each is; its name in the tree is that and its own.
    kind: &'static str,
    children: BTreeMap<String, Child>,
    births: u64,
}

impl Brood {
    /// None yet, of the owner who has this obituary.
    pub fn new(owner: &Obituary, kind: &'static str) -> Self {
        let above = owner.path();
        Brood { above, kind, children: BTreeMap::new(), births: 0 }
    }

    fn name_of(&self, child: &str) -> String {
        format!("{} {child}", self.kind)
    }

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
        let child = Child::new(&self.name_of(name), Rc::new(start), log);
        self.children.insert(name.to_owned(), child);
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
        let obituary = Obituary::new(&*self.above, &child.name, child.birth, owner);
        child.running = Some((child.start)(obituary));
    }

    /// Stops a child for good.
    pub fn stop(&mut self, name: &str) {
        if let Some(mut child) = self.children.remove(name) {
            child.tell_to_stop();
        }
    }

    /// A child ended. Answers its name and after how long to `start_again`, if it is to be.
    pub fn on_exited(&mut self, exited: ChildExited) -> Option<(String, Duration)> {
        // An earlier one of the same name has another birth.
        let mut all = self.children.iter_mut();
        let (name, child) = all.find(|(_, child)| child.birth == exited.birth)?;
        child.running = None;
        let verdict = child.log.on_exit(exited.exit, clock::now());
        child.last_error = Some(report_end(&self.above, &exited, verdict));
        match verdict {
            Verdict::Restart(delay) => {
                child.restarts += 1;
                Some((name.clone(), delay))
            }
            // One of many never takes the others with it: it is tried again, slowly.
            Verdict::Escalate => Some((name.clone(), Intensity::ESCALATES.backoff.max)),
            Verdict::Leave => None,
        }
    }

    /// All children and those below them.
    pub fn snapshot(&self) -> impl Future<Output = Vec<Snapshot>> + use<> {
        let each = self.children.values().map(|child| {
            let (running, error) = (child.running.clone(), child.last_error.clone());
            snapshot_of(child.name.clone(), running, child.restarts, error)
        });
        let all = join_all(each.collect::<Vec<_>>());
        async move { all.await.concat() }
    }

    /// Makes a child, or one below it, panic (test builds).
    pub fn panic_at(&self, mut path: Vec<String>) -> actix::ResponseFuture<bool> {
        let first = if path.is_empty() { String::new() } else { path.remove(0) };
        let child = self.children.values().find(|child| child.name == first);
        panic_below(child.and_then(|child| child.running.clone()), path)
    }
}

impl Drop for Brood {
    fn drop(&mut self) {
        self.children.values_mut().for_each(Child::tell_to_stop);
    }
}
