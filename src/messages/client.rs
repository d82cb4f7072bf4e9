//! What a connection of a client, or of an edge that joins many clients, answers to. Sessions
//! hold it as a `Recipient` for as long as it is there.

use actix::Message;
use bytes::Bytes;

use crate::domain::bag::Bag;
use crate::domain::identity::Identity;
use crate::domain::row::Offset;

/// Something for a client that is connected here. A notice: it is not answered, and what must
/// not be lost is in a store.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Downlink {
    /// For whom; a link serves many.
    pub to: Identity,
    /// What.
    pub what: Down,
}

/// See [`Downlink`].
#[derive(Clone, Debug)]
pub enum Down {
    /// There are rows for it that were not there before: pull.
    Owed,
    /// A direct method; answered to sessions with `MethodAnswered` and the same `call`.
    Method {
        /// Number of the call, unique in this process.
        call: u64,
        /// Its name.
        name: String,
        /// JSON.
        payload: Bytes,
    },
    /// Desired properties have changed: the patch, with `$version` in it.
    Desired {
        /// Version after the change.
        version: u64,
        /// JSON object.
        patch: Bytes,
    },
    /// A cloud-to-device message that the parent holds a lock on. `Settle` when it is done.
    CloudToDevice {
        /// The parent's lock token.
        lock: String,
        /// Properties.
        bag: Bag,
        /// Body.
        body: Bytes,
    },
    /// Identities in the scope of this edge have changed (for a link's `$edgeHub` only).
    ScopeChanged {
        /// Version of the scope.
        version: u64,
    },
    /// Rows of this endpoint up to here need no more delivery: read again (after a purge).
    Rewind(Offset),
    /// Messages on local topics wait that did not before: pull.
    LocalOwed,
    /// What is allowed on local topics, or what serves them, has changed.
    LocalChanged,
    /// End the connection; the reason is logged.
    Close(String),
    /// The keys of the module's device were changed: the connection ends if it came in by one.
    DeviceKeysChanged,
    /// The identity is no more: its connection ends and its session is forgotten. Sessions make
    /// it a `Close` for the connection.
    Gone(String),
}
