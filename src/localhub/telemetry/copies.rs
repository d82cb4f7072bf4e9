//! What clients of the hub itself have sent last, as it is kept beside the log: by it a second
//! copy is known (`domain/resent.rs`).

use std::collections::{BTreeMap, BTreeSet};

use actix::prelude::*;

use super::Telemetry;
use crate::actors::port::Port;
use crate::domain::identity::Identity;
use crate::domain::resent::{Resent, digest};
use crate::localhub::tables::{self, RESENT};
use crate::messages::queue::Telemetry as Sent;
use crate::messages::registry::Forget;
use crate::messages::state::{Change, Scan, StoreError};

/// Per sender its last messages.
#[derive(Debug, Default)]
pub(super) struct Copies {
    senders: BTreeMap<Identity, Resent>,
    changed: BTreeSet<Identity>,
}

impl Copies {
    pub(super) async fn load(scan: Port<Scan>) -> Result<Self, StoreError> {
        let pairs = tables::load(scan, RESENT, |key, value| {
            let sender = Identity::parse(std::str::from_utf8(key).ok()?).ok()?;
            Some((sender, Resent::from_bytes(value)?))
        });
        Ok(Copies { senders: pairs.await?.into_iter().collect(), changed: BTreeSet::new() })
    }

    /// Whether it is a second copy of what is in the log. If not, it is remembered.
    pub(super) fn has(&mut self, message: &Sent) -> bool {
        let Some(how) = message.transmission else { return false };
        let digest = digest(message.bag.as_str(), &message.body);
        let resent = self.senders.entry(message.sender.clone()).or_default();
        let is_second = resent.on_arrival(how, digest);
        if !is_second {
            self.changed.insert(message.sender.clone());
        }
        is_second
    }

    /// What is to be written since the last time.
    pub(super) fn take_changes(&mut self) -> Vec<Change> {
        let changed = std::mem::take(&mut self.changed);
        let resent = changed.into_iter().filter_map(|id| Some((self.senders.get(&id)?, id)));
        resent.map(|(resent, id)| Change::put(RESENT, id.as_str(), resent.to_bytes())).collect()
    }
}

/// On disk the registry has deleted it, with the identity.
impl Handler<Forget> for Telemetry {
    type Result = ();

    fn handle(&mut self, Forget(identities): Forget, _: &mut Self::Context) {
        for identity in identities {
            self.copies.senders.remove(&identity);
        }
    }
}
