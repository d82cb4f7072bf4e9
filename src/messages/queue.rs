//! What the store-and-forward `queue` answers to (and localhub's telemetry log and
//! cloud-to-device queue, where they do the same).

use std::sync::Arc;
use std::time::Duration;

use actix::Message;
use bytes::Bytes;

use super::chain::Chain;
use super::salvage::Report;
use super::state::StoreError;
use crate::domain::bag::Bag;
use crate::domain::budget::{FullPolicy, Level};
use crate::domain::delivery::{Loaded, Position};
use crate::domain::identity::Identity;
use crate::domain::resent::Transmission;
use crate::domain::route::{RouteTable, Tally};
use crate::domain::row::{End, Endpoint, Key, Offset, Stamp};

/// Messages of one connection, in order of arrival. Answers after the commit, with a verdict for
/// each. A PUBACK is sent for none of them before. With a chain the next batch may follow before.
#[derive(Debug, Message)]
#[rtype(result = "Result<Vec<Verdict>, StoreError>")]
pub struct Ingest(pub Vec<Telemetry>, pub Option<Chain>);

/// One message of a client.
#[derive(Clone)]
pub struct Telemetry {
    /// The authenticated sender; on a link, the identity of the topic.
    pub sender: Identity,
    /// All properties, without what the link added.
    pub bag: Bag,
    /// Opaque.
    pub body: Bytes,
    /// What an edge added on its link.
    pub link: Option<LinkStamp>,
    /// How a client of our own sent it, with QoS 1.
    pub transmission: Option<Transmission>,
}

impl std::fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "message of {}, {} bytes", self.sender, self.body.len())
    }
}

/// `$.run`, `$.seq`, `$.low`, `$.try` of link.md, and whose they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkStamp {
    /// Device id of the edge.
    pub edge: String,
    /// Run and number.
    pub stamp: Stamp,
    /// Lowest number still owed by the edge.
    pub low: u64,
    /// Which try of this sender.
    pub attempt: u64,
}

/// What became of a message. PUBACK follows in each case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is on disk in every queue that it belongs to.
    Stored,
    /// No route took it; counted.
    Unrouted,
    /// A parent does not take it: status and message (link.md, refusal).
    Refused(u16, String),
}

/// Reads up to `max` rows of an endpoint, by priority, then offset, out of one read transaction;
/// expired rows end on the way. Never waits for more to arrive.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Loaded, StoreError>")]
pub struct Pull {
    /// Whose rows.
    pub endpoint: Endpoint,
    /// Where to begin.
    pub from: Position,
    /// Most rows wanted.
    pub max: usize,
    /// Most bytes of bodies wanted; one row is given in any case.
    pub max_bytes: usize,
    /// Senders whose rows are left out (lanes in backoff).
    pub without: Vec<Identity>,
    /// Only rows of senders that owe nothing up to here.
    pub live: Option<Offset>,
}

/// Deletes rows and counts their ends, in one transaction. Answers with the keys once that is
/// committed. A row that is gone already is not counted twice.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Vec<Key>, StoreError>")]
pub struct Finish {
    /// Whose rows.
    pub endpoint: Endpoint,
    /// Which, and how each ended.
    pub ends: Vec<(Key, End)>,
    /// Whoever sent it has gone, and another may read what is owed: it is written soon, with what
    /// was told before. Else it may wait a moment for messages to be written with.
    pub is_last: bool,
}

/// What these routes would make of the messages that are stored, dead letters too; nothing is
/// changed. Messages that were stored at most `since` ago, and at least `until`, in store time.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Tally, StoreError>")]
pub struct TryRoutes {
    /// The routes.
    pub table: Arc<RouteTable>,
    /// Oldest.
    pub since: Duration,
    /// Youngest.
    pub until: Duration,
}

/// Brings the queue to this directory; `None`: to that of the settings. Answers once it lies there,
/// which may take as long as copying does, or with why it cannot; then nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, Message)]
#[rtype(result = "Result<(), String>")]
pub struct PlaceQueue(pub Option<String>);

/// An endpoint has rows that were not there before. Says nothing of how many.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Stored(pub Endpoint);

/// Rows of an endpoint that were passed may be there again: a route was resumed, or paused.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Rewound(pub Endpoint);

/// So many messages of `QoS` 0 found no room: nobody will send them again. A notice; counted.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Refused(pub u64);

