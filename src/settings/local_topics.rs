//! Settings of local topics: whether there are any, how much they may hold, and who may use them.

use serde::Deserialize;

use super::error::SettingsError;
use super::layers::Merged;
use super::values::Size;
use crate::domain::local_topics::exchange::Limits;
use crate::domain::local_topics::policy::Policy;
use crate::protocol::bus::MAX_LINKS;

/// See the module documentation.
#[derive(Clone, Debug)]
pub struct LocalTopics {
    /// Off by default.
    pub is_enabled: bool,
    /// How much may be held.
    pub limits: Limits,
    /// Beside that of `$edgeHub`.
    pub policy: Policy,
}

#[derive(Deserialize)]
pub(super) struct Raw {
    enabled: bool,
    max_clients: usize,
    max_filters_per_client: usize,
    outbox_bytes: Size,
    max_retained: usize,
    retained_bytes: Size,
    #[serde(default)]
    rules: Vec<RawRule>,
}

#[derive(Deserialize)]
struct RawRule {
    effect: String,
    identities: Vec<String>,
    operations: Vec<String>,
    topics: Vec<String>,
}

pub(super) fn read(raw: Raw, merged: &Merged) -> Result<LocalTopics, SettingsError> {
    if !(1..=MAX_LINKS).contains(&raw.max_clients) {
        let why = format!("expects 1 to {MAX_LINKS}, not {}", raw.max_clients);
        return Err(merged.wrong("local_topics.max_clients", why));
    }
    let mut policy = Policy::default();
    for (index, rule) in raw.rules.iter().enumerate() {
        let RawRule { effect, identities, operations, topics } = rule;
        let read = Policy::of_rule(effect == "allow", identities, operations, topics);
        let wrong =
            |error| merged.wrong("local_topics.rules", format!("number {}: {error}", index + 1));
        policy = policy.with(&read.map_err(wrong)?);
    }
    let limits = Limits {
        clients: raw.max_clients,
        filters: raw.max_filters_per_client,
        outbox: raw.outbox_bytes.bytes(),
        retained_topics: raw.max_retained,
        retained: raw.retained_bytes.bytes(),
    };
    Ok(LocalTopics { is_enabled: raw.enabled, limits, policy })
}
