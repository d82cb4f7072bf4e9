//! One message as it is written.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::bag::Bag;
use crate::domain::identity::Identity;
use crate::domain::iso8601;
use crate::domain::row::{Offset, Stamp};
use crate::localhub::tables;
use crate::messages::queue::Telemetry as Sent;
use crate::messages::telemetry::Item;

#[derive(Serialize, Deserialize)]
struct Head {
    #[serde(rename = "t")]
    enqueued: Duration,
    #[serde(rename = "s")]
    sender: Identity,
    #[serde(rename = "b")]
    bag: String,
    /// Over which link it came, and its run and number there.
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    link: Option<(String, u64, u64)>,
}

pub(super) fn encode(message: &Sent, enqueued: Duration) -> Vec<u8> {
    let bag = message.bag.as_str().to_owned();
    let link = message.link.as_ref();
    let link = link.map(|link| (link.edge.clone(), link.stamp.run, link.stamp.seq));
    let sender = message.sender.clone();
    tables::encode(&Head { enqueued, sender, bag, link }, &message.body)
}

pub(super) fn decode(key: &[u8], value: &[u8]) -> Option<Item> {
    let (Head { enqueued, sender, bag, .. }, body) = tables::decode(value)?;
    let offset = Offset(tables::read_number(key)?);
    let (enqueued, bag) = (iso8601::text(enqueued), Bag::parse(&bag).ok()?);
    Some(Item { offset, enqueued, sender, bag, body })
}

/// Over which link it came, and its stamp there.
pub(super) fn stamp(value: &[u8]) -> Option<(String, Stamp)> {
    let (edge, run, seq) = tables::decode::<Head>(value)?.0.link?;
    Some((edge, Stamp { run, seq }))
}

/// When the item was taken in.
pub(super) fn enqueued(value: &[u8]) -> Option<Duration> {
    tables::decode::<Head>(value).map(|(head, _)| head.enqueued)
}
