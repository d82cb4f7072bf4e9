//! The engine's actor, over a unix socket at which a test answers; in virtual time.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::Notify;

use super::*;
use crate::actors::agent::ImagesConfig;
use crate::domain::agent::restarts;
use crate::domain::identity::Identity;
use crate::protocol::http::{HttpRequest, HttpResponse, Limits, Server, handler};

/// An engine without containers.
#[derive(Default)]
struct Fake {
    /// So long it takes to say who it is.
    slow: Cell<Duration>,
    /// Its events end.
    cut: Notify,
}

async fn answer(fake: Rc<Fake>, request: HttpRequest) -> HttpResponse {
    match request.path.rsplit('/').next() {
        Some("version") => {
            tokio::time::sleep(fake.slow.get()).await;
            let version = json!({"Version": "28", "ApiVersion": "1.47", "Arch": "x"});
            HttpResponse::json(200, &version)
        }
        Some("events") => {
            let end = async move {
                fake.cut.notified().await;
                Err("it was restarted".to_owned())
            };
            HttpResponse::stream(200, "application/json", futures_util::stream::once(end))
        }
        _ => HttpResponse::json(200, &json!({})),
    }
}

fn config(socket: &std::path::Path) -> AgentConfig {
    AgentConfig {
        device: Identity::parse("edge-1").unwrap(),
        hub: "hub".into(),
        gateway_hostname: "gw".into(),
        parent_hostname: None,
        network: "net".into(),
        docker: format!("unix://{}", socket.display()),
        allow_elevated: true,
        credentials: Vec::new(),
        images: ImagesConfig { daemon_file: "/nowhere".into(), ..ImagesConfig::default() },
        state: "/s".into(),
        instance: "i1".into(),
        version: "0.1.0".into(),
        vault: None,
        restart_backoff: restarts::UNIT,
        boot: String::new(),
        update_deadline: Duration::ZERO,
        startup_deadline: Duration::ZERO,
    }
}

#[actix::test]
async fn an_engine_that_went_away_while_it_was_asked_is_looked_for_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("docker.sock");
    let fake = Rc::new(Fake::default());
    let of_server = Rc::clone(&fake);
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let handler = handler(move |request| answer(Rc::clone(&of_server), request));
    let _server = Server::unix(listener, handler, Limits::default());
    tokio::time::pause();
    let ports = AgentPorts::default();
    let _engine = Engine::new(config(&socket), ports.clone(), Obituary::unsupervised()).start();
    let settle = |millis| tokio::time::sleep(Duration::from_millis(millis));
    let is_ready = async || {
        let asked = ports.engine_status.ask(GetEngineStatus, Duration::from_secs(1)).await;
        asked.unwrap().is_ready
    };
    settle(5_000).await;
    assert!(is_ready().await);
    fake.slow.set(Duration::from_secs(3));
    settle(16_000).await; // it is asked at 20 s, and answers at 23 s
    fake.slow.set(Duration::ZERO);
    settle(1_500).await;
    fake.cut.notify_one();
    settle(300).await;
    assert!(!is_ready().await, "22.8 s: it ended its events");
    settle(2_500).await;
    assert!(is_ready().await, "25.3 s: what was asked before is of no use");
}
