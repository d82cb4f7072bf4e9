//! Who connects, to what kind of broker, and how it logs in.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use rustls::ClientConfig;

use crate::options::Broker;
use crate::transport::Transport;
use crate::wire;

/// A broker that is not there yet, or does not know a client yet, is tried again for so long.
const PATIENCE: Duration = Duration::from_secs(30);
const AGAIN: Duration = Duration::from_millis(20);
/// Seconds; nobody pings.
const ALIVE: u16 = 1800;

/// The broker and how to come in.
pub(crate) struct Door {
    address: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
    /// What its certificate is for.
    name: IpAddr,
    hub: Option<(String, Vec<u8>)>,
}

impl Door {
    pub(crate) fn new(broker: &Broker) -> Result<Self, String> {
        let tls = broker.tls_ca.as_deref().map(crate::transport::trust).transpose()?;
        let hub = match (&broker.hub, &broker.key) {
            (Some(hub), Some(key)) => {
                let key = STANDARD.decode(key).map_err(|_| "the key is not base64".to_owned())?;
                Some((hub.clone(), key))
            }
            _ => None,
        };
        let name = broker.tls_name.unwrap_or(broker.to.ip());
        Ok(Door { address: broker.to, tls, name, hub })
    }

    /// Connects as `device` or `device/module` and, with a filter, subscribes; non-blocking then.
    /// With what came besides the answers: a session that is resumed has messages at once.
    pub(crate) fn enter(
        &self,
        id: &str,
        is_clean: bool,
        filter: Option<&str>,
    ) -> Result<(Transport, Vec<u8>), String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.try_enter(id, is_clean, filter) {
                Ok(entered) => return Ok(entered),
                Err(why) if Instant::now() > deadline => {
                    return Err(format!("{id} does not come in at {}: {why}", self.address));
                }
                Err(_) => std::thread::sleep(AGAIN),
            }
        }
    }

    fn try_enter(
        &self,
        id: &str,
        is_clean: bool,
        filter: Option<&str>,
    ) -> Result<(Transport, Vec<u8>), String> {
        let text = |error: std::io::Error| error.to_string();
        let mut transport =
            Transport::open(self.address, self.name, self.tls.as_ref()).map_err(text)?;
        let packet = match &self.hub {
            Some((hub, key)) => {
                let user = format!("{hub}/{id}/?api-version=2021-04-12");
                wire::connect(id, Some((&user, &token(hub, id, key))), is_clean, ALIVE)
            }
            None => wire::connect(id, None, is_clean, ALIVE),
        };
        let mut came = Vec::new();
        ask(&mut transport, &packet, wire::CONNACK, &mut came, |rest| rest.get(1) == Some(&0))?;
        if let Some(filter) = filter {
            let packet = wire::subscribe(filter);
            ask(&mut transport, &packet, wire::SUBACK, &mut came, |rest| rest.get(2) == Some(&1))?;
        }
        transport.set_nonblocking().map_err(text)?;
        Ok((transport, came))
    }
}

/// Writes a packet and waits for the answer to it; what else came is put behind what `came`.
fn ask(
    transport: &mut Transport,
    packet: &[u8],
    kind: u8,
    came: &mut Vec<u8>,
    is_good: impl Fn(&[u8]) -> bool,
) -> Result<(), String> {
    let text = |error: std::io::Error| error.to_string();
    transport.out().extend_from_slice(packet);
    transport.flush().map_err(text)?;
    let mut have = came.len();
    let mut at = 0;
    loop {
        while let Some(packet) = wire::first(&came[at..have])? {
            let next = at + packet.length;
            if packet.kind == kind {
                if !is_good(packet.rest) {
                    return Err(format!("answered {:?}", packet.rest));
                }
                came.truncate(have);
                came.drain(at..next);
                return Ok(());
            }
            at = next;
        }
        have = transport.read(came, have).map_err(text)?;
    }
}

/// A shared access signature for an hour and more.
fn token(hub: &str, id: &str, key: &[u8]) -> String {
    let resource = match id.split_once('/') {
        Some((device, module)) => format!("{hub}/devices/{device}/modules/{module}"),
        None => format!("{hub}/devices/{id}"),
    };
    let resource = escaped(&resource);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let expiry = now + 7200;
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let signature = hmac::sign(&key, format!("{resource}\n{expiry}").as_bytes());
    let signature = escaped(&STANDARD.encode(signature));
    format!("SharedAccessSignature sr={resource}&sig={signature}&se={expiry}")
}

fn escaped(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let escape =
        |byte: u8| if is_plain(byte) { char::from(byte).into() } else { format!("%{byte:02X}") };
    text.bytes().map(escape).collect()
}
