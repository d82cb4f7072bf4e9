//! Reads a client's packets in batches, as they come, under the connection's budget.
//!
//! Reading stops only for a PUBLISH that has no room; what frees memory (PUBACK, PINGREQ) is
//! behind it for 10 s at most, then the connection is closed.
//!
//! next: `connection/`

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use futures_util::Stream;
use futures_util::future::LocalBoxFuture;
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf, ReadHalf};
use tokio::time::timeout;

use super::budget::Budget;
use super::doorkeeper::Visit;
use super::stream::ByteStream;
use super::watch::Pulse;
use crate::domain::packet::ClientPacket;
use crate::protocol::codec::{self, BadPacket};

/// No room for a PUBLISH in this time: closed.
const ROOM: Duration = Duration::from_secs(10);
const FOR_EVER: Duration = Duration::from_secs(86_400 * 365);
/// No byte of a packet that has begun: closed.
const STALL: Duration = Duration::from_secs(30);
/// A packet is complete in this time, or the connection is closed.
const WHOLE: Duration = Duration::from_secs(300);
/// A CONNECT of more bytes needs room.
const LARGE: usize = 8 << 10;
/// Packets in one batch at most, so that no client keeps the thread to itself.
const BATCH: usize = 128;
/// Bytes that are read at a time: of a client that sends little …
const LEAST: usize = 4_096;
/// … of one that sends much, …
const BUSY: usize = 32 << 10;
/// … and of one whose packet is larger than that.
const MOST: usize = 64 << 10;