/// Makes the file of the queue as small as what is stored; answers with the bytes that it took of the
/// disk before and after.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<(u64, u64), StoreError>")]
pub struct Compact;

/// How the queue stands.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<QueueStatus, StoreError>")]
pub struct GetQueueStatus;

/// See [`GetQueueStatus`].
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct QueueStatus {
    /// Per endpoint that has, or had, rows.
    pub endpoints: Vec<EndpointStatus>,
    /// Per route and endpoint.
    pub routes: Vec<RouteCounts>,
    /// Messages that no route took.
    pub unrouted: u64,
    /// … by who sent them.
    pub unrouted_sources: Vec<UnroutedSource>,
    /// Routes that are paused, whether they are in force or not.
    pub paused: Vec<String>,
    /// Second copies that clients sent, as their connection ended before the PUBACK; not stored.
    pub resent: u64,
    /// Messages whose body a condition asked for, and which is not the JSON that they say it is; since
    /// the queue was started.
    pub not_json: u64,
    /// Messages taken in (each counted once, however many routes).
    pub messages_in: u64,
    /// Messages of `QoS` 0 that came when there was no room.
    pub refused: u64,
    /// Bytes of used pages.
    pub used_bytes: u64,
    /// Most of them; `None`: as the device has room.
    pub max_bytes: Option<u64>,
    /// What happens when they are used up.
    pub full_policy: FullPolicy,
    /// How full it is.
    pub fill: Level,
    /// Records whose checksum failed.
    pub quarantined: u64,
    /// What became of the store when it was damaged: in the last 30 days.
    pub salvages: Vec<Report>,
    /// Messages that its salvages could not copy; they are among the quarantined, but for those of
    /// which no route could be told.
    pub salvage_lost: u64,
    /// The store's state in words: `ready`, or why not.
    pub state: String,
    /// The directory in which it lies.
    pub place: String,
    /// Which store it is.
    pub store: String,
    /// The move in progress.
    pub moving: Option<MoveStatus>,
}

/// A move of the queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct MoveStatus {
    /// Where to.
    pub to: String,
    /// Bytes that this pass has looked through; what changes meanwhile takes another.
    pub done_bytes: u64,
    /// … of so many.
    pub all_bytes: u64,
}

/// What an endpoint is owed.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct EndpointStatus {
    /// `$upstream` or `device/module`.
    pub endpoint: String,
    /// Rows.
    pub messages: u64,
    /// Bytes of bodies and properties.
    pub bytes: u64,
    /// Age of the oldest row in seconds of store time.
    pub oldest_seconds: Option<u64>,
}

/// The account of one route at one endpoint: `received` = `stored` + all ends.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct RouteCounts {
    /// Name.
    pub route: String,
    /// `$upstream` or `device/module/input`.
    pub endpoint: String,
    /// Rows appended.
    pub received: u64,
    /// Rows still owed.
    pub stored: u64,
    /// … their bytes,
    pub stored_bytes: u64,
    /// … and the age of the oldest in seconds of store time.
    pub oldest_seconds: Option<u64>,
    /// It was not looked for any further: the oldest is at most so old.
    pub oldest_is_at_most: bool,
    /// Named end.
    pub delivered: u64,
    /// Named end.
    pub expired: u64,
    /// Dead letters that are there now,
    pub dead_lettered: u64,
    /// … their bytes,
    pub dead_bytes: u64,
    /// … how many were owed again since,
    pub dead_replayed: u64,
    /// … and how many were dropped: they are among the discarded.
    pub dead_dropped: u64,
    /// Named end.
    pub evicted: u64,
    /// Named end.
    pub discarded: u64,
    /// Named end.
    pub quarantined: u64,
}

/// Messages of one sender and source that no route took.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct UnroutedSource {
    /// `device` or `device/module`; `others`, if there are too many to tell them apart.
    pub sender: String,
    /// As a route names it: `/messages/modules/sensor/outputs/out`.
    pub source: String,
    /// How many.
    pub count: u64,
    /// The last few, oldest first.
    pub last: Vec<UnroutedSample>,
}

/// What is kept of a message that no route took.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct UnroutedSample {
    /// In seconds of store time.
    pub age_seconds: u64,
    /// Of its body, which is not kept.
    pub bytes: u64,
    /// By name in the topic; of many only the first.
    pub properties: std::collections::BTreeMap<String, String>,
}
