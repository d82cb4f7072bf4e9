//! What the application and the link say to each other.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use crate::error::ClientError;
use crate::message::Message;

/// Where the connection stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// Asking for a token, connecting, logging in.
    Connecting,
    /// Logged in.
    Connected,
    /// The last attempt or connection ended; the next one comes by itself.
    Waiting {
        /// Why it ended.
        why: String,
        /// When the next attempt starts.
        retry_in: Duration,
    },
    /// Closed by the application.
    Closed,
}

impl fmt::Display for LinkState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connecting => f.write_str("connecting"),
            Self::Connected => f.write_str("connected"),
            Self::Waiting { why, retry_in } => {
                write!(f, "not connected: {why}; next attempt in {:.1} s", retry_in.as_secs_f64())
            }
            Self::Closed => f.write_str("closed"),
        }
    }
}

/// A message to publish, and whom to tell when the hub has it.
#[derive(Debug)]
pub(crate) struct Outbound {
    pub(crate) topic: String,
    pub(crate) body: Bytes,
    pub(crate) acked: oneshot::Sender<()>,
}

/// A twin request without its request id.
#[derive(Clone, Debug)]
pub(crate) enum TwinKind {
    Get,
    Report(String),
}

/// Everything else that an application asks of the link.
#[derive(Debug)]
pub(crate) enum Command {
    WantInputs,
    WantDesired,
    WantMethods,
    Twin {
        kind: TwinKind,
        reply: oneshot::Sender<Result<Value, ClientError>>,
    },
    /// The application took an input of this connection (they are counted).
    Done {
        connection: u64,
        pkid: u16,
    },
    /// The application answers a method call of this connection.
    Answer {
        connection: u64,
        rid: String,
        status: u16,
        body: String,
    },
}

/// A message that was sent to this client. It stays owed until [`Input::done`].
#[derive(Debug)]
pub struct Input {
    pub(crate) name: String,
    pub(crate) message: Message,
    pub(crate) redelivered: bool,
    pub(crate) receipt: Option<Receipt>,
}

/// The right to acknowledge one delivery on the connection it came by.
#[derive(Debug)]
pub(crate) struct Receipt {
    pub(crate) connection: u64,
    pub(crate) pkid: u16,
    pub(crate) commands: mpsc::Sender<Command>,
}

impl Input {
    /// The input's name; `devicebound` for cloud-to-device messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What was sent.
    pub fn message(&self) -> &Message {
        &self.message
    }

    /// The hub may have delivered this before.
    pub fn redelivered(&self) -> bool {
        self.redelivered
    }

    /// Acknowledges it: the hub will not deliver it again. On a connection that has ended
    /// meanwhile this does nothing, and the hub delivers it again on the next.
    pub async fn done(self) {
        if let Some(Receipt { connection, pkid, commands }) = self.receipt {
            let _ = commands.send(Command::Done { connection, pkid }).await;
        }
    }
}

/// A direct method called on this client.
#[derive(Debug)]
pub struct MethodCall {
    pub(crate) name: String,
    pub(crate) payload: Value,
    pub(crate) rid: String,
    pub(crate) connection: u64,
    pub(crate) commands: mpsc::Sender<Command>,
}

impl MethodCall {
    /// The method's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it was called with; null if nothing.
    pub fn payload(&self) -> &Value {
        &self.payload
    }

    /// Answers the caller. If the connection has ended meanwhile, the caller's call has too.
    pub async fn answer(self, status: u16, body: Value) {
        let (connection, rid, body) = (self.connection, self.rid, body.to_string());
        let _ = self.commands.send(Command::Answer { connection, rid, status, body }).await;
    }
}
