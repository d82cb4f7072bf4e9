//! Listening sockets, bound once by the process and kept over every restart of who listens; and
//! what comes in by them.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite};

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_not_there_yet_stops_nothing_and_one_in_use_is_named() {
        assert!(bind("hub.listen", "192.0.2.1:0".parse().unwrap()).is_ok());
        let first = bind("hub.listen", "127.0.0.1:0".parse().unwrap()).unwrap();
        let second = bind("hub.listen", first.local_addr().unwrap()).unwrap_err();
        assert!(second.to_string().contains("hub.listen"), "{second}");
    }
}
