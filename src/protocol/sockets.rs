//! Listening sockets, bound once by the process and kept over every restart of who listens; and
//! what comes in by them.

use std::io::{self, IoSlice};
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// TCP, TLS, or a WebSocket.
pub trait ByteStream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> ByteStream for S {}

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} ({key}): {why}; see who has it with `ss -ltnp`")]
pub struct BindError {
    /// The setting.
    pub key: &'static str,
    /// The address.
    pub address: SocketAddr,
    /// As the system puts it.
    pub why: std::io::Error,
}

/// Binds one address, which need not be on this machine yet (`IP_FREEBIND`).
pub fn bind(key: &'static str, address: SocketAddr) -> Result<Arc<TcpListener>, BindError> {
    let bind = || {
        let domain = Domain::for_address(address);
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        match domain {
            Domain::IPV6 => socket.set_freebind_v6(true)?,
            _ => socket.set_freebind_v4(true)?,
        }
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        Ok(Arc::new(socket.into()))
    };
    bind().map_err(|why| BindError { key, address, why })
}

/// How many sockets of clients may be open.
#[derive(Clone, Debug)]
pub struct Seats {
    most: usize,
    taken: Arc<AtomicUsize>,
}

/// One of them; free again when it is dropped.
#[derive(Debug)]
pub struct Seat(Arc<AtomicUsize>);

impl Seats {
    /// `most` of them.
    pub fn new(most: usize) -> Self {
        Seats { most, taken: Arc::default() }
    }

    /// Takes one, if one is free.
    pub fn take(&self) -> Option<Seat> {
        let seat = Seat(Arc::clone(&self.taken));
        (self.taken.fetch_add(1, Ordering::Relaxed) < self.most).then_some(seat)
    }

    /// How many there are.
    pub fn most(&self) -> usize {
        self.most
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A socket that has its seat for as long as it is open.
#[derive(Debug)]
pub struct Seated {
    stream: TcpStream,
    _seat: Seat,
}

impl Seated {
    /// Of one that was accepted.
    pub fn new(stream: TcpStream, seat: Seat) -> Self {
        Seated { stream, _seat: seat }
    }

    /// Waits until the client has said something, or is gone.
    pub async fn readable(&self) -> io::Result<()> {
        self.stream.readable().await
    }
}

impl AsyncRead for Seated {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl AsyncWrite for Seated {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_is_free_again_when_its_socket_is_gone() {
        let seats = Seats::new(2);
        let (one, other) = (seats.take().unwrap(), seats.take().unwrap());
        assert!(seats.take().is_none() && seats.take().is_none());
        drop(one);
        let again = seats.take().unwrap();
        assert!(seats.take().is_none());
        drop((other, again));
        assert_eq!(seats.taken.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn an_address_that_is_not_there_yet_stops_nothing_and_one_in_use_is_named() {
        assert!(bind("hub.listen", "192.0.2.1:0".parse().unwrap()).is_ok());
        let first = bind("hub.listen", "127.0.0.1:0".parse().unwrap()).unwrap();
        let second = bind("hub.listen", first.local_addr().unwrap()).unwrap_err();
        assert!(second.to_string().contains("hub.listen"), "{second}");
    }
}
