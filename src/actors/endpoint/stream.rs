//! A client's byte stream, whatever it goes through.

pub use crate::protocol::sockets::ByteStream;

/// A client that is connected and has not said anything yet.
pub struct Arrived {
    /// Its bytes.
    pub stream: Box<dyn ByteStream>,
    /// Address, for logs.
    pub peer: String,
    /// Of its TLS certificate, if it showed one.
    pub thumbprints: Vec<String>,
}
