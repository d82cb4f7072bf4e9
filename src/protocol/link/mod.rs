//! One connection to the parent: a fresh MQTT client for each attempt, thrown away with it.
//!
//! Nothing that the client remembers is trusted: on a reconnect it would silently drop what was
//! in flight. What is owed is in the store; here each publish is only paired with its PUBACK.
//!
//! next: `actors/hub/upstream/mod.rs`

mod name;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::fmt;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use rumqttc::{
    AsyncClient, ConnectReturnCode, ConnectionError, Event, EventLoop, MqttOptions, Outgoing,
    Packet, Publish, QoS, StateError, SubscribeReasonCode, TlsConfiguration, Transport,
};
use tokio::time::{Instant, timeout_at};

use super::tls::{TlsError, Trust};
use crate::domain::upstream::{Lost, Pairing, Silence};

/// PINGREQ every so often.
const PING: Duration = Duration::from_secs(10);
/// For TCP, TLS and CONNACK together.
const STEP_SECONDS: u64 = 20;
/// For the parent to take what is written: a matter of `Silence`.
const WRITE_SECONDS: u64 = 86_400;
/// Packet ids in use at once; the window and all requests together stay far below.
const IDS: u16 = 4_096;
/// What was submitted and is not on the wire yet.
const QUEUE: usize = 8_192;
/// A payload of 262,144 bytes, the longest topic, and their frame.
const MAX_OUT: usize = 262_144 + 65_535 + 16;
/// Twins, methods, a page of the scope.
const MAX_IN: usize = 1 << 20;

