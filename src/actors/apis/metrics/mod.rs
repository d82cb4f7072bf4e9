//! Metrics for Prometheus, and health for those who watch the process.
//!
//! Started by the supervisor `apis`. `/metrics`, `/healthz` (it answers), `/readyz` (clients are
//! served, with the reason of each part that is not ready). next: `text.rs`.

#[cfg(test)]
mod tests;
mod text;

use std::fmt::Write;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;

use actix::prelude::*;

use super::overview::{About, ApiPorts};
use crate::actors::supervision::{Obituary, Supervised};
use crate::messages::supervision::Health;
use crate::protocol::http::{HttpRequest, HttpResponse, Limits, Server, handler};

/// See the module documentation.
pub struct Metrics {
    listen: Option<SocketAddr>,
    about: Rc<About>,
    ports: ApiPorts,
    server: Option<Server>,
    obituary: Obituary,
}

impl Metrics {
    /// Listens once it is started, unless there is no address.
    pub fn new(
        listen: Option<SocketAddr>,
        about: About,
        ports: ApiPorts,
        obituary: Obituary,
    ) -> Self {
        Metrics { listen, about: Rc::new(about), ports, server: None, obituary }
    }

    fn serve(&self, address: SocketAddr) -> io::Result<Server> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let (about, ports) = (Rc::clone(&self.about), self.ports.clone());
        let answer = handler(move |request| {
            let (about, ports) = (Rc::clone(&about), ports.clone());
            async move { answer(&about, &ports, &request).await }
        });
        Ok(Server::tcp(listener, answer, Limits { connections: 16, ..Limits::default() }))
    }
}

async fn answer(about: &About, ports: &ApiPorts, request: &HttpRequest) -> HttpResponse {
    match (request.method.as_str(), request.path.as_str()) {
        ("GET" | "HEAD", "/healthz") => HttpResponse::text(200, "ok\n"),
        ("GET" | "HEAD", "/readyz") => {
            let overview = ports.overview(about).await;
            let mut body = String::new();
            for part in &overview.parts {
                let why = part.why.as_deref().unwrap_or("ready");
                let needed = if part.is_needed || part.is_ready { "" } else { " (not needed)" };
                _ = writeln!(body, "{}: {why}{needed}", part.name);
            }
            HttpResponse::text(if overview.is_ready { 200 } else { 503 }, body)
        }
        ("GET" | "HEAD", "/metrics") => {
            let (overview, tree) = tokio::join!(ports.overview(about), ports.tree());
            let memory = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
            let body = text::write(&overview, &tree.unwrap_or_default(), &memory);
            HttpResponse::bytes(200, "text/plain; version=0.0.4; charset=utf-8", body)
        }
        _ => HttpResponse::text(404, "there are /metrics, /healthz and /readyz\n"),
    }
}

impl Actor for Metrics {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let Some(address) = self.listen else { return };
        match self.serve(address) {
            Ok(server) => self.server = Some(server),
            Err(why) => {
                self.fail(&format!("cannot listen on metrics.listen {address}: {why}"), ctx)
            }
        }
    }
}

impl Supervised for Metrics {
    fn obituary(&mut self) -> &mut Obituary {
        &mut self.obituary
    }

    fn health(&self) -> Health {
        let place = self.listen.map(|address| format!("on {address}"));
        Health { state: place.unwrap_or_else(|| "off".into()) }
    }
}
crate::supervised!(Metrics);
