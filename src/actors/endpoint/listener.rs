//! The open doors: accepts on sockets that `bin` has bound and that outlive every restart, does
//! the TLS handshakes beside the accepting, and hands streams to the sessions that are there.
//! Behind the HTTPS door requests are answered, and WebSockets become streams.
//!
//! next: `sessions/owner.rs`

use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::greeting::turn_away;
use super::sessions::Accept;
use super::stream::Arrived;
use crate::actors::clock;
use crate::actors::port::Port;
use crate::actors::supervision::{Obituary, Supervised};
use crate::messages::supervision::Health;
use crate::protocol::http::{Handler, Limits, Tunnel, serve_with_web_sockets};
use crate::protocol::tls::TlsServer;

/// A handshake must be done by then.
const HANDSHAKE: Duration = Duration::from_secs(20);
/// After an error of `accept` (out of file descriptors), so that it does not spin.
const BREATH: Duration = Duration::from_millis(200);

/// What comes in by a socket.
#[derive(Clone)]
pub enum Door {
    /// MQTT over TLS.
    Tls(TlsServer),
    /// MQTT as it is; loopback only.
    Plain,
    /// REST, and MQTT over WebSockets.
    Https(TlsServer, Handler, Limits),
}

/// A socket that is bound for as long as the process lives.
#[derive(Clone)]
pub struct Bound {
    /// Non-blocking.
    pub socket: Arc<TcpListener>,
    /// What comes in by it.
    pub door: Door,
}

/// See the module documentation.
pub struct Listener {
    sockets: Rc<Vec<Bound>>,
    accept: Port<Accept>,
    obituary: Obituary,
}

impl Listener {
    /// Accepts on `sockets`; without sessions in the port clients are turned away with CONNACK 3.
    pub fn new(sockets: Rc<Vec<Bound>>, accept: Port<Accept>, obituary: Obituary) -> Self {
        Listener { sockets, accept, obituary }
    }
}

impl Actor for Listener {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        for bound in Rc::clone(&self.sockets).iter() {
            let socket = bound.socket.try_clone().and_then(tokio::net::TcpListener::from_std);
            match socket {
                Ok(socket) => {
                    let (door, port) = (bound.door.clone(), self.accept.clone());
                    // Of this actor, so that the loop ends with it.
                    ctx.spawn(accept_for_ever(socket, door, port).into_actor(self));
                }
                Err(error) => self.fail(&format!("socket cannot be listened on: {error}"), ctx),
            }
        }
    }
}

async fn accept_for_ever(socket: tokio::net::TcpListener, door: Door, port: Port<Accept>) {
    loop {
        match socket.accept().await {
            Ok((stream, peer)) => {
                let (door, port) = (door.clone(), port.clone());
                actix::spawn(async move {
                    let _ = stream.set_nodelay(true); // a hint
                    welcome(stream, peer.to_string(), door, port).await;
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}

async fn welcome(stream: TcpStream, peer: String, door: Door, port: Port<Accept>) {
    let (tls, handler) = match door {
        Door::Plain => {
            let stream = Box::new(stream);
            return hand_on(Arrived { stream, peer, certificate: None }, port).await;
        }
        Door::Tls(tls) => (tls, None),
        Door::Https(tls, handler, limits) => (tls, Some((handler, limits))),
    };
    let stream = match timeout(HANDSHAKE, tls.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::info!(peer, %error, "TLS handshake failed"),
        Err(_) => return tracing::info!(peer, "no TLS handshake in time"),
    };
    let certificate = tls.peer(&stream, clock::unix_time());
    let Some((handler, limits)) = handler else {
        return hand_on(Arrived { stream: Box::new(stream), peer, certificate }, port).await;
    };
    let client = peer.clone();
    let tunnel: Tunnel = Rc::new(move |stream| {
        let (peer, certificate) = (client.clone(), certificate.clone());
        actix::spawn(hand_on(Arrived { stream, peer, certificate }, port.clone()));
    });
    if let Err(error) = serve_with_web_sockets(stream, handler, tunnel, limits).await {
        tracing::debug!(peer, %error, "HTTP connection ended");
    }
}

/// To the sessions that are there.
async fn hand_on(arrived: Arrived, port: Port<Accept>) {
    if port.is_live() {
        port.tell(Accept(arrived)); // the credit is the open file descriptor
    } else {
        turn_away(arrived).await;
    }
}

impl Supervised for Listener {
    fn obituary(&mut self) -> &mut Obituary {
        &mut self.obituary
    }

    fn health(&self) -> Health {
        let addresses = self.sockets.iter().filter_map(|bound| bound.socket.local_addr().ok());
        let addresses: Vec<_> = addresses.map(|address| address.to_string()).collect();
        Health { state: addresses.join(", ") }
    }
}
crate::supervised!(Listener);
