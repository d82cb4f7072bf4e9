//! A client's byte stream, whatever it goes through.

use tokio::io::{AsyncRead, AsyncWrite};

/// TCP, TLS, or a WebSocket.
pub trait ByteStream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> ByteStream for S {}

/// A client that is connected and has not said anything yet.
pub struct Arrived {
    /// Its bytes.
    pub stream: Box<dyn ByteStream>,
    /// Address, for logs.
    pub peer: String,
    /// Of its TLS certificate, if it showed one.
    pub thumbprints: Vec<String>,
}
