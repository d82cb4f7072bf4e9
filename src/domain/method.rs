//! A direct method: what is called, and how a call ends.

use std::time::Duration;

use bytes::Bytes;

/// A call.
#[derive(Clone, PartialEq, Eq)]
pub struct Call {
    /// Raw, up to 100 characters.
    pub name: String,
    /// JSON; `null` if there is none.
    pub payload: Bytes,
    /// How long the answer may take, 5 to 300 s.
    pub response_timeout: Duration,
    /// How long to wait for the target to connect and subscribe, 0 to 300 s.
    pub connect_timeout: Duration,
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "method {}, {} bytes", self.name, self.payload.len())
    }
}

/// How a call ended. Each call ends once, and runs at most once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The target's own status and JSON.
    Answered(i32, Bytes),
    /// 404: not connected, or not subscribed to methods.
    NotConnected,
    /// 504: no answer in time.
    TimedOut,
}
