//! The multiplexed link, version 1 (docs/link.md): its topics both ways, the stamps that make
//! telemetry recognisable, and the memory of what has come.

pub mod down;
pub mod intervals;
pub mod stamp;
pub mod up;

use super::identity::Identity;

/// Version of the link that we speak.
pub const VERSION: u32 = 1;

/// The one filter that an edge subscribes to.
pub const FILTER: &str = "$iothub/devices/#";

/// A topic that the link does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the link has no such topic")]
pub struct BadLinkTopic;

/// Takes `$iothub/{resource}/` off the front.
fn take_identity(topic: &str) -> Result<(Identity, &str), BadLinkTopic> {
    resource(topic.strip_prefix("$iothub/devices/").ok_or(BadLinkTopic)?)
}

/// Takes `{d}/` or `{d}/modules/{m}/` off the front: ids contain no `/`, so the segment after the
/// id decides.
fn resource(rest: &str) -> Result<(Identity, &str), BadLinkTopic> {
    let (device, rest) = rest.split_once('/').ok_or(BadLinkTopic)?;
    let (identity, rest) = match rest.strip_prefix("modules/") {
        Some(rest) => {
            let (module, rest) = rest.split_once('/').ok_or(BadLinkTopic)?;
            (Identity::module(device, module), rest)
        }
        None => (Identity::device(device), rest),
    };
    Ok((identity.map_err(|_| BadLinkTopic)?, rest))
}

/// The value of a parameter of `?a=1&b=2`.
fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = query.strip_prefix('?')?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(other, _)| *other == name).map(|(_, value)| value)
}

fn number(query: &str, name: &str) -> Result<u64, BadLinkTopic> {
    parameter(query, name).and_then(|value| value.parse().ok()).ok_or(BadLinkTopic)
}

#[cfg(test)]
mod tests;
