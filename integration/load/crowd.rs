//! A crowd of TLS clients in one thread: each a device with a token, a subscription, a keep-alive.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use edge_runtime::protocol::tls::{ClientStream, TlsClient, Trust};
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{ConnectReturnCode, Packet, PubAck, Subscribe};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::support::mqtt::{LogIn, Mqtt};
use crate::support::world::World;

const LARGEST: usize = 1 << 20;
/// One client that has to wait longer is a fault.
const PATIENCE: Duration = Duration::from_secs(60);
const BULK: usize = 100;

/// Makes devices below the edge in bulk, all with one key.
pub fn make_devices(world: &World, prefix: &str, count: usize) -> Vec<LogIn> {
    const KEY: &str = "YSBrZXkgZm9yIGFsbCBvZiB0aGUgY3Jvd2QsIDMyIGI=";
    let address = SocketAddr::from((world.edge_address, 8883));
    let hub = world.hub.address.to_string();
    let names: Vec<_> = (0..count).map(|n| format!("{prefix}-{n:04}")).collect();
    for names in names.chunks(BULK) {
        let device = |id: &String| {
            json!({
                "id": id, "importMode": "create", "deviceScope": world.scope, "status": "enabled",
                "authentication": { "type": "sas",
                    "symmetricKey": { "primaryKey": KEY, "secondaryKey": KEY } },
            })
        };
        let body: Vec<Value> = names.iter().map(device).collect();
        let answer = world.hub.service.call("POST", "/devices", Some(&Value::from(body)));
        assert_eq!(answer["isSuccessful"], true, "{answer}");
    }
    let log_in = |id: String| LogIn { address, hub: hub.clone(), id, key: KEY.into() };
    names.into_iter().map(log_in).collect()
}

/// What the clients of the edge trust.
pub fn trust(world: &World) -> TlsClient {
    let ca = world.folder.path().join("edge/certs/device-ca.pem");
    TlsClient::new(&Trust::from_file(Some(&ca)).unwrap()).unwrap()
}

/// One client that is connected.
pub struct Client {
    pub log_in: LogIn,
    stream: ClientStream,
    bytes: BytesMut,
}

impl Client {
    /// From an address of its own if one is given, with a port that nobody else takes.
    pub async fn connect(
        log_in: &LogIn,
        tls: &TlsClient,
        from: Option<SocketAddr>,
    ) -> Result<Client, String> {
        let socket = TcpSocket::new_v4().map_err(|error| error.to_string())?;
        if let Some(from) = from {
            socket.set_reuseaddr(true).map_err(|error| error.to_string())?;
            socket.bind(from).map_err(|error| error.to_string())?;
        }
        Self::connect_by(socket, log_in, tls).await
    }

    /// The system takes little for it.
    pub async fn connect_small(log_in: &LogIn, tls: &TlsClient) -> Result<Client, String> {
        let socket = TcpSocket::new_v4().map_err(|error| error.to_string())?;
        socket.set_recv_buffer_size(4_096).map_err(|error| error.to_string())?;
        Self::connect_by(socket, log_in, tls).await
    }

