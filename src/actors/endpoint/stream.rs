//! A client's byte stream, whatever it goes through.

use super::doorkeeper::Visit;
use crate::domain::certificate::ClientCertificate;
pub use crate::protocol::sockets::ByteStream;

/// A client that is connected and has not said anything yet.
pub struct Arrived {
    /// Its bytes.
    pub stream: Box<dyn ByteStream>,
    /// Address, for logs.
    pub peer: String,
    /// Of its TLS, if it showed one.
    pub certificate: Option<ClientCertificate>,
    /// Until it has logged in.
    pub visit: Visit,
}
