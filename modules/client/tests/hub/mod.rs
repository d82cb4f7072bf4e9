//! A hub of one client that does what a test tells it to: real TLS, real MQTT.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use edge_module_client::{ModuleClient, Settings};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rumqttc::mqttbytes::v4::{ConnAck, Connect, Packet, PubAck, Publish, SubAck};
use rumqttc::{ConnectReturnCode, QoS, SubscribeReasonCode};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

const PATIENCE: Duration = Duration::from_secs(20);
const MAX: usize = 400_000;

/// Listens on a free port of 127.0.0.1.
pub(crate) struct Hub {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    ca: String,
}

/// One connection of the client.
pub(crate) struct Connection {
    stream: TlsStream<TcpStream>,
    read: BytesMut,
    next_pkid: u16,
}

impl Hub {
    pub(crate) async fn start() -> Self {
        let ca_key = KeyPair::generate().expect("keys can be made");
        let mut ca = CertificateParams::new(Vec::<String>::new()).expect("no names are fine");
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca_pem = ca.self_signed(&ca_key).expect("it signs itself").pem();
        let issuer = Issuer::new(ca, ca_key);
        let key = KeyPair::generate().expect("keys can be made");
        let certificate = CertificateParams::new(vec!["127.0.0.1".into()])
            .and_then(|params| params.signed_by(&key, &issuer))
            .expect("the address is a name");
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("it is PKCS 8");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring has them")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("key and certificate belong together");
        Self {
            listener: TcpListener::bind("127.0.0.1:0").await.expect("a port is free"),
            acceptor: TlsAcceptor::from(Arc::new(config)),
            ca: ca_pem,
        }
    }

    /// A client of this hub, as the module `m` of the device `d`.
    pub(crate) fn client(&self) -> ModuleClient {
        let port = self.listener.local_addr().expect("it is bound").port();
        let text = format!(
            "HostName=hub;DeviceId=d;ModuleId=m;SharedAccessKey=c2VjcmV0;\
             GatewayHostName=127.0.0.1:{port}"
        );
        let settings = Settings::from_connection_string(&text, &self.ca).expect("it is complete");
        ModuleClient::connect(settings)
    }

    /// The client's next connection, its CONNECT answered with this code.
    pub(crate) async fn accept_with(&self, code: ConnectReturnCode) -> (Connection, Connect) {
        let accepted = tokio::time::timeout(PATIENCE, self.listener.accept()).await;
        let (stream, _) = accepted.expect("the client comes in time").expect("it is accepted");
        let stream = self.acceptor.accept(stream).await.expect("TLS works");
        let mut connection = Connection { stream, read: BytesMut::new(), next_pkid: 1 };
        let Packet::Connect(connect) = connection.packet().await else {
            panic!("the first packet must be CONNECT")
        };
        connection.send(Packet::ConnAck(ConnAck::new(code, true))).await;
        (connection, connect)
    }

    pub(crate) async fn accept(&self) -> Connection {
        self.accept_with(ConnectReturnCode::Success).await.0
    }
}

impl Connection {
    /// The next packet that is not a PINGREQ.
    pub(crate) async fn packet(&mut self) -> Packet {
        tokio::time::timeout(PATIENCE, self.read_packet()).await.expect("a packet comes in time")
    }

    async fn read_packet(&mut self) -> Packet {
        loop {
            match Packet::read(&mut self.read, MAX) {
                Ok(Packet::PingReq) => self.send(Packet::PingResp).await,
                Ok(packet) => return packet,
                Err(_) => {
                    let n = self.stream.read_buf(&mut self.read).await.expect("it is open");
                    assert_ne!(n, 0, "the client closed the connection");
                }
            }
        }
    }

    /// Nothing comes for a while.
    pub(crate) async fn silent(&mut self) -> bool {
        tokio::time::timeout(Duration::from_millis(200), self.read_packet()).await.is_err()
    }

    pub(crate) async fn send(&mut self, packet: Packet) {
        let mut bytes = BytesMut::new();
        packet.write(&mut bytes, MAX).expect("it is well-formed");
        self.stream.write_all(&bytes).await.expect("the client reads");
        self.stream.flush().await.expect("the client reads");
    }

    /// The next packet is a SUBSCRIBE; answers it, gives its filter.
    pub(crate) async fn subscribed(&mut self) -> String {
        let Packet::Subscribe(subscribe) = self.packet().await else {
            panic!("a SUBSCRIBE was expected")
        };
        let codes = vec![SubscribeReasonCode::Success(QoS::AtLeastOnce)];
        self.send(Packet::SubAck(SubAck::new(subscribe.pkid, codes))).await;
        subscribe.filters[0].path.clone()
    }

    /// The next packet is a PUBLISH.
    pub(crate) async fn published(&mut self) -> Publish {
        match self.packet().await {
            Packet::Publish(publish) => publish,
            other => panic!("a PUBLISH was expected, not {other:?}"),
        }
    }

    pub(crate) async fn acknowledge(&mut self, publish: &Publish) {
        self.send(Packet::PubAck(PubAck::new(publish.pkid))).await;
    }

    /// Publishes with QoS 1, gives the packet id.
    pub(crate) async fn publish(&mut self, topic: &str, body: &str) -> u16 {
        let mut publish = Publish::new(topic, QoS::AtLeastOnce, body);
        publish.pkid = self.next_pkid;
        self.next_pkid += 1;
        let pkid = publish.pkid;
        self.send(Packet::Publish(publish)).await;
        pkid
    }

    /// The next packet is the PUBACK of this.
    pub(crate) async fn acknowledged(&mut self, pkid: u16) {
        let packet = self.packet().await;
        assert!(matches!(&packet, Packet::PubAck(ack) if ack.pkid == pkid), "{packet:?}");
    }

    /// Answers a twin request: the id is taken from its topic.
    pub(crate) async fn answer_twin(&mut self, request: &Publish, status: u16, body: &str) {
        let rid = request.topic.split("$rid=").nth(1).expect("a twin request has an id");
        let topic = format!("$iothub/twin/res/{status}/?$rid={rid}&$version=2");
        let publish = Publish::new(topic, QoS::AtMostOnce, body);
        self.send(Packet::Publish(publish)).await;
    }
}
