//! One client at the exchange.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use super::Effect;
use crate::domain::identity::Identity;
use crate::domain::local_topics::outbox::Outbox;
use crate::domain::local_topics::tree::Slot;
use crate::domain::local_topics::{Delivery, LocalMessage};

/// Of a client with the router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    Opening,
    Open,
    Closing,
}

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) identity: Identity,
    /// Of its connection.
    pub(super) epoch: u64,
    /// Its connection is there.
    pub(super) is_wanted: bool,
    pub(super) link: Link,
    pub(super) filters: BTreeMap<String, bool>,
    pub(super) batches: VecDeque<Batch>,
    /// In the router, by reference.
    pub(super) coming: HashMap<u64, Delivery>,
    pub(super) outbox: Outbox,
    /// The client knows that something waits.
    pub(super) is_told: bool,
}

/// Who is to get a message, with `QoS` 1 or not.
pub(super) type Receivers = VecDeque<(Slot, bool)>;

/// Messages that a client published together.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) number: u64,
    pub(super) messages: VecDeque<LocalMessage>,
    /// The message under way, and who has not got it yet.
    pub(super) current: Option<(Arc<LocalMessage>, Receivers)>,
    /// The router got something of it.
    pub(super) is_routed: bool,
    /// All is sent: the router is to say that it has it.
    pub(super) is_sent: bool,
}

impl Batch {
    pub(super) fn new(number: u64, messages: Vec<LocalMessage>) -> Self {
        let (current, messages) = (None, messages.into());
        Batch { number, messages, current, is_routed: false, is_sent: false }
    }
}

impl Seat {
    pub(super) fn new(identity: Identity, outbox: usize) -> Self {
        Seat {
            identity,
            epoch: 0,
            is_wanted: true,
            link: Link::Opening,
            filters: BTreeMap::new(),
            batches: VecDeque::new(),
            coming: HashMap::new(),
            outbox: Outbox::new(outbox),
            is_told: false,
        }
    }

    /// Its client is to be told, if there is something that it does not know of.
    pub(super) fn owed(&mut self, slot: Slot) -> Option<Effect> {
        let is_news = self.is_wanted && !self.outbox.is_empty() && !self.is_told;
        self.is_told |= is_news;
        is_news.then_some(Effect::Owed(slot))
    }

    /// What waits was for a connection that is gone; answers how many that were.
    pub(super) fn leave_behind(&mut self) -> u64 {
        self.is_told = false;
        self.outbox.pull(usize::MAX, usize::MAX).len() as u64
    }

    pub(super) fn forget_coming(&mut self) -> Vec<Delivery> {
        self.coming.drain().map(|(_, delivery)| delivery).collect()
    }
}
