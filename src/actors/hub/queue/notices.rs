//! Notices that somebody is owed something new: one for all that was stored for it lately, however
//! many connections that came from. Behind the answers of what was stored.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use super::QueuePorts;
use crate::domain::row::Endpoint;

/// See the module documentation. Cheap to clone.
#[derive(Clone)]
pub(super) struct Notices(Rc<Inner>);

struct Inner {
    ports: QueuePorts,
    /// Who is to be told; a task is on its way to do so.
    due: RefCell<BTreeSet<Endpoint>>,
}

impl Notices {
    pub(super) fn new(ports: QueuePorts) -> Self {
        Notices(Rc::new(Inner { ports, due: RefCell::default() }))
    }

    /// They are owed something new.
    pub(super) fn tell(&self, endpoints: Vec<Endpoint>) {
        let mut due = self.0.due.borrow_mut();
        let is_first = due.is_empty();
        due.extend(endpoints);
        if is_first && !due.is_empty() {
            let inner = Rc::clone(&self.0);
            actix::spawn(async move {
                let due = inner.due.take();
                due.into_iter().for_each(|endpoint| inner.ports.tell_stored(endpoint));
            });
        }
    }
}
