//! Writes packets to a client: what was encoded since the last write goes out in one.
//!
//! It writes on a task of its own: an actor that ends leaves nothing unwritten behind.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncWriteExt, WriteHalf};
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;

use super::stream::ByteStream;
use crate::domain::packet::ServerPacket;
use crate::protocol::codec;

/// A client that takes no byte in this time is gone.
const STALL: Duration = Duration::from_secs(30);

/// Where a connection puts its packets. Cheap to clone.
#[derive(Clone, Default)]
pub struct Writer(Rc<Inner>);

#[derive(Default)]
struct Inner {
    buffer: RefCell<BytesMut>,
    is_closing: Cell<bool>,
    changed: Notify,
    written: Notify,
}

impl Writer {
    /// Encodes a packet; it is written as soon as the client takes it.
    pub fn send(&self, packet: &ServerPacket) {
        tracing::trace!(?packet, "to client");
        if let Err(error) = codec::encode(packet, &mut self.0.buffer.borrow_mut()) {
            tracing::error!(%error, "packet left out");
        }
        self.0.changed.notify_one();
    }

    /// Bytes not written yet.
    pub fn backlog(&self) -> usize {
        self.0.buffer.borrow().len()
    }

    /// Waits until less than this is unwritten.
    pub fn below(&self, limit: usize) -> impl Future<Output = ()> + use<> {
        let inner = Rc::clone(&self.0);
        async move {
            while inner.buffer.borrow().len() >= limit {
                // What was written between the look and the wait shows a moment later.
                let _ = timeout(Duration::from_millis(50), inner.written.notified()).await;
            }
        }
    }

    /// Writes what is there, then closes the socket.
    pub fn close(&self) {
        self.0.is_closing.set(true);
        self.0.changed.notify_one();
    }

    /// Writes until closed, or until the client takes nothing; answers why.
    pub fn start(
        self,
        half: WriteHalf<Box<dyn ByteStream>>,
    ) -> impl Future<Output = Result<(), String>> {
        let (tell, ended) = oneshot::channel();
        actix::spawn(async move {
            let _ = tell.send(self.run(half).await); // nobody waits any more
        });
        async move { ended.await.unwrap_or_else(|_| Err("the writer is gone".into())) }
    }

    async fn run(self, mut half: WriteHalf<Box<dyn ByteStream>>) -> Result<(), String> {
        loop {
            let bytes = std::mem::take(&mut *self.0.buffer.borrow_mut());
            if !bytes.is_empty() {
                let write = async {
                    half.write_all(&bytes).await?;
                    half.flush().await
                };
                match timeout(STALL, write).await {
                    Ok(Ok(())) => self.0.written.notify_waiters(),
                    Ok(Err(error)) => return Err(format!("socket: {error}")),
                    Err(_) => return Err("the client takes no bytes".into()),
                }
            } else if self.0.is_closing.get() {
                let _ = timeout(Duration::from_secs(1), half.shutdown()).await; // best effort
                return Ok(());
            } else {
                self.0.changed.notified().await;
            }
        }
    }
}
