//! Where a route takes messages from, and which messages that covers (edgehub.md 2.2).

use std::fmt;

use super::inbound::{Inbound, SourceKind};
use crate::domain::bag::eq_ignore_case;

/// The segments of a source without the `*` or `/` at its end. It covers all messages whose own
/// source begins with them, whatever the case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source(Vec<String>);

/// Why no message ever comes from a source.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSource {
    /// `/messages/modules/*/outputs/o`
    #[error("`*` can only stand at the end of a source")]
    StarWithin,
    /// `/deviceLifecycleEvents` and the like.
    #[error(
        "only the cloud hub has this source; here are /messages/*, \
         /messages/modules/M[/outputs/O], /twinChangeNotifications and /*"
    )]
    CloudOnly,
    /// Nothing like it.
    #[error(
        "no message has this source; there are /messages/*, /messages/modules/M[/outputs/O], \
         /twinChangeNotifications and /*"
    )]
    Unknown,
}

/// First items of the sources that the cloud hub's own routing has.
const CLOUD_ONLY: [&str; 7] = [
    "deviceLifecycleEvents",
    "deviceConnectionStateEvents",
    "deviceJobLifecycleEvents",
    "digitalTwinChangeEvents",
    "twinChangeEvents",
    "deviceMessages",
    "mqttBrokerMessages",
];

impl Source {
    /// Of the items between slashes; the last one may be empty.
    pub(super) fn of_items(items: &[String]) -> Result<Self, BadSource> {
        let mut items: Vec<String> = items.to_vec();
        if let Some(last) = items.last_mut() {
            let bare = last.trim_end_matches('*').to_owned();
            *last = bare;
        }
        if items.last().is_some_and(String::is_empty) {
            items.pop();
        }
        if items.iter().any(|item| item == "*") {
            return Err(BadSource::StarWithin);
        }
        let is = |at: usize, word| items.get(at).is_none_or(|item| eq_ignore_case(item, word));
        let is_telemetry = is(0, "messages") && is(1, "modules") && is(3, "outputs");
        let is_twin_change = items.len() == 1 && is(0, "twinChangeNotifications");
        let is_cloud = |first: &String| CLOUD_ONLY.iter().any(|name| eq_ignore_case(first, name));
        if items.first().is_some_and(is_cloud) {
            return Err(BadSource::CloudOnly);
        }
        if items.iter().any(String::is_empty) || !(is_telemetry || is_twin_change) {
            return Err(BadSource::Unknown);
        }
        Ok(Source(items))
    }

    /// What stands between its slashes.
    pub(super) fn items(&self) -> &[String] {
        &self.0
    }

    /// Whether the message comes from here.
    pub fn covers(&self, message: &Inbound<'_>) -> bool {
        let mut left = self.0.iter().peekable();
        walk(message, |item| left.next_if(|wanted| eq_ignore_case(wanted, item)).is_some());
        left.peek().is_none()
    }
}

/// Calls `step` with the items of the message's own source, one after the other, until it says no.
pub(super) fn walk(message: &Inbound<'_>, mut step: impl FnMut(&str) -> bool) {
    if message.kind == SourceKind::TwinChange {
        step("twinChangeNotifications");
        return;
    }
    if !step("messages") {
        return;
    }
    let Some(module) = message.sender.module_id() else { return };
    if !(step("modules") && step(module)) {
        return;
    }
    if let Some(output) = message.output()
        && step("outputs")
    {
        let _ = output.split('/').all(step);
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.is_empty() {
            // Not `/*`: with a later `*/` that is a comment.
            true => f.write_str("/"),
            false => self.0.iter().try_for_each(|item| write!(f, "/{item}")),
        }
    }
}
