//! REST against the real actors over a real store; sessions are stand-ins.

mod access;
mod deployments;
mod devicebound;
mod files;
mod identities;
mod telemetry;
mod twins;

use std::cell::RefCell;
use std::rc::Rc;

use actix::prelude::*;
use bytes::Bytes;
use futures_util::stream::StreamExt;
use serde_json::Value;

use super::*;
use crate::actors::supervision::Obituary;
use crate::domain::method::{Call, Outcome};
use crate::domain::sas;
use crate::localhub::devicebound::{Devicebound, DeviceboundPorts};
use crate::localhub::files::Limits;
use crate::localhub::presence::Presence;
use crate::localhub::registry::{Registry, RegistryPorts};
use crate::localhub::telemetry::{Retention, Telemetry, TelemetryPorts};
use crate::localhub::testing::{Disk, Sessions, ready};
use crate::localhub::twins::{Twins, TwinsPorts};
use crate::messages::queue::Ingest;
use crate::messages::sessions::PresenceChanged;
use crate::messages::twins::PatchReported;
use crate::protocol::http::HttpBody;

const HOST: &str = "hub.local";
const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZg==";

/// A hub without an endpoint.
struct Hub {
    rest: Rc<Rest>,
    ingest: Port<Ingest>,
    presence: Port<PresenceChanged>,
    report: Port<PatchReported>,
    sessions: Sessions,
    methods: Methods,
    /// Where uploaded files are.
    folder: tempfile::TempDir,
    _disk: Disk,
}

/// Answers every method in the same way.
#[derive(Clone)]
struct Methods(Rc<RefCell<(Outcome, Vec<Call>)>>);

impl Actor for Methods {
    type Context = Context<Self>;
}

impl actix::Handler<Invoke> for Methods {
    type Result = MessageResult<Invoke>;

    fn handle(&mut self, invoke: Invoke, _: &mut Self::Context) -> Self::Result {
        let mut state = self.0.borrow_mut();
        state.1.push(invoke.call);
        MessageResult(state.0.clone())
    }
}

/// An answer, read whole.
#[derive(Debug)]
struct Read {
    status: u16,
    headers: Vec<(String, String)>,
    body: Bytes,
    json: Value,
}

impl Hub {
    async fn new() -> Self {
        let disk = Disk::new();
        let (save, fetch, scan) = (disk.save.clone(), disk.fetch.clone(), disk.scan.clone());
        let (ports, send) = (RestPorts::default(), Port::default());
        let sessions = Sessions::plug(&send);
        let none = Obituary::unsupervised;

        let registry = RegistryPorts {
            save: save.clone(),
            scan: scan.clone(),
            send: send.clone(),
            ..RegistryPorts::default()
        };
        let forget = registry.clone();
        let registry = Registry::new(registry, HOST.to_owned(), none()).start();
        ports.log_in.plug(&registry);
        ports.put.plug(&registry);
        ports.delete.plug(&registry);
        ports.list.plug(&registry);

        let presence = Presence::new(save.clone(), scan.clone(), none()).start();
        forget.forget_presence.plug(&presence);
        ports.presence.plug(&presence);
        let changed = Port::default();
        changed.plug(&presence);

        let twins = TwinsPorts { save: save.clone(), scan: scan.clone(), send: send.clone() };
        let twins = Twins::new(twins, none()).start();
        forget.forget_twins.plug(&twins);
        ports.read_twins.plug(&twins);
        ports.change_twin.plug(&twins);
        let report = Port::default();
        report.plug(&twins);

        let (of_log, active) = ((save.clone(), fetch.clone(), scan.clone()), Port::default());
        active.plug(&presence);
        let log = TelemetryPorts { save: of_log.0, fetch: of_log.1, scan: of_log.2, active };
        let log = Telemetry::new(log, Retention::default(), none()).start();
        ports.read_telemetry.plug(&log);
        ports.await_telemetry.plug(&log);
        let ingest = Port::default();
        ingest.plug(&log);

        let queue = Devicebound::new(DeviceboundPorts { save, fetch, scan, send }, none()).start();
        forget.forget_devicebound.plug(&queue);
        ports.enqueue.plug(&queue);
        ports.purge.plug(&queue);
        ports.count.plug(&queue);
        ports.feedback.plug(&queue);

        let methods = Methods(Rc::new(RefCell::new((Outcome::NotConnected, Vec::new()))));
        ports.invoke.plug(&methods.clone().start());

        ready(&registry, || ListIdentities::Devices).await;
        ready(&presence, || ListPresence::All).await;
        ready(&twins, || ReadTwins(Vec::new())).await;
        ready(&queue, || CountDevicebound).await;
        let read = || ReadTelemetry { since: crate::domain::row::Offset(0), max: 1 };
        ready(&log, read).await;
        let owner = Owner { hostname: HOST.to_owned(), key: KEY.to_owned() };
        let folder = tempfile::tempdir().unwrap();
        let limits = Limits { file: 20_000, total: 62_000 };
        let files = Rc::new(Files::open(folder.path(), KEY, limits).unwrap());
        let rest = Rest::new(ports, owner, files);
        Hub { rest, ingest, presence: changed, report, sessions, methods, folder, _disk: disk }
    }

    /// A call by the owner.
    async fn call(&self, method: &str, target: &str, body: Value) -> Read {
        self.call_with(method, target, body, &[]).await
    }

    async fn call_with(
        &self,
        method: &str,
        target: &str,
        body: Value,
        headers: &[(&str, &str)],
    ) -> Read {
        let token = sas::make(HOST, KEY, u64::MAX, Some("iothubowner")).unwrap();
        let mut request = HttpRequest::new(method, target);
        request.body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
        let own = [("authorization", token.as_str())];
        for (name, value) in headers.iter().chain(&own) {
            request.headers.push(((*name).to_owned(), Bytes::copy_from_slice(value.as_bytes())));
        }
        self.send(request).await
    }

    async fn send(&self, request: HttpRequest) -> Read {
        let HttpResponse { status, headers, body, .. } = self.rest.handle(request).await;
        let body = match body {
            HttpBody::Full(body) => body,
            HttpBody::Stream(chunks) => {
                let chunks: Vec<_> = chunks.map(|chunk| chunk.unwrap()).collect().await;
                chunks.concat().into()
            }
        };
        let json = serde_json::from_slice(&body).unwrap_or_default();
        Read { status, headers, body, json }
    }

    async fn get(&self, target: &str) -> Read {
        self.call("GET", target, Value::Null).await
    }

    /// Makes an identity with `KEY`.
    async fn make(&self, target: &str, mut body: Value) -> Value {
        let keys = serde_json::json!({"primaryKey": KEY, "secondaryKey": KEY});
        body["authentication"] = serde_json::json!({"type": "sas", "symmetricKey": keys});
        let made = self.call("PUT", target, body).await;
        assert_eq!(made.status, 200, "{made:?}");
        made.json
    }
}

impl Read {
    fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// `404 DeviceNotFound`, from the message that service SDKs take apart.
    fn error(&self) -> String {
        let message = self.json["Message"].as_str().unwrap_or_default();
        let code = message.strip_prefix("ErrorCode:").and_then(|rest| rest.split(';').next());
        format!("{} {}", self.status, code.unwrap_or_default())
    }
}
