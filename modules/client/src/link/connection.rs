//! One MQTT connection: opened, polled by a task of its own, gone when dropped.

use std::time::Duration;

use rumqttc::{AsyncClient, ConnectReturnCode, ConnectionError, Event, MqttOptions, Packet, QoS};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::credentials::Settings;
use crate::error::AttemptError;
use crate::tls;

/// Larger than the largest message with the longest topic that a hub takes.
const MAX_PACKET: usize = 400_000;
/// Packet ids go round after so many; far more than are ever un-acked, so that none collide.
const PACKET_IDS: u16 = 1_000;
const KEEP_ALIVE: Duration = Duration::from_secs(30);
const CONNECT_SECONDS: u64 = 15;

/// A connection that was accepted.
pub(crate) struct Connection {
    /// How long its token is good for.
    pub(crate) renew_in: Duration,
    host: String,
    mqtt: AsyncClient,
    events: mpsc::Receiver<Result<Event, ConnectionError>>,
    poller: JoinHandle<()>,
}

impl Connection {
    /// Logs in; resolves after CONNACK.
    pub(crate) async fn open(settings: &Settings) -> Result<Self, AttemptError> {
        let login = settings.login().await?;
        let (host, port) = settings.address();
        let mut options = MqttOptions::new(login.client_id, &host, port);
        options
            .set_transport(tls::transport(&login.ca)?)
            .set_credentials(login.username, login.password)
            .set_clean_session(false)
            .set_keep_alive(KEEP_ALIVE)
            .set_manual_acks(true)
            .set_inflight(PACKET_IDS)
            .set_max_packet_size(MAX_PACKET, MAX_PACKET);
        let (mqtt, mut looped) = AsyncClient::new(options, usize::from(PACKET_IDS));
        let mut network = looped.network_options();
        network.set_connection_timeout(CONNECT_SECONDS).set_tcp_nodelay(true);
        looped.set_network_options(network);
        let failed = |why: String| AttemptError::Mqtt { host: format!("{host}:{port}"), why };
        match looped.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(_))) => (),
            Ok(other) => return Err(failed(format!("unexpected {other:?}"))),
            Err(error) => return Err(failed(explain(&error))),
        }
        // A poll must not be cancelled in the middle of a write, so it has its own task.
        let (tell, events) = mpsc::channel(64);
        let poller = tokio::spawn(async move {
            loop {
                let event = looped.poll().await;
                let ended = event.is_err();
                if tell.send(event).await.is_err() || ended {
                    return;
                }
            }
        });
        let host = format!("{host}:{port}");
        Ok(Self { renew_in: login.renew_in, host, mqtt, events, poller })
    }

    /// What happened next on this connection.
    pub(crate) async fn event(&mut self) -> Result<Event, AttemptError> {
        match self.events.recv().await {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(self.failed(explain(&error))),
            None => Err(self.failed("the connection's task ended".into())),
        }
    }

    pub(crate) fn publish(&self, topic: &str, qos: QoS, body: &[u8]) -> Result<(), AttemptError> {
        let done = self.mqtt.try_publish(topic, qos, false, body);
        done.map_err(|error| self.failed(format!("cannot publish: {error}")))
    }

    pub(crate) fn subscribe(&self, filter: &str) -> Result<(), AttemptError> {
        let done = self.mqtt.try_subscribe(filter, QoS::AtLeastOnce);
        done.map_err(|error| self.failed(format!("cannot subscribe: {error}")))
    }

    /// Acknowledges a delivery by its packet id.
    pub(crate) fn acknowledge(&self, pkid: u16) -> Result<(), AttemptError> {
        let mut publish = rumqttc::Publish::new("", QoS::AtLeastOnce, "");
        publish.pkid = pkid;
        let done = self.mqtt.try_ack(&publish);
        done.map_err(|error| self.failed(format!("cannot acknowledge: {error}")))
    }

    /// Sends DISCONNECT and gives it a moment to leave.
    pub(crate) async fn goodbye(mut self) {
        if self.mqtt.try_disconnect().is_ok() {
            let left = async {
                while let Some(Ok(event)) = self.events.recv().await {
                    if matches!(event, Event::Outgoing(rumqttc::Outgoing::Disconnect)) {
                        return;
                    }
                }
            };
            let _ = tokio::time::timeout(Duration::from_secs(1), left).await;
        }
    }

    fn failed(&self, why: String) -> AttemptError {
        AttemptError::Mqtt { host: self.host.clone(), why }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.poller.abort();
    }
}

/// The library's errors in words that help.
fn explain(error: &ConnectionError) -> String {
    match error {
        ConnectionError::ConnectionRefused(ConnectReturnCode::ServiceUnavailable) => {
            "the hub is not ready (CONNACK 3)".into()
        }
        ConnectionError::ConnectionRefused(code) => format!("the hub refused the log-in: {code:?}"),
        other => {
            let text = other.to_string();
            match text.contains("peer closed connection") {
                true => "the hub closed the connection".into(),
                false => text,
            }
        }
    }
}
