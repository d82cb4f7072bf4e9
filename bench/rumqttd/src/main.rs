//! `peer-rumqttd PLAIN [TLS CERTIFICATE KEY]`: rumqttd on these addresses, in memory, with the router's
//! values of its own rumqttd.toml. Who connects needs no log-in.

use std::collections::HashMap;
use std::net::SocketAddr;

use rumqttd::{Broker, Config, ConnectionSettings, RouterConfig, ServerSettings, TlsConfig};

fn server(name: &str, listen: SocketAddr, tls: Option<TlsConfig>) -> (String, ServerSettings) {
    let connections = ConnectionSettings {
        connection_timeout_ms: 60_000,
        max_payload_size: 1 << 18,
        max_inflight_count: 1000,
        auth: None,
        external_auth: None,
        dynamic_filters: true,
    };
    let name = name.to_owned();
    (name.clone(), ServerSettings { name, listen, tls, next_connection_delay_ms: 0, connections })
}

fn run() -> Result<(), String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let address = |text: &String| text.parse().map_err(|_| format!("`{text}` is no address"));
    let servers = match &arguments[..] {
        [plain] => HashMap::from([server("plain", address(plain)?, None)]),
        [plain, secure, certificate, key] => {
            let (certpath, keypath) = (certificate.clone(), key.clone());
            let tls = TlsConfig::Rustls { capath: None, certpath, keypath };
            HashMap::from([
                server("plain", address(plain)?, None),
                server("tls", address(secure)?, Some(tls)),
            ])
        }
        _ => return Err("usage: peer-rumqttd PLAIN [TLS CERTIFICATE KEY]".into()),
    };
    let router = RouterConfig {
        max_connections: 10_010,
        max_outgoing_packet_count: 200,
        max_segment_size: 104_857_600,
        max_segment_count: 10,
        ..RouterConfig::default()
    };
    let config = Config { router, v4: Some(servers), ..Config::default() };
    Broker::new(config).start().map_err(|error| error.to_string())
}

fn main() -> std::process::ExitCode {
    match run() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: {why}");
            std::process::ExitCode::FAILURE
        }
    }
}
