//! The protocol that a module is told to speak to EdgeHub, by its environment.

/// What `UpstreamProtocol` and the SDKs' `ClientTransportType` may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// AMQP over TLS.
    Amqp,
    /// AMQP over WebSockets.
    AmqpWs,
    /// MQTT over TLS.
    Mqtt,
    /// MQTT over WebSockets.
    MqttWs,
}

/// Variables that name one.
pub const VARIABLES: [&str; 2] = ["UpstreamProtocol", "ClientTransportType"];

impl Protocol {
    /// By its word, in any case; in the spelling of the .NET SDK, too. No other word names one.
    pub fn parse(word: &str) -> Option<Self> {
        match word.trim().to_ascii_lowercase().as_str() {
            "amqp" | "amqp_tcp_only" => Some(Protocol::Amqp),
            "amqpws" | "amqp_websocket_only" => Some(Protocol::AmqpWs),
            "mqtt" | "mqtt_tcp_only" => Some(Protocol::Mqtt),
            "mqttws" | "mqtt_websocket_only" => Some(Protocol::MqttWs),
            _ => None,
        }
    }

    /// The name of the reference.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Amqp => "Amqp",
            Protocol::AmqpWs => "AmqpWs",
            Protocol::Mqtt => "Mqtt",
            Protocol::MqttWs => "MqttWs",
        }
    }

    /// AMQP is not served.
    pub fn is_amqp(self) -> bool {
        matches!(self, Protocol::Amqp | Protocol::AmqpWs)
    }
}
