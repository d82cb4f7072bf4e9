//! What is written of a message, and of the feedback on its end.

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::actors::port::Port;
use crate::domain::bag::Bag;
use crate::domain::identity::Identity;
use crate::domain::iso8601;
use crate::domain::row::{End, Offset, Row};
use crate::localhub::tables::{self, DEVICEBOUND, FEEDBACK, IDENTITIES};
use crate::messages::devicebound::Ack;
use crate::messages::state::{Change, Scan, StoreError};

/// A message as stored.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) bag: Bag,
    pub(super) body: Bytes,
    pub(super) expires: Option<Duration>,
    pub(super) tries: u32,
    pub(super) ack: Ack,
}

#[derive(Serialize, Deserialize)]
struct Head {
    bag: String,
    expires: Option<Duration>,
    tries: u32,
    ack: Ack,
}

pub(super) fn key(device: &Identity, offset: Offset) -> Vec<u8> {
    [device.as_str().as_bytes(), b"\n", &tables::number(offset.0)].concat()
}

impl Stored {
    pub(super) fn encode(&self) -> Vec<u8> {
        let bag = self.bag.as_str().to_owned();
        let head = Head { bag, expires: self.expires, tries: self.tries, ack: self.ack };
        tables::encode(&head, &self.body)
    }

    pub(super) fn decode(value: &[u8]) -> Option<Self> {
        let (Head { bag, expires, tries, ack }, body) = tables::decode(value)?;
        Some(Stored { bag: Bag::parse(&bag).ok()?, body, expires, tries, ack })
    }

    pub(super) fn into_row(self, device: &Identity, offset: Offset) -> Row {
        Row {
            key: crate::domain::devicebound::key(offset),
            sender: device.clone(),
            route: "".into(),
            input: None,
            stamp: None,
            bag: self.bag,
            body: self.body,
        }
    }
}

/// What the sender of a message asked to be told.
#[derive(Debug)]
pub(super) struct Feedback(Value);

impl Feedback {
    /// `None`: this end was not asked for.
    pub(super) fn of(stored: &Stored, device: &Identity, end: &End, now: Duration) -> Option<Self> {
        let status = match end {
            End::Delivered => "Success",
            End::Expired => "Expired",
            End::Discarded => "Purged",
            _ => "DeliveryCountExceeded",
        };
        let is_wanted = match stored.ack {
            Ack::None => false,
            Ack::Positive => *end == End::Delivered,
            Ack::Negative => *end != End::Delivered,
            Ack::Full => true,
        };
        is_wanted.then(|| {
            Feedback(json!({
                "originalMessageId": stored.bag.value("$.mid"),
                "enqueuedTimeUtc": iso8601::text(now),
                "statusCode": status,
                "description": status,
                "deviceId": device.device_id(),
            }))
        })
    }

    pub(super) fn to_change(&self, number: u64) -> Change {
        Change::put(FEEDBACK, tables::number(number), self.0.to_string())
    }
}

type Message = (Identity, Offset, Stored);

/// What there is when the hub starts.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) messages: Vec<Message>,
    /// Of devices that are no more: the hub was killed right after it had deleted them.
    pub(super) orphans: Vec<Message>,
    pub(super) last_feedback: u64,
}

/// Reads all.
pub(super) async fn load(scan: Port<Scan>) -> Result<Found, StoreError> {
    let is_device = |key: &[u8], _: &[u8]| Some(std::str::from_utf8(key).ok()?.to_owned());
    let known = tables::load(scan.clone(), IDENTITIES, is_device).await?;
    let known: HashSet<String> = known.into_iter().collect();
    let messages = tables::load(scan.clone(), DEVICEBOUND, |key, value| {
        let (device, number) = key.split_at_checked(key.len().checked_sub(9)?)?;
        let device = Identity::parse(std::str::from_utf8(device).ok()?).ok()?;
        let mut stored = Stored::decode(value)?;
        stored.body = Bytes::new(); // read again when it is given
        Some((device, Offset(tables::read_number(number)?), stored))
    });
    let messages = messages.await?;
    let (messages, orphans) =
        messages.into_iter().partition(|(device, ..)| known.contains(device.as_str()));
    let numbers = tables::load(scan, FEEDBACK, |key, _| tables::read_number(key)).await?;
    Ok(Found { messages, orphans, last_feedback: numbers.into_iter().max().unwrap_or(0) })
}
