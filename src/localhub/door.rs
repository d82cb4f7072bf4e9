//! `rest`: the HTTPS door of the local hub, on sockets that outlive it.

use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use tokio::time::timeout;

use crate::actors::supervision::{Obituary, Supervised};
use crate::messages::supervision::Health;
use crate::protocol::http::{Handler, Limits, serve_connection};
use crate::protocol::tls::TlsServer;

const HANDSHAKE: Duration = Duration::from_secs(20);
const BREATH: Duration = Duration::from_millis(200);

/// See the module documentation.
pub struct RestDoor {
    sockets: Rc<Vec<Arc<TcpListener>>>,
    tls: TlsServer,
    handler: Handler,
    obituary: Obituary,
}

impl RestDoor {
    /// Serves `handler` on all sockets.
    pub fn new(
        sockets: Rc<Vec<Arc<TcpListener>>>,
        tls: TlsServer,
        handler: Handler,
        obituary: Obituary,
    ) -> Self {
        RestDoor { sockets, tls, handler, obituary }
    }
}

impl Actor for RestDoor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        for socket in Rc::clone(&self.sockets).iter() {
            match socket.try_clone().and_then(tokio::net::TcpListener::from_std) {
                Ok(socket) => {
                    let (tls, handler) = (self.tls.clone(), Rc::clone(&self.handler));
                    ctx.spawn(accept_for_ever(socket, tls, handler).into_actor(self));
                }
                Err(error) => self.fail(&format!("socket cannot be listened on: {error}"), ctx),
            }
        }
    }
}

async fn accept_for_ever(socket: tokio::net::TcpListener, tls: TlsServer, handler: Handler) {
    loop {
        match socket.accept().await {
            Ok((stream, peer)) => {
                let (tls, handler) = (tls.clone(), Rc::clone(&handler));
                actix::spawn(async move {
                    let _ = stream.set_nodelay(true); // a hint
                    match timeout(HANDSHAKE, tls.accept(stream)).await {
                        Ok(Ok(stream)) => {
                            if let Err(error) =
                                serve_connection(stream, handler, Limits::default()).await
                            {
                                tracing::debug!(%peer, %error, "HTTP connection ended");
                            }
                        }
                        Ok(Err(error)) => tracing::info!(%peer, %error, "TLS handshake failed"),
                        Err(_) => tracing::info!(%peer, "no TLS handshake in time"),
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}

impl Supervised for RestDoor {
    fn obituary(&mut self) -> &mut Obituary {
        &mut self.obituary
    }

    fn health(&self) -> Health {
        let addresses = self.sockets.iter().filter_map(|socket| socket.local_addr().ok());
        let addresses: Vec<_> = addresses.map(|address| address.to_string()).collect();
        Health { state: addresses.join(", ") }
    }
}
crate::supervised!(RestDoor);
