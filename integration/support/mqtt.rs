//! A raw MQTT 3.1.1 client on a blocking socket: what it writes and reads is what is on the wire.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{
    Connect, ConnectReturnCode, Login, Packet, PubAck, Publish, Subscribe,
};

use edge_runtime::protocol::tls::TlsClient;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use super::rest::{token, token_for};

const LARGEST: usize = 1 << 20;

/// Who logs in where.
#[derive(Clone)]
pub struct LogIn {
    pub address: SocketAddr,
    pub hub: String,
    /// `device` or `device/module`.
    pub id: String,
    pub key: String,
}

impl LogIn {
    fn resource(&self) -> String {
        match self.id.split_once('/') {
            Some((device, module)) => format!("{}/devices/{device}/modules/{module}", self.hub),
            None => format!("{}/devices/{}", self.hub, self.id),
        }
    }

    /// A token for an hour.
    pub fn token(&self) -> String {
        token(&self.resource(), &self.key, None)
    }

    /// With a token that is good for so long.
    pub fn connect_for(&self, life: Duration) -> Result<Mqtt, String> {
        self.connect_with(&token_for(&self.resource(), &self.key, None, life))
    }

    /// The topic of its messages, to `output` if it is a module.
    pub fn telemetry_topic(&self, output: &str) -> String {
        match self.id.split_once('/') {
            Some((device, module)) => {
                format!("devices/{device}/modules/{module}/messages/events/%24.on={output}")
            }
            None => format!("devices/{}/messages/events/", self.id),
        }
    }

    /// A CONNECT for a session that outlives the connection.
    pub fn connect_packet(&self) -> BytesMut {
        let user = format!("{}/{}/?api-version=2021-04-12", self.hub, self.id);
        connect_packet(&user, &self.id, &token(&self.resource(), &self.key, None))
    }

    /// A session that outlives the connection; an error says why there is none now.
    pub fn connect(&self) -> Result<Mqtt, String> {
        self.connect_with(&self.token())
    }

    /// With another password; without one it is to be known by its certificate.
    pub fn connect_with(&self, password: &str) -> Result<Mqtt, String> {
        Mqtt::open(self.address)?.log_in(&self.hub, &self.id, password)
    }
}

fn connect_packet(user: &str, id: &str, password: &str) -> BytesMut {
    let mut connect = Connect::new(id);
    connect.clean_session = false;
    connect.keep_alive = 600; // a crowd on a slow machine takes minutes, and nobody pings
    connect.login = Some(Login::new(user, password));
    let mut bytes = BytesMut::new();
    connect.write(&mut bytes).unwrap();
    bytes
}

/// A connection.
pub struct Mqtt {
    socket: TcpStream,
    stream: Box<dyn Stream>,
    bytes: BytesMut,
}

trait Stream: Read + Write + Send {}

impl<S: Read + Write + Send> Stream for S {}

