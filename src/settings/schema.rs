//! Every key, in the order of the documentation. `config/*.toml` documents them.

use super::kind::Kind::{self, *};
use crate::domain::delivery::{MOST_LIVE, MOST_SHARE};
use crate::protocol::bus::MAX_LINKS;

/// A program's settings.
#[derive(Debug)]
pub(super) struct Schema {
    /// Names and kinds.
    pub(super) keys: &'static [(&'static str, Kind)],
    /// The built-in defaults: the documented file itself.
    pub(super) defaults: &'static str,
    /// What variables begin with.
    pub(super) prefix: &'static str,
}

/// Of `edge-runtime` (interfaces 2).
pub(super) const EDGE: Schema = Schema {
    keys: &[
        ("device.connection_string", ConnectionString),
        ("device.connection_string_file", Path),
        ("device.gateway_hostname", Text),
        ("state.path", Path),
        ("state.mount_point", Path),
        ("hub.listen", Addresses),
        ("hub.listen_https", Addresses),
        ("hub.listen_plain", LoopbackAddresses),
        ("hub.client_ca", Path),
        ("hub.parking_bytes", Size),
        ("hub.parking_bytes_per_client", Size),
        ("hub.priority_share_percent", Number(MOST_SHARE as i64)),
        ("hub.live_share_percent", Number(MOST_LIVE as i64)),
        ("local_topics.enabled", Switch),
        ("local_topics.max_clients", Number(MAX_LINKS as i64)),
        ("local_topics.max_filters_per_client", Number(10_000)),
        ("local_topics.outbox_bytes", Size),
        ("local_topics.max_retained", Number(1_000_000)),
        ("local_topics.retained_bytes", Size),
        ("local_topics.rules", Tables(RULE, &["effect", "identities", "operations", "topics"])),
        ("certificates.server_life", Age),
        ("certificates.ca_life", Age),
        ("upstream.address", HostPort),
        ("upstream.https_address", HostPort),
        ("upstream.trusted_ca", Path),
        ("upstream.dialect", OneOf(&["multiplexed"])),
        ("store.queue", Path),
        ("store.allowed_roots", Paths),
        ("store.max_bytes", Size),
        ("store.full_policy", OneOf(&["reject-new", "drop-oldest", "drop-lowest-priority"])),
        ("store.reserve_bytes", Size),
        ("store.trace_ended", Number(100_000)),
        ("agent.docker", EngineAddress),
        ("agent.docker_config", Path),
        ("agent.network", Text),
        ("agent.allow_elevated_docker_permissions", Switch),
        ("agent.restart_backoff", Age),
        ("agent.update_deadline", Age),
        ("agent.startup_deadline", Age),
        ("agent.registry_credentials", Tables(CREDENTIAL, &["address", "username"])),
        ("agent.workload_development_socket", Path),
        ("images.max_pulls", Number(100)),
        ("images.disk_reserve_bytes", Size),
        ("images.rules", Tables(IMAGE_RULE, &["image", "require"])),
        ("image_garbage_collection.enabled", Switch),
        ("image_garbage_collection.cleanup_recurrence", Age),
        ("image_garbage_collection.image_age_cleanup_threshold", Age),
        ("management.socket", Path),
        ("management.mode", OneOf(&["0600", "0660"])),
        ("management.group", Text),
        ("metrics.listen", Address),
        ("log.level", LogLevel),
        ("log.format", OneOf(&["text", "json"])),
        ("audit.file", Path),
        ("audit.max_bytes", Size),
        ("audit.kept", Number(100)),
    ],
    defaults: include_str!("../../config/default.toml"),
    prefix: "EDGE_RUNTIME__",
};

const CREDENTIAL: &[(&str, Kind)] =
    &[("address", Text), ("username", Text), ("password", Secret), ("password_file", Path)];

const IMAGE_RULE: &[(&str, Kind)] =
    &[("image", Text), ("require", OneOf(&["nothing", "digest", "signature"])), ("keys", Paths)];

const RULE: &[(&str, Kind)] = &[
    ("effect", OneOf(&["allow", "deny"])),
    ("identities", Texts),
    ("operations", Texts),
    ("topics", Texts),
];

/// Of `localhub` (interfaces 4).
pub(super) const LOCALHUB: Schema = Schema {
    keys: &[
        ("hostname", Text),
        ("state.path", Path),
        ("listen", Addresses),
        ("listen_https", Addresses),
        ("listen_plain", LoopbackAddresses),
        ("client_ca", Path),
        ("telemetry.retention_bytes", Size),
        ("telemetry.retention_age", Age),
        ("files.max_bytes", Size),
        ("files.max_file_bytes", Size),
        ("log.level", LogLevel),
        ("log.format", OneOf(&["text", "json"])),
    ],
    defaults: include_str!("../../config/localhub.toml"),
    prefix: "LOCALHUB__",
};

impl Schema {
    /// The kind of a key; if there is no such key, the nearest that there is.
    pub(super) fn kind(&self, key: &str) -> Result<Kind, Option<String>> {
        match self.keys.iter().find(|(name, _)| *name == key) {
            Some((_, kind)) => Ok(*kind),
            None => Err(nearest(key, self.keys.iter().map(|(name, _)| *name))),
        }
    }

    /// Whether keys begin with this.
    pub(super) fn is_section(&self, key: &str) -> bool {
        let is_below = |name: &str| name.strip_prefix(key).is_some_and(|r| r.starts_with('.'));
        self.keys.iter().any(|(name, _)| is_below(name))
    }
}

/// The name that is most like `key`, if one is.
pub(super) fn nearest<'a>(key: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    let last = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    let alike = |name: &str| {
        let whole = strsim::normalized_damerau_levenshtein(key, name);
        let tail = strsim::jaro_winkler(&last(key), &last(name));
        whole.max(tail * 0.9)
    };
    let best = names.map(|name| (alike(name), name)).max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(alike, _)| *alike > 0.65).map(|(_, name)| name.to_owned())
}
