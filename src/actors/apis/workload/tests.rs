//! Over real unix sockets, with a probe for `identities`.

use std::cell::RefCell;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::actors::stand_in::Shelf;
use crate::messages::agent::{AgentStatus, GetAgentStatus, ModuleStatusLine};
use crate::messages::identities::{IdentityRecord, IdentityStatus, Lookup, Sign, SignError};
use crate::messages::state::StoreError;
use crate::protocol::certs::Authority;
use crate::protocol::http_client::{ClientAnswer, ClientRequest, Place, ask};
use crate::store::vault::Vault;

/// Knows `sensor`; `late` is known once the parent was asked.
#[derive(Default)]
struct Identities {
    asked: Rc<RefCell<Vec<String>>>,
    found: Vec<String>,
}

impl Actor for Identities {
    type Context = Context<Self>;
}

impl Handler<Sign> for Identities {
    type Result = Result<Vec<u8>, SignError>;

    fn handle(&mut self, sign: Sign, _: &mut Self::Context) -> Self::Result {
        let module = sign.identity.module_id().unwrap().to_owned();
        if module == "sensor" || self.found.contains(&module) {
            return Ok([format!("{} signs ", sign.identity).as_bytes(), &sign.data].concat());
        }
        Err(SignError::Unknown(sign.identity))
    }
}

impl Handler<Lookup> for Identities {
    type Result = Result<Option<IdentityRecord>, StoreError>;

    fn handle(&mut self, lookup: Lookup, _: &mut Self::Context) -> Self::Result {
        assert!(lookup.ask_parent);
        self.asked.borrow_mut().push(lookup.identity.to_string());
        if lookup.identity.module_id() != Some("late") {
            return Ok(None);
        }
        self.found.push("late".into());
        Ok(Some(IdentityRecord {
            id: lookup.identity,
            keys: Vec::new(),
            thumbprints: Vec::new(),
            ca: false,
            status: IdentityStatus::Enabled,
            generation: "1".into(),
        }))
    }
}

impl Handler<GetAgentStatus> for Identities {
    type Result = MessageResult<GetAgentStatus>;

    fn handle(&mut self, _: GetAgentStatus, _: &mut Self::Context) -> Self::Result {
        let (name, status) = ("sensor".into(), "running".into());
        let modules = vec![ModuleStatusLine { name, status, ..ModuleStatusLine::default() }];
        MessageResult(AgentStatus { modules, ..AgentStatus::default() })
    }
}

struct Bench {
    dir: tempfile::TempDir,
    ports: WorkloadPorts,
    shelf: Shelf,
    asked: Rc<RefCell<Vec<String>>>,
}

impl Bench {
    fn new() -> Self {
        let identities = Identities::default();
        let asked = Rc::clone(&identities.asked);
        let identities = identities.start();
        let ports = WorkloadPorts::default();
        ports.sign.plug(&identities);
        ports.lookup.plug(&identities);
        ports.agent.plug(&identities);
        let shelf = Shelf::default();
        Bench { dir: tempfile::tempdir().unwrap(), ports, shelf, asked }
    }

    fn start(&self, development: bool) -> Addr<Workload> {
        let authority = Authority::load_or_make(&self.dir.path().join("ca.pem"), "gw device CA");
        let vault = Vault::open(&self.dir.path().join("vault.key")).unwrap();
        let keys = Keys::new(Rc::new(vault), self.shelf.fetch(), self.shelf.save());
        let config = WorkloadConfig {
            hub: "hub.local".into(),
            gateway_hostname: "gw.local".into(),
            authority: authority.unwrap().into(),
            state: self.dir.path().into(),
            device: Identity::device("gw").unwrap(),
            trust_bundle: "PEM".into(),
            development_socket: development.then(|| self.dir.path().join("dev.sock")),
        };
        Workload::new(config, self.ports.clone(), keys, Obituary::unsupervised()).start()
    }

    fn path(&self, module: &str) -> PathBuf {
        directory(self.dir.path(), module).join(SOCKET)
    }

    async fn ask(&self, socket: &Path, request: ClientRequest) -> Option<ClientAnswer> {
        let place = Place::Unix(socket.into());
        ask(&place, request, Duration::from_secs(5)).await.ok()
    }

