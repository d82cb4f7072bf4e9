//! Writes packets to a client: what was encoded since the last write goes out in one.
//!
//! It writes on a task of its own, which is there only while there is something to be written: an
//! actor that ends leaves nothing unwritten behind, and most clients are idle. A client that does
//! not read is cut off when too much waits for it, so that it costs no other client its memory.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncWriteExt, WriteHalf};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::stream::ByteStream;
use crate::domain::packet::ServerPacket;
use crate::protocol::codec;

/// A client that takes no byte in this time is gone.
const STALL: Duration = Duration::from_secs(30);
/// Unwritten bytes of one client: its window of rows (4 MiB), and as much of all else.
const MOST: usize = 8 << 20;
/// Unwritten bytes of all clients. While there are more …
const MOST_OF_ALL: usize = 32 << 20;
/// … one that has more than this unwritten is cut off.
const SHARE: usize = 64 << 10;
const UNREAD: &str = "the client does not read";

/// The half of a stream that packets go to.
pub type Half = WriteHalf<Box<dyn ByteStream>>;

/// Unwritten bytes of all clients. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Unwritten(Rc<Cell<usize>>);

/// Where a connection puts its packets. Cheap to clone.
#[derive(Clone)]
pub struct Writer(Rc<Inner>);

/// A [`Writer`] of somebody else's.
#[derive(Debug)]
pub struct Remote(Weak<Inner>);

impl Remote {
    /// Whether it is kept.
    pub fn is_there(&self) -> bool {
        self.0.strong_count() > 0
    }

    /// Whoever waits for its end hears of this one.
    pub fn fail(&self, why: String) {
        if let Some(inner) = self.0.upgrade() {
            inner.ends(Err(why));
        }
    }
}

struct Inner {
    of_all: Unwritten,
    most: usize,
    /// None while a task has it, and after the end.
    half: Cell<Option<Half>>,
    buffer: RefCell<BytesMut>,
    /// Bytes that are not written.
    unwritten: Cell<usize>,
    /// Bytes that were ever put in, and that were written.
    put: Cell<u64>,
    gone: Cell<u64>,
    is_closing: Cell<bool>,
    is_overrun: Cell<bool>,
    overrun: Notify,
    written: Notify,
    end: Cell<Option<Result<(), String>>>,
    /// Who waits for the end.
    waits: Cell<Option<Waker>>,
}

impl Writer {
    /// For a client.
    pub fn new(half: Half, of_all: Unwritten) -> Self {
        Self::with_most(half, of_all, MOST)
    }

    /// For the link of an edge, which has many clients.
    pub fn of_link(half: Half, of_all: Unwritten) -> Self {
        Self::with_most(half, of_all, 4 * MOST)
    }

    fn with_most(half: Half, of_all: Unwritten, most: usize) -> Self {
        Writer(Rc::new(Inner {
            of_all,
            most,
            half: Cell::new(Some(half)),
            buffer: RefCell::default(),
            unwritten: Cell::new(0),
            put: Cell::new(0),
            gone: Cell::new(0),
            is_closing: Cell::new(false),
            is_overrun: Cell::new(false),
            overrun: Notify::new(),
            written: Notify::new(),
            end: Cell::new(None),
            waits: Cell::new(None),
        }))
    }

    /// Encodes a packet; it is written as soon as the client takes it.
    pub fn send(&self, packet: &ServerPacket) {
        if self.0.is_overrun.get() {
            return;
        }
        tracing::trace!(?packet, "to client");
        let mut buffer = self.0.buffer.borrow_mut();
        let before = buffer.len();
        if let Err(error) = codec::encode(packet, &mut buffer) {
            tracing::error!(%error, "packet left out");
        }
        self.0.count(buffer.len() - before);
        let share = if self.0.of_all.0.get() > MOST_OF_ALL { SHARE } else { self.0.most };
        if self.0.unwritten.get() > share.min(self.0.most) {
            *buffer = BytesMut::new();
            self.0.is_overrun.set(true);
            self.0.overrun.notify_one();
        }
        drop(buffer);
        self.run();
    }

    /// Waits until all that was put in before this call is written.
    pub fn written(&self) -> impl Future<Output = ()> + use<> {
        let (inner, goal) = (Rc::clone(&self.0), self.0.put.get());
        async move {
            while inner.gone.get() < goal {
                inner.written.notified().await;
            }
        }
    }

    /// Bytes not written yet.
    pub fn backlog(&self) -> usize {
        self.0.unwritten.get()
    }

    /// Waits until less than this is unwritten.
    pub fn below(&self, limit: usize) -> impl Future<Output = ()> + use<> {
        let inner = Rc::clone(&self.0);
        async move {
            while inner.unwritten.get() >= limit {
                // What was written between the look and the wait shows a moment later.
                let _ = timeout(Duration::from_millis(50), inner.written.notified()).await;
            }
        }
    }

    /// Writes what is there, then closes the socket.
    pub fn close(&self) {
        self.0.is_closing.set(true);
        self.run();
    }