/// Where the parent is, and how it proves who it is.
#[derive(Clone)]
pub struct Address {
    host: String,
    port: u16,
    transport: Transport,
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
        let config = TlsConfiguration::Rustls(name::config(trust, name)?);
        Ok(Address { host: host.into(), port, transport: Transport::Tls(config) })
    }

    /// Without TLS, for tests.
    pub fn plain(host: &str, port: u16) -> Self {
        Address { host: host.into(), port, transport: Transport::Tcp }
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
pub struct Ack(Publish);

/// Puts packets on the wire. Never waits: what is submitted is bounded by window and requests.
#[derive(Clone)]
pub struct LinkSender {
    client: AsyncClient,
    books: Rc<RefCell<Books>>,
}

/// What both halves keep of the publishes.
struct Books {
    pairing: Pairing,
    silence: Silence,
}

/// There is more to send than a link may have in hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the link does not take what is sent: {QUEUE} packets wait")]
pub struct Stuck;

/// Where events come from; the connection lives as long as this.
pub struct LinkReceiver {
    events: EventLoop,
    books: Rc<RefCell<Books>>,
    is_over: bool,
}

/// Begins to connect.
pub fn open(address: &Address, login: Login) -> (LinkSender, LinkReceiver) {
    let mut options = MqttOptions::new(login.client_id, address.host.clone(), address.port);
    options
        .set_transport(address.transport.clone())
        .set_credentials(login.user_name, login.password)
        .set_clean_session(true)
        .set_manual_acks(true)
        .set_keep_alive(PING)
        .set_inflight(IDS)
        .set_max_packet_size(MAX_IN, MAX_OUT);
    let (client, mut events) = AsyncClient::new(options, QUEUE);
    events.network_options.set_connection_timeout(STEP_SECONDS);
    events.network_options.set_tcp_nodelay(true);
    let silence = Silence::new(Instant::now().into_std());
    let books = Rc::new(RefCell::new(Books { pairing: Pairing::default(), silence }));
    let sender = LinkSender { client, books: Rc::clone(&books) };
    (sender, LinkReceiver { events, books, is_over: false })
}

impl LinkSender {
    /// SUBSCRIBE, QoS 1.
    pub fn subscribe(&self, filter: &str) -> Result<(), Stuck> {
        self.client.try_subscribe(filter, QoS::AtLeastOnce).map_err(|_| Stuck)
    }

    /// PUBLISH, QoS 1; its `Acked` will carry `number`.
    pub fn publish(&self, number: u64, topic: String, payload: Bytes) -> Result<(), Stuck> {
        let bytes = topic.len() + payload.len();
        let sent = self.client.try_publish(topic, QoS::AtLeastOnce, false, payload);
        sent.map_err(|_| Stuck)?;
        let Books { pairing, silence } = &mut *self.books.borrow_mut();
        pairing.on_submitted(number, bytes);
        silence.on_sent(bytes, Instant::now().into_std());
        Ok(())
    }

    /// PUBACK.
    pub fn ack(&self, ack: &Ack) -> Result<(), Stuck> {
        self.client.try_ack(&ack.0).map_err(|_| Stuck)
    }
}

impl LinkReceiver {
    /// The next event; `None` after `Lost`.
    pub async fn next(&mut self) -> Option<LinkEvent> {
        if self.is_over {
            return None;
        }
        loop {
            let event = match self.poll().await {
                Some(Ok(event)) => self.translate(event),
                Some(Err(error)) => Some(lost(&error)),
                None => {
                    let now = Instant::now().into_std();
                    Some(cut(&self.books.borrow().silence.why(now)))
                }
            };
            // an answer to a ping may be late while others come: only silence is death
            self.events.state.await_pingresp = false;
            if let Some(event) = event {
                self.is_over = matches!(event, LinkEvent::Lost(..));
                return Some(event);
            }
        }
    }

    /// `None`: the link is dead.
    async fn poll(&mut self) -> Option<Result<Event, ConnectionError>> {
        let mut polled = pin!(self.events.poll()); // not begun anew: it may be in mid-write
        loop {
            let dead_at = self.books.borrow().silence.dead_at();
            match timeout_at(dead_at.into(), polled.as_mut()).await {
                Ok(polled) => return Some(polled),
                Err(_) if self.books.borrow().silence.dead_at() > dead_at => {}
                Err(_) => return None,
            }
        }
    }

    fn translate(&mut self, event: Event) -> Option<LinkEvent> {
        let packet = match event {
            Event::Incoming(packet) => packet,
            Event::Outgoing(Outgoing::Publish(id)) => {
                let is_paired = self.books.borrow_mut().pairing.on_sent(id);
                return (!is_paired).then(|| cut("packet ids are out of step"));
            }
            Event::Outgoing(Outgoing::AwaitAck(_)) => {
                return Some(cut("the parent acknowledges out of order"));
            }
            Event::Outgoing(_) => return None,
        };
        let Books { pairing, silence } = &mut *self.books.borrow_mut();
        let now = Instant::now().into_std();
        silence.on_heard(now);
        match packet {
            Packet::ConnAck(_) => {
                self.events.network_options.set_connection_timeout(WRITE_SECONDS);
                Some(LinkEvent::Connected)
            }
            Packet::SubAck(ack) => {
                let is_granted = |code: &SubscribeReasonCode| *code != SubscribeReasonCode::Failure;
                Some(LinkEvent::Subscribed(ack.return_codes.iter().all(is_granted)))
            }
            Packet::PubAck(ack) => {
                let (number, bytes) = pairing.on_acked(ack.pkid)?;
                silence.on_acked(bytes, now);
                Some(LinkEvent::Acked(number))
            }
            Packet::Publish(publish) => {
                let (topic, payload) = (publish.topic.clone(), publish.payload.clone());
                let ack = (publish.qos != QoS::AtMostOnce).then(|| Ack(publish));
                Some(LinkEvent::Received(topic, payload, ack))
            }
            _ => None,
        }
    }
}

fn cut(why: &str) -> LinkEvent {
    LinkEvent::Lost(Lost::Cut, why.into())
}

fn lost(error: &ConnectionError) -> LinkEvent {
    use ConnectReturnCode::ServiceUnavailable;
    match error {
        ConnectionError::ConnectionRefused(ServiceUnavailable) => cut("the parent is not ready"),
        ConnectionError::ConnectionRefused(code) => {
            LinkEvent::Lost(Lost::Refused, format!("the parent refuses the log-in: {code:?}"))
        }
        ConnectionError::MqttState(StateError::ConnectionAborted) => {
            LinkEvent::Lost(Lost::Closed, "the parent closed the connection".into())
        }
        ConnectionError::NetworkTimeout | ConnectionError::FlushTimeout => {
            cut("the parent does not answer")
        }
        error => LinkEvent::Lost(Lost::Cut, error.to_string()),
    }
}
