//! Over real unix sockets, with a probe for `identities`.

use std::cell::RefCell;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::messages::agent::{AgentStatus, GetAgentStatus, ModuleStatusLine};
use crate::messages::identities::{IdentityRecord, IdentityStatus, Lookup, Sign, SignError};
use crate::messages::state::StoreError;
use crate::protocol::http_client::{ClientAnswer, ClientRequest, Place, ask};

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
        Bench { dir: tempfile::tempdir().unwrap(), ports, asked }
    }

    fn start(&self, development: bool) -> Addr<Workload> {
        let config = WorkloadConfig {
            state: self.dir.path().into(),
            device: Identity::device("gw").unwrap(),
            trust_bundle: "PEM".into(),
            development_socket: development.then(|| self.dir.path().join("dev.sock")),
        };
        Workload::new(config, self.ports.clone(), Obituary::unsupervised()).start()
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
    let message = json!({ "message": "this socket signs for module filter, not for sensor" });
    assert_eq!((status, refusal), (403, message));
    let answer = bench.ask(&socket, ClientRequest::new("GET", "/modules")).await.unwrap();
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
    let mut bad = ClientRequest::new("POST", "/modules/sensor/genid/1/sign");
    bad.body = r#"{"data":"*"}"#.into();
    let requests = [
        (ClientRequest::new("GET", "/nothing"), 404),
        (ClientRequest::new("PUT", "/modules"), 405),
        (ClientRequest::new("POST", "/modules/sensor/genid/1/sign"), 422),
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
    assert!(bench.ask(&inside, ClientRequest::new("GET", "/trust-bundle")).await.is_none());
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