    /// Ends when the writer was closed and all is written, or when the client takes nothing;
    /// answers why. For one to wait for.
    pub fn ended(&self) -> impl Future<Output = Result<(), String>> + use<> {
        let inner = Rc::clone(&self.0);
        poll_fn(move |cx| match inner.end.take() {
            Some(end) => Poll::Ready(end),
            None => {
                inner.waits.set(Some(cx.waker().clone()));
                Poll::Pending
            }
        })
    }

    /// For who does not keep it.
    pub fn remote(&self) -> Remote {
        Remote(Rc::downgrade(&self.0))
    }

    /// Writes, unless that is under way.
    fn run(&self) {
        if let Some(half) = self.0.half.take() {
            actix::spawn(Rc::clone(&self.0).run(half));
        }
    }
}

impl Inner {
    async fn run(self: Rc<Self>, mut half: Half) {
        let end = loop {
            let bytes = self.buffer.take();
            if self.is_overrun.get() {
                break Err(UNREAD.into());
            } else if !bytes.is_empty() {
                let written = tokio::select! {
                    written = self.write(&mut half, &bytes) => written,
                    () = self.overrun.notified() => Err(UNREAD.into()),
                };
                if written.is_err() {
                    break written;
                }
            } else if self.is_closing.get() {
                let _ = timeout(Duration::from_secs(1), half.shutdown()).await; // best effort
                break Ok(());
            } else {
                return self.half.set(Some(half));
            }
        };
        drop(half);
        self.ends(end);
    }

    fn ends(&self, end: Result<(), String>) {
        self.end.set(Some(end));
        if let Some(waits) = self.waits.take() {
            waits.wake();
        }
    }

    fn count(&self, bytes: usize) {
        self.put.set(self.put.get() + bytes as u64);
        self.unwritten.set(self.unwritten.get() + bytes);
        self.of_all.0.set(self.of_all.0.get() + bytes);
    }

    async fn write(&self, half: &mut Half, bytes: &[u8]) -> Result<(), String> {
        let mut left = bytes;
        while !left.is_empty() {
            match timeout(STALL, half.write(left)).await {
                Ok(Ok(0)) => return Err("socket: closed".into()),
                Ok(Ok(count)) => {
                    left = &left[count..];
                    self.unwritten.set(self.unwritten.get() - count);
                    self.of_all.0.set(self.of_all.0.get() - count);
                }
                Ok(Err(error)) => return Err(format!("socket: {error}")),
                Err(_) => return Err("the client takes no bytes".into()),
            }
        }
        match timeout(STALL, half.flush()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(format!("socket: {error}")),
            Err(_) => return Err("the client takes no bytes".into()),
        }
        self.gone.set(self.gone.get() + bytes.len() as u64);
        self.written.notify_waiters();
        Ok(())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.of_all.0.set(self.of_all.0.get() - self.unwritten.get());
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::io::{AsyncReadExt, DuplexStream};

    use super::*;
    use crate::domain::packet::{Publish, QoS};

    const PIECE: usize = 1 << 20;

    fn client(of_all: &Unwritten) -> (Writer, DuplexStream, tokio::task::JoinHandle<String>) {
        let (ours, theirs) = tokio::io::duplex(1_024);
        let (_, half) = tokio::io::split(Box::new(ours) as Box<dyn ByteStream>);
        let writer = Writer::new(half, of_all.clone());
        let end = writer.ended();
        (writer, theirs, actix::spawn(async move { end.await.unwrap_err() }))
    }

    fn send(writer: &Writer, bytes: usize) {
        let (payload, topic) = (Bytes::from(vec![0; bytes]), "t".into());
        let (qos, id) = (QoS::AtMostOnce, 0);
        writer.send(&ServerPacket::Publish(Publish {
            dup: false,
            qos,
            retain: false,
            topic,
            id,
            payload,
        }));
    }

    #[actix::test]
    async fn one_that_does_not_read_is_cut_off_and_holds_nothing_any_more() {
        let of_all = Unwritten::default();
        let (writer, theirs, end) = client(&of_all);
        (0..MOST / PIECE).for_each(|_| send(&writer, PIECE - 100));
        tokio::task::yield_now().await;
        assert!(!end.is_finished(), "it has a window's time to read");
        send(&writer, PIECE);
        assert_eq!(end.await.unwrap(), UNREAD);
        send(&writer, PIECE);
        drop(writer);
        assert_eq!(of_all.0.get(), 0);
        drop(theirs);
    }

    #[actix::test]
    async fn many_that_do_not_read_are_cut_off_sooner_and_one_that_does_is_not() {
        let of_all = Unwritten::default();
        let dead: Vec<_> = (0..20).map(|_| client(&of_all)).collect();
        let (reads, mut theirs, end) = client(&of_all);
        for _ in 0..4 {
            for (writer, ..) in &dead {
                send(writer, PIECE / 2);
            }
        }
        assert!(of_all.0.get() <= MOST_OF_ALL + 20 * (SHARE + PIECE), "{}", of_all.0.get());
        tokio::task::yield_now().await;
        assert!(dead.iter().filter(|(_, _, end)| end.is_finished()).count() > 3);
        send(&reads, 20);
        let written = reads.written();
        theirs.read_exact(&mut [0; 20]).await.unwrap();
        written.await;
        assert!(!end.is_finished());
    }
}
