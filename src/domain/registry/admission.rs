//! Who may come in to the hub, with what. The reasons are for the hub's log, not for the client.

use super::{Authentication, Entry, Registry};
use crate::domain::identity::Identity;
use crate::domain::proof::{Door, NotProven, Proven, Registered, Shown, prove};

/// Why it may not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// No such identity.
    #[error("it is not registered")]
    Unknown,
    /// It, or its device.
    #[error("it, or its device, is disabled")]
    Disabled,
    /// Another version than 1.
    #[error("it asks for version {0} of the link; this hub has version 1")]
    LinkVersion(u32),
    /// Only `$edgeHub` of an edge device may.
    #[error("it is not $edgeHub of an edge device, so it may be no link")]
    NoEdge,
    /// What it showed.
    #[error(transparent)]
    NotProven(#[from] NotProven),
}

impl Registry {
    /// Whether `id` may come in to the hub `hostname` at `now` (seconds of Unix time), as a link
    /// of a version if it asks for one.
    pub fn admit(
        &self,
        id: &Identity,
        shown: Shown<'_>,
        link: Option<u32>,
        hostname: &str,
        now: u64,
    ) -> Result<Proven, NotAdmitted> {
        let entry = self.get(id).ok_or(NotAdmitted::Unknown)?;
        if !self.is_usable(entry) {
            return Err(NotAdmitted::Disabled);
        }
        if let Some(version) = link {
            self.check_link(id, version)?;
        }
        let device = self.get(&id.of_device()).map(Entry::keys).unwrap_or_default();
        let (keys, thumbprints) = (entry.keys(), entry.thumbprints());
        let registered = Registered {
            keys: &keys,
            thumbprints: &thumbprints,
            by_authority: entry.authentication == Authentication::CertificateAuthority,
        };
        let door = Door { hosts: &[hostname], now, skew: 0 };
        Ok(prove(id, shown, registered, &device, door)?)
    }

    fn check_link(&self, id: &Identity, version: u32) -> Result<(), NotAdmitted> {
        let is_edge = self.get(&id.of_device()).is_some_and(|device| device.is_edge);
        if id.module_id() != Some("$edgeHub") || !is_edge {
            return Err(NotAdmitted::NoEdge);
        }
        if version == 1 { Ok(()) } else { Err(NotAdmitted::LinkVersion(version)) }
    }
}
