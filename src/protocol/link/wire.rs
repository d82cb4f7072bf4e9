//! The socket of a link: dialled, read, written.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{
    Instant, Interval, MissedTickBehavior, Sleep, interval_at, sleep_until, timeout,
};

use super::{Ack, Address, Books, LinkEvent, Login};
use crate::domain::packet::{ClientPacket, Connect, ConnectCode, QoS, ServerPacket};
use crate::domain::upstream::Lost;
use crate::protocol::codec::{decode_answer, encode_request};
use crate::protocol::sockets::ByteStream;

/// PINGREQ every so often.
const PING: Duration = Duration::from_secs(10);
/// For TCP, TLS and CONNACK together.
const STEP: Duration = Duration::from_secs(20);
/// Twins, methods, a page of the scope.
const MAX_IN: usize = 1 << 20;
/// Bytes that are read at a time.
const CHUNK: usize = 32 << 10;
/// An empty buffer of more is given back.
const KEEP: usize = 64 << 10;

/// See the module documentation. It has been let in.
pub(super) struct Wire {
    stream: Box<dyn ByteStream>,
    read: BytesMut,
    is_flushed: bool,
    ping: Interval,
    dead: Pin<Box<Sleep>>,
}

type Failure = (Lost, String);

fn cut(why: impl ToString) -> Failure {
    (Lost::Cut, why.to_string())
}

impl Wire {
    /// Connects and logs in.
    pub(super) async fn dial(address: &Address, login: &Login) -> Result<Self, Failure> {
        let dialled = timeout(STEP, Self::enter(address, login)).await;
        dialled.unwrap_or_else(|_| Err(cut("the parent does not answer")))
    }

    async fn enter(address: &Address, login: &Login) -> Result<Self, Failure> {
        let mut stream = connect(address).await.map_err(cut)?;
        let connect = ClientPacket::Connect(Box::new(Connect {
            client_id: login.client_id.clone(),
            keep_alive: PING.as_secs() as u16,
            is_clean: true,
            user_name: Some(login.user_name.clone()),
            password: Some(login.password.clone()),
            will: None,
        }));
        let mut bytes = BytesMut::new();
        encode_request(&connect, &mut bytes).map_err(cut)?;
        stream.write_all(&bytes).await.map_err(cut)?;
        stream.flush().await.map_err(cut)?;
        let mut read = BytesMut::new();
        let answer = loop {
            if let Some(answer) = decode_answer(&mut read, MAX_IN).map_err(cut)? {
                break answer;
            }
            if stream.read_buf(&mut read).await.map_err(cut)? == 0 {
                return Err(cut("the parent closed the connection before CONNACK"));
            }
        };
        match answer {
            ServerPacket::ConnAck(_, ConnectCode::Accepted) => {}
            ServerPacket::ConnAck(_, ConnectCode::ServerUnavailable) => {
                return Err(cut("the parent is not ready"));
            }
            ServerPacket::ConnAck(_, code) => {
                let why = format!("the parent refuses the log-in: {code:?}");
                return Err((Lost::Refused, why));
            }
            _ => return Err(cut("the parent answers CONNECT with another packet")),
        }
        let now = Instant::now();
        let mut ping = interval_at(now + PING, PING);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let dead = Box::pin(sleep_until(now + PING));
        Ok(Wire { stream, read, is_flushed: true, ping, dead })
    }

    /// The next event. What was submitted is written meanwhile.
    pub(super) async fn next(&mut self, books: &RefCell<Books>) -> LinkEvent {
        let event = poll_fn(|cx| self.poll(&mut books.borrow_mut(), cx)).await;
        event.unwrap_or_else(|(how, why)| LinkEvent::Lost(how, why))
    }

    fn poll(
        &mut self,
        books: &mut Books,
        cx: &mut Context<'_>,
    ) -> Poll<Result<LinkEvent, Failure>> {
        loop {
            if let Some(event) = self.take(books)? {
                return Poll::Ready(Ok(event)); // what it brings about is written with the rest
            }
            if self.ping.poll_tick(cx).is_ready() {
                books.put(&ClientPacket::PingReq).map_err(cut)?;
                continue;
            }
            self.write(books, cx).map_err(cut)?;
            self.read.reserve(CHUNK);
            match pin!(self.stream.read_buf(&mut self.read)).poll(cx) {
                Poll::Ready(Ok(0)) if self.read.is_empty() => {
                    let why = "the parent closed the connection".to_owned();
                    return Poll::Ready(Err((Lost::Closed, why)));
                }
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(cut("closed within a packet"))),
                Poll::Ready(Ok(_)) => books.silence.on_heard(Instant::now().into_std()),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(cut(error))),
                Poll::Pending => break,
            }
        }
        books.writer = Some(cx.waker().clone());
        // An answer to a ping may be late while others come: only silence is death.
        let dead_at = Instant::from_std(books.silence.dead_at());
        if self.dead.deadline() != dead_at {
            self.dead.as_mut().reset(dead_at);
        }
        self.dead.as_mut().poll(cx).map(|()| Err(cut(books.silence.why(Instant::now().into_std()))))
    }

    /// The packet at the front of what was read.
    fn take(&mut self, books: &mut Books) -> Result<Option<LinkEvent>, Failure> {
        loop {
            let Some(packet) = decode_answer(&mut self.read, MAX_IN).map_err(cut)? else {
                return Ok(None);
            };
            let event = match packet {
                ServerPacket::PubAck(id) => {
                    let Some((number, bytes)) = books.pairing.on_acked(id) else { continue };
                    books.silence.on_acked(bytes, Instant::now().into_std());
                    LinkEvent::Acked(number)
                }
                ServerPacket::Publish(publish) => {
                    let ack = (publish.qos != QoS::AtMostOnce).then_some(Ack(publish.id));
                    LinkEvent::Received(publish.topic, publish.payload, ack)
                }
                ServerPacket::SubAck(id, granted) => {
                    books.pairing.on_acked(id);
                    LinkEvent::Subscribed(granted.iter().all(Option::is_some))
                }
                ServerPacket::PingResp => continue,
                other => return Err(cut(format!("the parent sends {other:?}"))),
            };
            return Ok(Some(event));
        }
    }

    /// Writes what the socket takes.
    fn write(&mut self, books: &mut Books, cx: &mut Context<'_>) -> io::Result<()> {
        let mut stream = Pin::new(&mut self.stream);
        while !books.out.is_empty() {
            match stream.as_mut().poll_write(cx, &books.out) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(written) => books.out.advance(written?),
                Poll::Pending => return Ok(()),
            }
            self.is_flushed = false;
        }
        if books.out.capacity() > KEEP {
            books.out = BytesMut::new();
        }
        if !self.is_flushed
            && let Poll::Ready(flushed) = stream.poll_flush(cx)
        {
            flushed?;
            self.is_flushed = true;
        }
        Ok(())
    }
}

async fn connect(address: &Address) -> io::Result<Box<dyn ByteStream>> {
    let stream = TcpStream::connect(address.to_string()).await?;
    stream.set_nodelay(true)?;
    Ok(match &address.tls {
        Some(tls) => Box::new(tls.connect(&address.host, stream).await?),
        None => Box::new(stream),
    })
}