    async fn connect_by(
        socket: TcpSocket,
        log_in: &LogIn,
        tls: &TlsClient,
    ) -> Result<Client, String> {
        let text = |error: std::io::Error| error.to_string();
        let stream = socket.connect(log_in.address).await.map_err(text)?;
        stream.set_nodelay(true).map_err(text)?;
        let host = log_in.address.ip().to_string();
        let stream = tls.connect(&host, stream).await.map_err(text)?;
        let mut client = Client { log_in: log_in.clone(), stream, bytes: BytesMut::new() };
        client.write(&log_in.connect_packet()).await?;
        match client.read().await? {
            Packet::ConnAck(ack) if ack.code == ConnectReturnCode::Success => Ok(client),
            Packet::ConnAck(ack) => Err(format!("CONNACK {:?}", ack.code)),
            other => Err(format!("no CONNACK but {other:?}")),
        }
    }

    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        let write = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        write.await.map_err(|error| error.to_string())
    }

    pub async fn read(&mut self) -> Result<Packet, String> {
        loop {
            match Packet::read(&mut self.bytes, LARGEST) {
                Ok(packet) => return Ok(packet),
                Err(rumqttc::mqttbytes::Error::InsufficientBytes(_)) => {}
                Err(error) => return Err(error.to_string()),
            }
            self.bytes.reserve(512);
            match timeout(PATIENCE, self.stream.read_buf(&mut self.bytes)).await {
                Ok(Ok(0)) => return Err("closed".into()),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(error.to_string()),
                Err(_) => return Err(format!("nothing came in {PATIENCE:?}")),
            }
        }
    }

    pub async fn subscribe(&mut self) -> Result<(), String> {
        let filter = format!("devices/{}/messages/devicebound/#", self.log_in.id);
        self.subscribe_to(&filter, 1).await
    }

    pub async fn subscribe_to(&mut self, filter: &str, qos: u8) -> Result<(), String> {
        let qos = if qos == 0 { QoS::AtMostOnce } else { QoS::AtLeastOnce };
        let mut packet = Subscribe::new(filter, qos);
        packet.pkid = 1;
        let mut bytes = BytesMut::new();
        packet.write(&mut bytes).unwrap();
        self.write(&bytes).await?;
        match self.read().await? {
            Packet::SubAck(_) => Ok(()),
            other => Err(format!("no SUBACK but {other:?}")),
        }
    }

    pub async fn ack(&mut self, id: u16) -> Result<(), String> {
        let mut bytes = BytesMut::new();
        PubAck::new(id).write(&mut bytes).unwrap();
        self.write(&bytes).await
    }

    pub async fn disconnect(mut self) {
        let _ = self.write(&[0xe0, 0]).await; // it may be closed already
        let _ = self.stream.shutdown().await;
    }

    /// Sends a message and waits until it is stored; how long that took.
    pub async fn publish(&mut self, id: u16, body: &[u8]) -> Result<Duration, String> {
        let begin = Instant::now();
        let packet = Mqtt::encode(&self.log_in.telemetry_topic("out"), id, body);
        self.write(&packet).await?;
        match self.read().await? {
            Packet::PubAck(ack) if ack.pkid == id => Ok(begin.elapsed()),
            other => Err(format!("no PUBACK {id} but {other:?}")),
        }
    }
}

/// All of them, connected, so many at a time; the first error ends the test.
pub async fn connect_all(clients: &[LogIn], tls: &TlsClient, at_once: usize) -> Vec<Client> {
    let turns = Arc::new(Semaphore::new(at_once));
    let mut tasks = JoinSet::new();
    for log_in in clients {
        let (log_in, tls, turns) = (log_in.clone(), tls.clone(), Arc::clone(&turns));
        tasks.spawn(async move {
            let _turn = turns.acquire().await.unwrap();
            Client::connect(&log_in, &tls, None)
                .await
                .map_err(|why| format!("{}: {why}", log_in.id))
        });
    }
    let mut connected = Vec::with_capacity(clients.len());
    while let Some(client) = tasks.join_next().await {
        connected.push(client.unwrap().unwrap());
    }
    connected
}

/// Does something with each, all at the same time.
pub async fn each<F, A>(clients: Vec<Client>, act: F) -> Vec<Client>
where
    F: Fn(Client) -> A,
    A: Future<Output = Result<Client, String>> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    for client in clients {
        tasks.spawn(act(client));
    }
    let mut all = Vec::new();
    while let Some(client) = tasks.join_next().await {
        all.push(client.unwrap().unwrap());
    }
    all
}

/// An address to come from: many clients may share one, and each needs a port.
pub fn from(last: u8) -> Option<SocketAddr> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let port = 20_000 + NEXT.fetch_add(1, Ordering::Relaxed) % 10_000;
    Some(SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), port)))
}