thread_local! {
    /// Where packets that begin are read to: an idle connection has no place of its own.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Why nothing more will be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadEnd {
    /// The client closed its side.
    #[error("closed by the client")]
    Closed,
    /// The socket failed.
    #[error("socket: {0}")]
    Socket(String),
    /// What came is not to be had.
    #[error(transparent)]
    Bad(#[from] BadPacket),
    /// A packet that has begun did not go on.
    #[error("a packet was not completed in time")]
    Stalled,
    /// No room for a PUBLISH in 10 s.
    #[error("too many messages wait for their acknowledgement")]
    NoRoom,
}

/// A packet and how many bytes are reserved for it (0 unless it is a PUBLISH).
pub type Sized = (ClientPacket, usize);

/// The half of a stream that packets come from.
pub struct Reader {
    half: ReadHalf<Box<dyn ByteStream>>,
    buffer: BytesMut,
    /// Bytes to read next: more the more came lately.
    chunk: usize,
    budget: Option<Rc<Budget>>,
    /// Room for the packet at the front of the buffer has been reserved.
    is_reserved: bool,
    pulse: Option<Rc<Pulse>>,
    /// A PUBLISH may wait for room for as long as it takes.
    is_patient: bool,
    /// Why reading ends, once the packets before it are handled.
    ended: Option<Box<ReadEnd>>,
}

impl Reader {
    /// Reads without a budget until [`Reader::of`] gives one.
    pub fn new(half: ReadHalf<Box<dyn ByteStream>>) -> Self {
        let (buffer, budget, is_reserved) = (BytesMut::new(), None, false);
        let (chunk, pulse, is_patient, ended) = (LEAST, None, false, None);
        Reader { half, buffer, chunk, budget, is_reserved, pulse, is_patient, ended }
    }

    /// From now on PUBLISH packets take room, and what comes is a sign of life.
    pub fn of(mut self, budget: Rc<Budget>, pulse: Rc<Pulse>) -> Self {
        (self.budget, self.pulse) = (Some(budget), Some(pulse));
        self
    }

    /// A link waits for room for as long as it takes (architecture 4).
    pub fn patient(mut self) -> Self {
        self.is_patient = true;
        self
    }

    /// The first packet, a CONNECT: whatever else it is ends the connection at its first byte.
    /// A large one is read if there is room for it.
    pub async fn first(&mut self, visit: &Visit) -> Result<ClientPacket, ReadEnd> {
        let mut room = None;
        loop {
            let length = codec::check_first(&self.buffer)?;
            if length > LARGE && room.is_none() {
                room = Some(visit.room().ok_or(ReadEnd::NoRoom)?);
            }
            if let Some((packet, _)) = self.take()? {
                return Ok(packet);
            }
            self.fill().await?;
        }
    }

    /// The next packet, of one that has no budget.
    pub async fn next(&mut self) -> Result<ClientPacket, ReadEnd> {
        loop {
            if let Some((packet, _)) = self.take()? {
                return Ok(packet);
            }
            self.fill().await?;
        }
    }

    /// The packets that are there and have room.
    fn ready(&mut self) -> Result<Vec<Sized>, ReadEnd> {
        if let Some(end) = self.ended.take() {
            return Err(*end);
        }
        let mut batch = Vec::new();
        // What has no room waits until those before it are handled: they free some.
        while batch.len() < BATCH && self.fits() {
            match self.take() {
                Ok(Some(packet)) => batch.push(packet),
                Ok(None) => break,
                Err(end) if !batch.is_empty() => {
                    self.ended = Some(Box::new(end)); // the bad packet is gone from the buffer
                    break;
                }
                Err(end) => return Err(end),
            }
        }
        Ok(batch)
    }

    /// Whether the packet at the front can be taken, or read to its end, without waiting for room.
    fn fits(&mut self) -> bool {
        if let (false, Ok(Some(frame)), Some(budget)) =
            (self.is_reserved, codec::peek(&self.buffer), &self.budget)
            && frame.is_publish
        {
            self.is_reserved = budget.try_reserve(frame.length);
            return self.is_reserved;
        }
        true
    }

    /// The packet at the front, if it is there as a whole; it fits.
    fn take(&mut self) -> Result<Option<Sized>, ReadEnd> {
        let Some(frame) = codec::peek(&self.buffer)? else { return Ok(None) };
        if self.buffer.len() < frame.length {
            return Ok(None);
        }
        let packet = codec::decode(&mut self.buffer)?;
        let reserved = if frame.is_publish { frame.length } else { 0 };
        self.is_reserved = false;
        Ok(packet.map(|packet| (packet, reserved)))
    }

    /// Waits for room for the packet at the front, and for its end.
    async fn complete(&mut self) -> Result<(), ReadEnd> {
        let length = codec::peek(&self.buffer)?.map_or(usize::MAX, |frame| frame.length);
        if !self.fits()
            && let Some(budget) = &self.budget
        {
            let room = if self.is_patient { FOR_EVER } else { ROOM };
            let room = timeout(room, budget.reserve(length));
            room.await.map_err(|_| ReadEnd::NoRoom)?;
            self.is_reserved = true;
        }
        if self.buffer.len() < length { self.fill().await } else { Ok(()) }
    }

    /// Reads what there is.
    async fn fill(&mut self) -> Result<(), ReadEnd> {
        if self.buffer.is_empty() {
            return poll_fn(|cx| self.poll_begin(cx)).await;
        }
        let wanted = codec::peek(&self.buffer)?.map_or(0, |frame| frame.length);
        let missing = wanted.saturating_sub(self.buffer.len());
        let is_small = wanted <= self.chunk;
        let room = if is_small { self.chunk } else { missing.clamp(LEAST, MOST) };
        let read = async {
            let mut got = 0;
            loop {
                self.buffer.reserve(room);
                let read = timeout(STALL, self.half.read_buf(&mut self.buffer)).await;
                let read = count(read.map_err(|_| ReadEnd::Stalled)?)?;
                self.on_read(read);
                got += read;
                if got >= missing {
                    return Ok(());
                }
            }
        };
        timeout(WHOLE, read).await.map_err(|_| ReadEnd::Stalled)?
    }

    /// Waits for the next packet to begin; how long is the connection's business. All connections
    /// read into one place, and keep what has come.
    fn poll_begin(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ReadEnd>> {
        self.buffer = BytesMut::new();
        let (half, buffer, chunk) = (&mut self.half, &mut self.buffer, self.chunk);
        let read = ready!(SCRATCH.with_borrow_mut(|scratch| {
            scratch.resize(BUSY, 0); // once
            let mut read = ReadBuf::new(&mut scratch[..chunk.min(BUSY)]);
            ready!(Pin::new(half).poll_read(cx, &mut read))?;
            buffer.extend_from_slice(read.filled());
            Poll::Ready(Ok(read.filled().len()))
        }));
        let read = count(read)?;
        self.on_read(read);
        Poll::Ready(Ok(()))
    }

    /// So much came in one read. Who has not logged in gets no more for it.
    fn on_read(&mut self, read: usize) {
        if let Some(pulse) = &self.pulse {
            pulse.beat();
        }
        if read >= self.chunk && self.budget.is_some() {
            self.chunk = (2 * self.chunk).min(BUSY);
        } else if read < self.chunk / 4 {
            self.chunk = (self.chunk / 2).max(LEAST);
        }
    }

    /// Batches for ever, then the reason why no more will come.
    pub fn into_batches(self: Box<Self>) -> Batches {
        Batches { reader: Some(self), completing: None }
    }
}

type Completing = LocalBoxFuture<'static, (Box<Reader>, Result<(), ReadEnd>)>;

/// See [`Reader::into_batches`]. What a packet under way needs is there only for as long as it is
/// under way: most clients are idle.
pub struct Batches {
    /// None while a packet is completed, and after the end.
    reader: Option<Box<Reader>>,
    completing: Option<Completing>,
}

impl Stream for Batches {
    type Item = Result<Vec<Sized>, ReadEnd>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(completing) = &mut self.completing {
                let (reader, end) = ready!(completing.as_mut().poll(cx));
                self.completing = None;
                match end {
                    Ok(()) => self.reader = Some(reader),
                    Err(end) => return Poll::Ready(Some(Err(end))),
                }
            }
            let Some(reader) = &mut self.reader else { return Poll::Ready(None) };
            let begun = match reader.ready() {
                Ok(batch) if !batch.is_empty() => return Poll::Ready(Some(Ok(batch))),
                Ok(_) if reader.buffer.is_empty() => ready!(reader.poll_begin(cx)),
                Ok(_) => {
                    self.completing = self.reader.take().map(completed);
                    continue;
                }
                Err(end) => Err(end),
            };
            if let Err(end) = begun {
                self.reader = None;
                return Poll::Ready(Some(Err(end)));
            }
        }
    }
}

fn completed(mut reader: Box<Reader>) -> Completing {
    Box::pin(async move {
        let end = reader.complete().await;
        (reader, end)
    })
}

fn count(read: std::io::Result<usize>) -> Result<usize, ReadEnd> {
    match read {
        Ok(0) => Err(ReadEnd::Closed),
        Ok(read) => Ok(read),
        Err(error) => Err(ReadEnd::Socket(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[actix::test]
    async fn what_is_bad_ends_the_reading_after_what_came_before_it() {
        let (ours, mut client) = tokio::io::duplex(64);
        let (half, _writes) = tokio::io::split(Box::new(ours) as Box<dyn ByteStream>);
        let ping = [0xC0, 0];
        client.write_all(&ping).await.unwrap();
        client.write_all(&[0x30, 3, 0, 1, b'#']).await.unwrap(); // a topic with a wildcard
        client.write_all(&ping).await.unwrap();
        let batches: Vec<_> = Box::new(Reader::new(half)).into_batches().collect().await;
        assert_eq!(batches.len(), 2);
        assert_eq!(batches[0].as_ref().unwrap(), &[(ClientPacket::PingReq, 0)]);
        assert!(matches!(batches[1], Err(ReadEnd::Bad(_))));
    }
}
