//! What a connection needs to use local topics: the policy, whether there is room, and the ports
//! of `local-topics`. Not there at all while the setting is off.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::actors::port::Port;
use crate::domain::identity::Identity;
use crate::domain::local_topics::exchange::{Counts, Limits};
use crate::domain::local_topics::policy::{Permissions, Policy};
use crate::messages::local_topics::{Join, Leave, PolicyChanged, PublishLocal, PullLocal};

/// See the module documentation. Cheap to clone.
#[derive(Clone)]
pub struct Local {
    /// What is known without asking.
    pub board: Rc<Board>,
    /// `local-topics`.
    pub join: Port<Join>,
    /// `local-topics`.
    pub leave: Port<Leave>,
    /// `local-topics`.
    pub publish: Port<PublishLocal>,
    /// `local-topics`.
    pub pull: Port<PullLocal>,
    /// `local-topics`.
    pub changed: Port<PolicyChanged>,
}

/// See [`Local`]. Outlives the restarts of `local-topics`.
pub struct Board {
    edge_device: String,
    /// How much may be held.
    pub limits: Limits,
    settled: Policy,
    deployed: RefCell<Policy>,
    generation: Cell<u64>,
    links: Cell<usize>,
    denied: Cell<u64>,
    /// Of those `local-topics` that are gone.
    earlier: Cell<Counts>,
}

impl Local {
    /// `settled` is the policy of the settings.
    pub fn new(edge_device: &str, limits: Limits, settled: Policy) -> Self {
        let board = Board {
            edge_device: edge_device.to_owned(),
            limits,
            settled,
            deployed: RefCell::default(),
            generation: Cell::new(1),
            links: Cell::new(0),
            denied: Cell::new(0),
            earlier: Cell::default(),
        };
        let (join, leave, publish, pull, changed) = Default::default();
        Local { board: Rc::new(board), join, leave, publish, pull, changed }
    }

    /// The policy of `$edgeHub` from now on, beside that of the settings.
    pub fn deploy(&self, policy: Policy) {
        if self.board.deployed.replace(policy.clone()) != policy {
            tracing::info!("another policy for local topics is in force");
            self.board.renew();
            self.changed.tell(PolicyChanged); // seen within a second without it
        }
    }
}

impl Board {
    /// What a client may do now.
    pub fn permissions(&self, who: &Identity) -> Permissions {
        let policy = self.settled.clone().with(&self.deployed.borrow());
        policy.permissions(who, &self.edge_device)
    }

    /// Another number: what a client may, or `local-topics` itself, has changed.
    pub fn generation(&self) -> u64 {
        self.generation.get()
    }

    pub(in crate::actors) fn renew(&self) {
        self.generation.set(self.generation.get() + 1);
    }

    /// Whether another client may use local topics.
    pub fn has_room(&self) -> bool {
        self.links.get() < self.limits.clients
    }

    pub(in crate::actors) fn set_links(&self, links: usize) {
        self.links.set(links);
    }

    /// A publish or a subscription that no policy allows.
    pub fn count_denied(&self) {
        self.denied.set(self.denied.get() + 1);
    }

    /// How many there were.
    pub fn denied(&self) -> u64 {
        self.denied.get()
    }

    pub(in crate::actors) fn earlier(&self) -> Counts {
        self.earlier.get()
    }

    pub(in crate::actors) fn keep(&self, counts: Counts) {
        self.earlier.set(counts);
    }
}
