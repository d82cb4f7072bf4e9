//! One message as it is written.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::bag::Bag;
use crate::domain::identity::Identity;
use crate::domain::iso8601;
use crate::domain::row::Offset;
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
}

pub(super) fn encode(message: &Sent, enqueued: Duration) -> Vec<u8> {
    let bag = message.bag.as_str().to_owned();
    tables::encode(&Head { enqueued, sender: message.sender.clone(), bag }, &message.body)
}

pub(super) fn decode(key: &[u8], value: &[u8]) -> Option<Item> {
    let (Head { enqueued, sender, bag }, body) = tables::decode(value)?;
    let offset = Offset(tables::read_number(key)?);
    let (enqueued, bag) = (iso8601::text(enqueued), Bag::parse(&bag).ok()?);
    Some(Item { offset, enqueued, sender, bag, body })
}

/// When the item was taken in.
pub(super) fn enqueued(value: &[u8]) -> Option<Duration> {
    tables::decode::<Head>(value).map(|(head, _)| head.enqueued)
}