    async fn sign(&self, socket: &Path, module: &str) -> (u16, Value) {
        let target = format!("/modules/{module}/genid/638/sign?api-version=2019-11-05");
        let body = json!({ "keyId": "primary", "algo": "HMACSHA256", "data": "ZGF0YQ==" });
        let mut request = ClientRequest::new("POST", target);
        request.body = body.to_string().into(); // without content type, as Python does
        let answer = self.ask(socket, request).await.expect("it listens");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        (answer.status, serde_json::from_slice(&answer.body).unwrap())
    }
}

fn modules(names: &[&str]) -> ModulesChanged {
    ModulesChanged(names.iter().map(|&name| name.into()).collect())
}

fn digest(text: &str) -> (u16, Value) {
    use base64::Engine;
    (200, json!({ "digest": base64::engine::general_purpose::STANDARD.encode(text) }))
}

#[actix::test]
async fn a_module_gets_the_trust_bundle_and_signatures_of_its_own_by_its_socket() {
    let bench = Bench::new();
    let workload = bench.start(false);
    workload.send(modules(&["sensor", "filter"])).await.unwrap().unwrap();
    let socket = bench.path("sensor");
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o666);
    let request = ClientRequest::new("GET", "/trust-bundle?api-version=2018-06-28");
    let answer = bench.ask(&socket, request).await.unwrap();
    assert_eq!((answer.status, answer.body.as_ref()), (200, &br#"{"certificate":"PEM"}"#[..]));
    assert_eq!(bench.sign(&socket, "sensor").await, digest("gw/sensor signs data"));
    let (status, refusal) = bench.sign(&bench.path("filter"), "sensor").await;
    let message = json!({ "message": "this socket is that of module filter, not of sensor" });
    assert_eq!((status, refusal), (403, message));
    let answer = bench
        .ask(&socket, ClientRequest::new("GET", "/modules?api-version=2018-06-28"))
        .await
        .unwrap();
    let list: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(list["modules"][0]["status"]["runtimeStatus"]["status"], "running");
}

#[actix::test]
async fn a_module_that_is_not_known_here_is_looked_up_at_the_parent_first() {
    let bench = Bench::new();
    let workload = bench.start(true);
    workload.send(modules(&["nobody"])).await.unwrap().unwrap();
    let development = bench.dir.path().join("dev.sock");
    assert_eq!(bench.sign(&development, "sensor").await, digest("gw/sensor signs data"));
    assert!(bench.asked.borrow().is_empty());
    assert_eq!(bench.sign(&development, "late").await, digest("gw/late signs data"));
    let (status, refusal) = bench.sign(&bench.path("nobody"), "nobody").await;
    let message = json!({ "message": "identity gw/nobody is not known here" });
    assert_eq!((status, refusal), (404, message));
    assert_eq!(*bench.asked.borrow(), ["gw/late", "gw/nobody"]);
    bench.ports.sign.unplug();
    assert_eq!(bench.sign(&development, "sensor").await.0, 503);
}

#[actix::test]
async fn what_is_not_served_is_answered_with_a_message() {
    let bench = Bench::new();
    let workload = bench.start(false);
    workload.send(modules(&["sensor"])).await.unwrap().unwrap();
    let socket = bench.path("sensor");
    let target = "/modules/sensor/genid/1/sign?api-version=2021-12-07";
    let mut bad = ClientRequest::new("POST", target);
    bad.body = r#"{"data":"*"}"#.into();
    let requests = [
        (ClientRequest::new("GET", "/nothing"), 404),
        (ClientRequest::new("POST", "/modules/sensor/genid/1/nothing"), 404),
        (ClientRequest::new("PUT", "/modules"), 405),
        (ClientRequest::new("POST", "/modules/sensor/genid/1/sign"), 400),
        (ClientRequest::new("GET", "/trust-bundle?api-version=2017-01-01"), 400),
        (ClientRequest::new("POST", target), 422),
        (bad, 422),
    ];
    for (request, status) in requests {
        let answer = bench.ask(&socket, request).await.unwrap();
        assert_eq!(answer.status, status);
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        assert!(body["message"].is_string());
    }
}

#[actix::test]
async fn a_restarted_runtime_is_reached_through_the_same_directory() {
    let bench = Bench::new();
    let workload = bench.start(false);
    workload.send(modules(&["sensor"])).await.unwrap().unwrap();
    // What a container has mounted: the directory itself, whatever lies there later.
    let mounted = std::fs::File::open(bench.path("sensor").parent().unwrap()).unwrap();
    use std::os::fd::AsRawFd;
    let inside = PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", mounted.as_raw_fd()));
    assert_eq!(bench.sign(&inside, "sensor").await.0, 200);
    workload.send(crate::messages::supervision::Shutdown).await.unwrap();
    drop(workload);
    tokio::task::yield_now().await;
    assert!(
        bench
            .ask(&inside, ClientRequest::new("GET", "/trust-bundle?api-version=2018-06-28"))
            .await
            .is_none()
    );
    let again = bench.start(false); // nobody tells it of modules: the agent may be away
    assert_eq!(again.send(crate::messages::supervision::Probe).await.unwrap().state, "1 sockets");
    assert_eq!(bench.sign(&inside, "sensor").await.0, 200);
}

#[actix::test]
async fn sockets_come_and_go_with_modules_and_one_bad_place_spoils_no_other() {
    let bench = Bench::new();
    let workload = bench.start(false);
    workload.send(modules(&["sensor", "filter"])).await.unwrap().unwrap();
    let stays = bench.path("filter").metadata().unwrap();
    let blocked = bench.path("blocked");
    std::fs::create_dir_all(&blocked).unwrap(); // a directory where the socket should be
    let error = workload.send(modules(&["filter", "blocked"])).await.unwrap().unwrap_err();
    assert!(error.starts_with("no workload socket for blocked: cannot listen on"), "{error}");
    assert!(!bench.path("sensor").exists() && !bench.path("sensor").parent().unwrap().exists());
    use std::os::unix::fs::MetadataExt;
    assert_eq!(bench.path("filter").metadata().unwrap().ino(), stays.ino(), "it was left alone");
    std::fs::remove_dir(&blocked).unwrap();
    workload.send(modules(&["filter", "blocked"])).await.unwrap().unwrap();
    assert_eq!(bench.sign(&blocked, "filter").await.0, 403);
}

/// Status and JSON of a POST.
async fn post(bench: &Bench, module: &str, what: &str, body: Value) -> (u16, Value) {
    let target = format!("/modules/{what}?api-version=2021-12-07");
    let request = ClientRequest::new("POST", target).with_json(&body);
    let answer = bench.ask(&bench.path(module), request).await.unwrap();
    (answer.status, serde_json::from_slice(&answer.body).unwrap())
}

#[actix::test]
async fn what_a_module_encrypted_only_it_decrypts_also_after_a_restart() {
    let bench = Bench::new();
    let workload = bench.start(false);
    workload.send(modules(&["sensor", "filter"])).await.unwrap().unwrap();
    let text = json!({ "plaintext": "c2VjcmV0", "initializationVector": "aXY=" });
    let (status, first) = post(&bench, "sensor", "sensor/genid/7/encrypt", text.clone()).await;
    assert_eq!(status, 200, "{first}");
    let (_, second) = post(&bench, "sensor", "sensor/genid/7/encrypt", text.clone()).await;
    assert_ne!(first, second, "the same text is not seen to be the same");
    assert_eq!(bench.shelf.len(crate::actors::agent::TABLE), 1, "one key");
    workload.send(crate::messages::supervision::Shutdown).await.unwrap();
    drop(workload);
    let workload = bench.start(false);
    workload.send(modules(&["sensor", "filter"])).await.unwrap().unwrap();
    let sealed =
        |vector: &str| json!({ "ciphertext": first["ciphertext"], "initializationVector": vector });
    let opened = post(&bench, "sensor", "sensor/genid/7/decrypt", sealed("aXY=")).await;
    assert_eq!(opened, (200, json!({ "plaintext": "c2VjcmV0" })));
    for (socket, what, vector, expected) in [
        ("sensor", "sensor/genid/7/decrypt", "aXYy", 400),
        ("sensor", "sensor/genid/8/decrypt", "aXY=", 400),
        ("filter", "sensor/genid/7/decrypt", "aXY=", 403),
        ("filter", "filter/genid/7/decrypt", "aXY=", 400), // it has no key yet
        ("sensor", "sensor/genid/7/decrypt", "*", 422),
    ] {
        let (status, body) = post(&bench, socket, what, sealed(vector)).await;
        assert!(status == expected && body["message"].is_string(), "{what} {status} {body}");
    }
    let (status, _) = post(&bench, "filter", "filter/genid/7/encrypt", text).await;
    assert_eq!(status, 200);
    let (status, _) = post(&bench, "filter", "filter/genid/7/decrypt", sealed("aXY=")).await;
    assert_eq!(status, 400, "another module's key");
    let missing = json!({ "plaintext": "c2VjcmV0" });
    assert_eq!(post(&bench, "sensor", "sensor/genid/7/encrypt", missing).await.0, 422);
}

#[actix::test]
async fn a_key_that_cannot_be_kept_is_not_used() {
    let bench = Bench::new();
    let workload = bench.start(false);
    workload.send(modules(&["sensor"])).await.unwrap().unwrap();
    bench.shelf.set_full(true);
    let text = json!({ "plaintext": "c2VjcmV0", "initializationVector": "" });
    assert_eq!(post(&bench, "sensor", "sensor/genid/7/encrypt", text.clone()).await.0, 503);
    bench.shelf.set_full(false);
    assert_eq!(post(&bench, "sensor", "sensor/genid/7/encrypt", text).await.0, 200);
}

#[actix::test]
async fn a_module_gets_certificates_of_its_own_names_and_of_no_other() {
    let bench = Bench::new();
    let workload = bench.start(false);
    workload.send(modules(&["sensor"])).await.unwrap().unwrap();
    let server = async |name: &str| {
        let body = json!({ "commonName": name });
        post(&bench, "sensor", "sensor/genid/7/certificate/server", body).await
    };
    for name in ["sensor", "GW.local"] {
        let (status, made) = server(name).await;
        assert_eq!((status, &made["privateKey"]["type"]), (201, &json!("key")), "{made}");
        assert!(made["privateKey"]["bytes"].as_str().unwrap().contains("PRIVATE KEY"));
        assert!(made["expiration"].as_str().unwrap().ends_with('Z'));
        let identity = TlsIdentity(&made);
        identity.assert_usable();
    }
    let (status, refusal) = server("hub.local").await;
    assert!(
        status == 403 && refusal["message"].as_str().unwrap().contains("gw.local"),
        "{refusal}"
    );
    let (status, made) = post(&bench, "sensor", "sensor/certificate/identity", json!({})).await;
    assert_eq!(status, 201, "{made}");
    let (status, _) = post(&bench, "sensor", "filter/certificate/identity", json!({})).await;
    assert_eq!(status, 403);
    let target = "/manifest-trust-bundle?api-version=2020-07-07";
    let answer = bench.ask(&bench.path("sensor"), ClientRequest::new("GET", target)).await.unwrap();
    assert_eq!((answer.status, answer.body.as_ref()), (200, &br#"{"certificate":""}"#[..]));
}

/// What was given, as a TLS library takes it.
struct TlsIdentity<'a>(&'a Value);

impl TlsIdentity<'_> {
    #[track_caller]
    fn assert_usable(&self) {
        let chain = self.0["certificate"].as_str().unwrap();
        let key = self.0["privateKey"]["bytes"].as_str().unwrap();
        let trust = crate::protocol::tls::Trust::System;
        crate::protocol::tls::TlsClient::with_identity(&trust, chain, key).unwrap();
    }
}

#[actix::test]
async fn a_module_that_opens_too_many_connections_keeps_no_other_waiting() {
    let bench = Bench::new();
    let workload = bench.start(false);
    workload.send(modules(&["sensor", "filter"])).await.unwrap().unwrap();
    let mut open = Vec::new();
    for _ in 0..LIMITS.connections + 5 {
        open.push(tokio::net::UnixStream::connect(bench.path("sensor")).await.unwrap());
    }
    let request = || ClientRequest::new("GET", "/trust-bundle?api-version=2021-12-07");
    assert_eq!(bench.ask(&bench.path("filter"), request()).await.unwrap().status, 200);
    let place = Place::Unix(bench.path("sensor"));
    let waits = ask(&place, request(), Duration::from_millis(200)).await;
    assert!(waits.is_err(), "its own wait");
    drop(open);
    assert_eq!(bench.ask(&bench.path("sensor"), request()).await.unwrap().status, 200);
    let large = json!({ "data": "x".repeat(2 << 20) });
    let target = "/modules/sensor/genid/1/sign?api-version=2021-12-07";
    let request = ClientRequest::new("POST", target).with_json(&large);
    assert_eq!(bench.ask(&bench.path("sensor"), request).await.unwrap().status, 413);
}
