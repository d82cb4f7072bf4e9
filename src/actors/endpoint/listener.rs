//! The open doors: accepts on sockets that `bin` has bound and that outlive every restart, does
//! the TLS handshakes beside the accepting, and hands streams to the sessions that are there.
//! Behind the HTTPS door requests are answered, and WebSockets become streams.
//!
//! next: `sessions/owner.rs`

use std::cell::RefCell;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use tokio::time::timeout;

use super::doorkeeper::{Doorkeeper, Visit};
use super::greeting::turn_away;
use super::sessions::Accept;
use super::stream::Arrived;
use crate::actors::clock;
use crate::actors::port::Port;
use crate::actors::supervision::{Obituary, Supervised};
use crate::messages::supervision::Health;
use crate::protocol::http::{self, Handler, Limits, Tunnel, serve_with_web_sockets};
use crate::protocol::logging::cut;
use crate::protocol::sockets::Seated;
use crate::protocol::tls::{ServerStream, TlsServer};

/// A handshake must be done by then, its line at the door included.
const HANDSHAKE: Duration = Duration::from_secs(20);
/// After an error of `accept` (out of file descriptors), so that it does not spin.
const BREATH: Duration = Duration::from_millis(200);
/// So often it is said that accepting goes wrong.
const SAY: Duration = Duration::from_secs(10);

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
    keeper: Doorkeeper,
    accept: Port<Accept>,
    obituary: Obituary,
}

impl Listener {
    /// Accepts on `sockets`; without sessions in the port clients are turned away with CONNACK 3.
    pub fn new(
        sockets: Rc<Vec<Bound>>,
        keeper: Doorkeeper,
        accept: Port<Accept>,
        obituary: Obituary,
    ) -> Self {
        Listener { sockets, keeper, accept, obituary }
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
                    let keeper = self.keeper.clone();
                    ctx.spawn(accept_for_ever(socket, door, keeper, port).into_actor(self));
                }
                Err(error) => self.fail(&format!("socket cannot be listened on: {error}"), ctx),
            }
        }
    }
}

async fn accept_for_ever(
    socket: tokio::net::TcpListener,
    door: Door,
    keeper: Doorkeeper,
    port: Port<Accept>,
) {
    let mut said: Option<tokio::time::Instant> = None;
    loop {
        match socket.accept().await {
            Ok((stream, peer)) => {
                let _ = stream.set_nodelay(true); // a hint
                if let Some((seat, visit)) = keeper.enter(peer.ip()) {
                    let (door, port) = (door.clone(), port.clone());
                    let stream = Seated::new(stream, seat);
                    actix::spawn(welcome(stream, peer.to_string(), door, port, visit));
                }
            }
            Err(error) => {
                if said.is_none_or(|said| said.elapsed() > SAY) {
                    said = Some(tokio::time::Instant::now());
                    tracing::warn!(%error, "cannot accept; clients wait, it is tried again");
                }
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}

async fn welcome(stream: Seated, peer: String, door: Door, port: Port<Accept>, visit: Visit) {
    let (tls, handler) = match door {
        Door::Plain => {
            let stream = Box::new(stream);
            return hand_on(Arrived { stream, peer, certificate: None, visit }, port).await;
        }
        Door::Tls(tls) => (tls, None),
        Door::Https(tls, handler, limits) => (tls, Some((handler, limits))),
    };
    let Some(stream) = shake_hands(stream, &peer, &tls, &visit).await else { return };
    let certificate = tls.peer(&stream, clock::unix_time());
    let Some((handler, limits)) = handler else {
        return hand_on(Arrived { stream: Box::new(stream), peer, certificate, visit }, port).await;
    };
    // A request is answered to a stranger; a WebSocket takes the visit along.
    let visit = Rc::new(RefCell::new(Some(visit)));
    let (client, visitor) = (peer.clone(), Rc::clone(&visit));
    let tunnel: Tunnel = Rc::new(move |stream| {
        let Some(visit) = visitor.take() else { return };
        let (peer, certificate) = (client.clone(), certificate.clone());
        actix::spawn(hand_on(Arrived { stream, peer, certificate, visit }, port.clone()));
    });
    let evicted = visit.borrow().as_ref().map(Visit::evicted);
    let handler = damped(handler, peer.clone(), visit);
    let served = serve_with_web_sockets(stream, handler, tunnel, limits);
    let end = async {
        match evicted {
            Some(evicted) => evicted.await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        served = served => {
            if let Err(error) = served {
                tracing::debug!(peer, %error, "HTTP connection ended");
            }
        }
        () = end => tracing::debug!(peer, "HTTP connection made room for others"),
    }
}

/// Who is refused waits for the answer, as at a log-in, and the log has no more of it.
fn damped(handler: Handler, peer: String, visit: Rc<RefCell<Option<Visit>>>) -> Handler {
    http::handler(move |request| {
        let path = cut(&request.path);
        let (answer, peer, visit) = (handler(request), peer.clone(), Rc::clone(&visit));
        async move {
            let answer = answer.await;
            if answer.status == 401 {
                let seen = visit.borrow().as_ref().map(|visit| visit.refused(None));
                let (hold, is_said) = seen.unwrap_or_default();
                if let Some(why) = answer.refused.as_deref().filter(|_| is_said) {
                    tracing::warn!(target: "audit", peer, path, why = cut(why), "refused");
                }
                tokio::time::sleep(hold).await;
            }
            answer
        }
    })
}

/// By its deadline, if nobody else needs the room, and when it is its turn. `None` is closed.
async fn shake_hands(
    stream: Seated,
    peer: &str,
    tls: &TlsServer,
    visit: &Visit,
) -> Option<ServerStream<Seated>> {
    let shake = async {
        stream.readable().await?; // who says nothing gets no turn
        visit.turn().await;
        tls.accept(stream).await
    };
    let why = tokio::select! {
        shaken = timeout(HANDSHAKE, shake) => match shaken {
            Ok(Ok(stream)) => return Some(stream),
            Ok(Err(error)) => format!("TLS handshake failed: {error}"),
            Err(_) => "no TLS handshake in time".to_owned(),
        },
        () = visit.evicted() => "no TLS handshake, and others need the room".to_owned(),
    };
    if visit.offence() {
        tracing::info!(peer, why, "closed");
    }
    None
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
