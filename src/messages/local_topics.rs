//! What `local-topics` answers: arbitrary topics between the clients of this device.

use actix::{Message, Recipient};

use super::client::Downlink;
use crate::domain::identity::Identity;
use crate::domain::local_topics::{Delivery, LocalMessage};

/// A connection uses local topics from now on, with these subscriptions; said anew whenever they
/// change, and whenever `local-topics` was. Answers whether there is room for one more client.
#[derive(Message)]
#[rtype(result = "bool")]
pub struct Join {
    /// Who.
    pub identity: Identity,
    /// Of the connection.
    pub epoch: u64,
    /// All its local filters, with whether `QoS` 1 was granted.
    pub filters: Vec<(String, bool)>,
    /// Those it has just subscribed to: they bring what is retained.
    pub fresh: Vec<String>,
    /// Where it is told that something waits for it.
    pub sink: Recipient<Downlink>,
}

/// The connection is gone.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Leave {
    /// Who.
    pub identity: Identity,
    /// Of the connection; a late notice of an earlier one changes nothing.
    pub epoch: u64,
}

/// Publishes to whoever has subscribed. The answer means that the router has them: in memory, and
/// nowhere else. After a client without a seat the answer is an error.
#[derive(Message)]
#[rtype(result = "Result<(), NotTaken>")]
pub struct PublishLocal {
    /// Who; what it may was looked at before.
    pub identity: Identity,
    /// In order.
    pub messages: Vec<LocalMessage>,
}

/// Messages that the router did not get.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// `Join` first.
    #[error("the client has no place among those who use local topics")]
    NoSeat,
    /// It is being started anew.
    #[error("local topics are being started anew")]
    Lost,
}

/// Takes what waits for a client. Once it is nothing, the client is told when there is again.
#[derive(Debug, Message)]
#[rtype(result = "Vec<Delivery>")]
pub struct PullLocal {
    /// For whom.
    pub identity: Identity,
    /// This many at most …
    pub most: usize,
    /// … of so many bytes together, but one at least.
    pub bytes: usize,
}

/// Another policy is in force: everybody looks at what it may. A notice.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct PolicyChanged;

/// How local topics stand.
#[derive(Debug, Message)]
#[rtype(result = "LocalStatus")]
pub struct GetLocalStatus;

/// See [`GetLocalStatus`]. Counts are since the process started.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct LocalStatus {
    /// The setting is on.
    pub is_enabled: bool,
    /// Clients with a link to the router.
    pub links: usize,
    /// Messages taken from clients.
    pub published: u64,
    /// Copies given to clients.
    pub delivered: u64,
    /// Copies that clients were too slow for, or left before.
    pub dropped: u64,
    /// Publishes and subscriptions that no policy allows.
    pub denied: u64,
    /// Messages that were not retained for want of room.
    pub unretained: u64,
    /// Topics with a retained message.
    pub retained: usize,
    /// Their memory.
    pub retained_bytes: usize,
    /// Memory of what waits for clients.
    pub waiting_bytes: usize,
}
