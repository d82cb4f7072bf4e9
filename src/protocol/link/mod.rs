//! One connection to the parent: made anew for each attempt, thrown away with it.
//!
//! Nothing is remembered beyond it: what is owed is in the store; here each publish is only paired
//! with its PUBACK. What is sent in one turn of the actor goes out in one write (`wire.rs`).
//!
//! next: `actors/hub/upstream/mod.rs`

mod name;
#[cfg(test)]
mod tests;
mod wire;

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::task::Waker;

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use self::wire::Wire;
use super::codec::encode_request;
use super::tls::{TlsClient, TlsError, Trust};
use crate::domain::packet::{ClientPacket, Publish, QoS};
use crate::domain::upstream::{Lost, Pairing, Silence};

/// Bytes that were submitted and are not written yet; the window and all requests together stay
/// below.
const QUEUE: usize = 16 << 20;

/// Where the parent is, and how it proves who it is.
#[derive(Clone)]
pub struct Address {
    host: String,
    port: u16,
    tls: Option<TlsClient>,
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl Address {
    /// TLS to `host:port`, which must show a certificate for `name`.
    pub fn tls(host: &str, port: u16, name: &str, trust: &Trust) -> Result<Self, TlsError> {
        let tls = Some(name::client(trust, name)?);
        Ok(Address { host: host.into(), port, tls })
    }

    /// Without TLS, for tests.
    pub fn plain(host: &str, port: u16) -> Self {
        Address { host: host.into(), port, tls: None }
    }
}

/// As whom.
#[derive(Clone)]
pub struct Login {
    /// MQTT client id.
    pub client_id: String,
    /// MQTT user name.
    pub user_name: String,
    /// A SAS token. Never logged.
    pub password: String,
}

/// What happens on a connection.
pub enum LinkEvent {
    /// CONNACK 0.
    Connected,
    /// SUBACK: whether the filter was granted.
    Subscribed(bool),
    /// PUBLISH. With an `Ack` it is to be acknowledged.
    Received(String, Bytes, Option<Ack>),
    /// PUBACK of a publish with this number.
    Acked(u64),
    /// It is over; nothing else comes.
    Lost(Lost, String),
}

/// What a PUBACK is made of.
pub struct Ack(u16);

/// Puts packets on the wire. Never waits: what is submitted is bounded by window and requests.
#[derive(Clone)]
pub struct LinkSender(Rc<RefCell<Books>>);

/// What both halves keep.
struct Books {
    /// Not written yet.
    out: BytesMut,
    pairing: Pairing,
    silence: Silence,
    /// Who writes.
    writer: Option<Waker>,
}

/// There is more to send than a link may have in hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the link does not take what is sent: {QUEUE} bytes or 65,535 packets wait")]
pub struct Stuck;

/// Where events come from; the connection lives as long as this.
pub struct LinkReceiver {
    state: State,
    books: Rc<RefCell<Books>>,
}

enum State {
    New(Box<(Address, Login)>),
    Open(Box<Wire>),
    Over,
}

/// Begins to connect.
pub fn open(address: &Address, login: Login) -> (LinkSender, LinkReceiver) {
    let silence = Silence::new(Instant::now().into_std());
    let (out, pairing) = (BytesMut::new(), Pairing::default());
    let books = Rc::new(RefCell::new(Books { out, pairing, silence, writer: None }));
    let state = State::New(Box::new((address.clone(), login)));
    (LinkSender(Rc::clone(&books)), LinkReceiver { state, books })
}

impl Books {
    /// To be written with all else of this turn.
    fn put(&mut self, packet: &ClientPacket) -> Result<(), Stuck> {
        if self.out.len() > QUEUE || encode_request(packet, &mut self.out).is_err() {
            return Err(Stuck);
        }
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
        Ok(())
    }
}

impl LinkSender {
    /// SUBSCRIBE, `QoS` 1.
    pub fn subscribe(&self, filter: &str) -> Result<(), Stuck> {
        let mut books = self.0.borrow_mut();
        let id = books.pairing.on_sent(0, 0).ok_or(Stuck)?;
        books.put(&ClientPacket::Subscribe(id, vec![(filter.into(), QoS::AtLeastOnce)]))
    }

    /// PUBLISH, `QoS` 1; its `Acked` will carry `number`.
    pub fn publish(&self, number: u64, topic: String, payload: Bytes) -> Result<(), Stuck> {
        let mut books = self.0.borrow_mut();
        let bytes = topic.len() + payload.len();
        let id = books.pairing.on_sent(number, bytes).ok_or(Stuck)?;
        let (dup, qos, retain) = (false, QoS::AtLeastOnce, false);
        books.put(&ClientPacket::Publish(Publish { dup, qos, retain, topic, id, payload }))?;
        books.silence.on_sent(bytes, Instant::now().into_std());
        Ok(())
    }

    /// PUBACK.
    pub fn ack(&self, ack: &Ack) -> Result<(), Stuck> {
        self.0.borrow_mut().put(&ClientPacket::PubAck(ack.0))
    }
}

impl LinkReceiver {
    /// The next event; `None` after `Lost`.
    pub async fn next(&mut self) -> Option<LinkEvent> {
        let event = match &mut self.state {
            State::Over => return None,
            State::New(place) => match Wire::dial(&place.0, &place.1).await {
                Ok(wire) => {
                    self.state = State::Open(Box::new(wire));
                    LinkEvent::Connected
                }
                Err((how, why)) => LinkEvent::Lost(how, why),
            },
            State::Open(wire) => wire.next(&self.books).await,
        };
        if matches!(event, LinkEvent::Lost(..)) {
            self.state = State::Over;
        }
        Some(event)
    }
}
