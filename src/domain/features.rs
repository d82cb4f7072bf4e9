//! What a client has asked for by its subscriptions.

use serde::{Deserialize, Serialize};

/// The feature set of an identity, as `attach` carries it (link.md).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Features {
    /// Cloud-to-device messages.
    #[serde(default)]
    pub c2d: bool,
    /// Direct methods.
    #[serde(default)]
    pub methods: bool,
    /// Patches of desired properties.
    #[serde(default)]
    pub desired: bool,
    /// Module inputs; local to a gateway, never on the link.
    #[serde(skip)]
    pub inputs: bool,
}