impl Mqtt {
    /// A socket, and nothing said yet.
    pub fn open(address: SocketAddr) -> Result<Mqtt, String> {
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(2));
        let stream = stream.map_err(|e| e.to_string())?;
        stream.set_nodelay(true).unwrap();
        let socket = stream.try_clone().unwrap();
        Ok(Mqtt { socket, stream: Box::new(stream), bytes: BytesMut::new() })
    }

    /// The same through TLS, to who is known by the address.
    pub fn open_tls(address: SocketAddr, tls: &TlsClient) -> Result<Mqtt, String> {
        let Mqtt { socket, bytes, .. } = Mqtt::open(address)?;
        let name = ServerName::from(address.ip());
        let session = ClientConnection::new(tls.config(), name).map_err(|e| e.to_string())?;
        let stream = StreamOwned::new(session, socket.try_clone().unwrap());
        Ok(Mqtt { socket, stream: Box::new(stream), bytes })
    }

    /// A session that outlives the connection.
    pub fn log_in(self, hub: &str, id: &str, password: &str) -> Result<Mqtt, String> {
        self.log_in_as(&format!("{hub}/{id}/?api-version=2021-04-12"), id, password)
    }

    /// With this user name.
    pub fn log_in_as(mut self, user: &str, id: &str, password: &str) -> Result<Mqtt, String> {
        self.write(&connect_packet(user, id, password))?;
        match self.read_until(Instant::now() + Duration::from_secs(5))? {
            Some(Packet::ConnAck(ack)) if ack.code == ConnectReturnCode::Success => Ok(self),
            Some(Packet::ConnAck(ack)) => Err(format!("CONNACK {:?}", ack.code)),
            other => Err(format!("no CONNACK but {other:?}")),
        }
    }

    pub fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.stream.write_all(bytes).map_err(|e| e.to_string())
    }

    /// A PUBLISH, QoS 1, as it is on the wire.
    pub fn encode(topic: &str, id: u16, body: &[u8]) -> BytesMut {
        let mut packet = Publish::new(topic, QoS::AtLeastOnce, body);
        packet.pkid = id;
        let mut bytes = BytesMut::new();
        packet.write(&mut bytes).unwrap();
        bytes
    }

    pub fn publish(&mut self, topic: &str, id: u16, dup: bool, body: &[u8]) -> Result<(), String> {
        let mut packet = Publish::new(topic, QoS::AtLeastOnce, body);
        (packet.pkid, packet.dup) = (id, dup);
        let mut bytes = BytesMut::new();
        packet.write(&mut bytes).unwrap();
        self.write(&bytes)
    }

    pub fn ack(&mut self, id: u16) -> Result<(), String> {
        let mut bytes = BytesMut::new();
        PubAck::new(id).write(&mut bytes).unwrap();
        self.write(&bytes)
    }

    /// Asks for a filter and waits for SUBACK; `false` if it is refused. What else comes is lost.
    pub fn subscribe(&mut self, filter: &str) -> Result<bool, String> {
        let mut packet = Subscribe::new(filter, QoS::AtLeastOnce);
        packet.pkid = u16::MAX;
        let mut bytes = BytesMut::new();
        packet.write(&mut bytes).unwrap();
        self.write(&bytes)?;
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            match self.read_until(deadline)? {
                Some(Packet::SubAck(ack)) => {
                    use rumqttc::mqttbytes::v4::SubscribeReasonCode::Success;
                    return Ok(ack.return_codes.iter().all(|code| matches!(code, Success(_))));
                }
                Some(_) => {}
                None => return Err("no SUBACK in 5 s".into()),
            }
        }
    }

    /// Asks for a filter; SUBACK comes between what else comes.
    pub fn subscribe_quietly(&mut self, filter: &str) -> bool {
        let mut packet = Subscribe::new(filter, QoS::AtLeastOnce);
        packet.pkid = u16::MAX;
        let mut bytes = BytesMut::new();
        packet.write(&mut bytes).unwrap();
        self.write(&bytes).is_ok()
    }

    /// The next packet; `None` if none comes within `timeout`; an error once it is closed.
    pub fn read(&mut self, timeout: Duration) -> Result<Option<Packet>, String> {
        self.read_until(Instant::now() + timeout)
    }

    fn read_until(&mut self, deadline: Instant) -> Result<Option<Packet>, String> {
        loop {
            match Packet::read(&mut self.bytes, LARGEST) {
                Ok(packet) => return Ok(Some(packet)),
                Err(rumqttc::mqttbytes::Error::InsufficientBytes(_)) => {}
                Err(error) => return Err(error.to_string()),
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.socket.set_read_timeout(Some(left)).unwrap();
            let mut chunk = [0; 16_384];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err("closed".into()),
                Ok(read) => self.bytes.extend_from_slice(&chunk[..read]),
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(e) => return Err(e.to_string()),
            }
        }
    }

    /// Whether the other side closes within `timeout`.
    pub fn is_closed_within(&mut self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        loop {
            match self.read_until(deadline) {
                Ok(Some(_)) => {}
                Ok(None) => return false,
                Err(_) => return true,
            }
        }
    }
}
