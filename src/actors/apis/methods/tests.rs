//! With a probe for EdgeAgent, and a storage of blobs on loopback.

use std::cell::RefCell;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::net::TcpListener;

use super::*;
use crate::actors::apis::bundle::Bundler;
use crate::actors::apis::logs::Logs;
use crate::actors::apis::probe::{Probe, Restarted, about};
use crate::domain::identity::Identity;
use crate::domain::method::Call;
use crate::messages::agent::ModuleStatusLine;
use crate::protocol::blob::Uploads;
use crate::protocol::http::{HttpRequest, HttpResponse, Limits, Server, handler};
use crate::protocol::logging::LogRing;
use crate::protocol::tls::Trust;

/// Names and bodies.
type Blobs = Rc<RefCell<Vec<(String, Vec<u8>)>>>;

struct Bench {
    methods: Addr<Methods>,
    probe: Addr<Probe>,
    /// What came to the storage: name and body.
    blobs: Blobs,
    url: String,
    _server: Server,
}

impl Bench {
    async fn new() -> Self {
        let blobs = Blobs::default();
        let seen = Rc::clone(&blobs);
        let storage = handler(move |request: HttpRequest| {
            assert_eq!(request.query["sig"], "s1");
            seen.borrow_mut().push((request.path.clone(), request.body.to_vec()));
            let is_bad = request.path.contains("filter");
            std::future::ready(HttpResponse::empty(if is_bad { 403 } else { 201 }))
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/logs?sig=s1", listener.local_addr().unwrap());
        let server = Server::tcp(listener, storage, Limits::default());

        let mut probe = Probe::default();
        let filter = ModuleStatusLine { name: "filter".into(), ..ModuleStatusLine::default() };
        probe.agent.modules.push(filter);
        let (probe, ports) = probe.plugged();
        let logs = Logs::new(LogRing::default(), ports.logs.clone());
        let uploads = Uploads { trust: Trust::System, parent: "parent".into() };
        let bundler = Bundler::new(about(), ports.clone(), logs.clone());
        let work = Work { about: about(), ports, logs, uploads, bundler };
        let methods = Methods::new(work, Obituary::unsupervised()).start();
        Bench { methods, probe, blobs, url, _server: server }
    }

    async fn call(&self, name: &str, payload: Value) -> (i32, Value) {
        let call = Call {
            name: name.into(),
            payload: payload.to_string().into(),
            response_timeout: Duration::from_secs(30),
            connect_timeout: Duration::ZERO,
        };
        let target = Identity::parse("gw/$edgeAgent").unwrap();
        match self.methods.send(Invoke { target, call }).await.unwrap() {
            Outcome::Answered(status, body) if body.is_empty() => (status, Value::Null),
            Outcome::Answered(status, body) => (status, serde_json::from_slice(&body).unwrap()),
            other => panic!("{other:?}"),
        }
    }

    /// Until the task has ended.
    async fn ended(&self, begun: &(i32, Value)) -> Value {
        assert_eq!(begun.0, 200, "{begun:?}");
        let id = begun.1["correlationId"].clone();
        let ask = json!({ "schemaVersion": "1.0", "correlationId": id });
        for _ in 0..10_000 {
            let (status, task) = self.call("GetTaskStatus", ask.clone()).await;
            assert_eq!((status, &task["correlationId"]), (200, &id));
            if !["NotStarted", "Running"].contains(&task["status"].as_str().unwrap()) {
                return task;
            }
            tokio::task::yield_now().await;
        }
        panic!("it does not end");
    }
}

fn with(more: Value) -> Value {
    let mut payload = json!({ "schemaVersion": "1.0" });
    for (name, value) in more.as_object().unwrap() {
        payload[name] = value.clone();
    }
    payload
}

#[actix::test]
async fn ping_is_answered_with_nothing_and_an_unknown_method_with_400() {
    let bench = Bench::new().await;
    assert_eq!(bench.call("Ping", json!({ "x": 1 })).await, (200, Value::Null));
    let (status, body) = bench.call("reboot", Value::Null).await;
    assert!(status == 400 && body["message"].as_str().unwrap().contains("reboot"), "{body}");
}

#[actix::test]
async fn a_module_is_restarted_and_one_that_is_not_there_is_named() {
    let bench = Bench::new().await;
    let restart = async |id: &str| bench.call("RestartModule", with(json!({ "id": id }))).await;
    assert_eq!(restart("sensor").await, (200, Value::Null));
    let (status, body) = restart("senser").await;
    assert!(status == 500 && body["message"].as_str().unwrap().contains("sensor"), "{body}");
    assert_eq!(restart("filter").await.0, 500, "the engine is away");
    assert_eq!(restart("edgeHub").await.0, 400);
    assert_eq!(bench.probe.send(Restarted).await.unwrap(), ["sensor", "filter"]);
}

#[actix::test]
async fn logs_come_in_the_answer_of_those_modules_that_are_named() {
    let bench = Bench::new().await;
    let items = json!([{ "id": "sens", "filter": { "tail": 7 } }]);
    let answer = bench.call("GetModuleLogs", with(json!({ "items": items }))).await;
    let text = "sensor tail Some(7)\nsecond\n";
    let element = json!([{ "id": "sensor", "payloadBytes": null, "payload": text }]);
    assert_eq!(answer, (200, element));
    let items = json!({ "id": "all", "filter": { "tail": 1, "regex": "^s" } });
    let ask = with(json!({ "items": items, "encoding": "gzip", "contentType": "json" }));
    let (status, body) = bench.call("getmodulelogs", ask).await;
    assert_eq!(status, 200);
    let names: Vec<_> = body.as_array().unwrap().iter().map(|it| it["id"].clone()).collect();
    assert_eq!(names, ["edgeHub", "sensor", "filter"]);
    let bytes = STANDARD.decode(body[1]["payloadBytes"].as_str().unwrap()).unwrap();
    let lines: Value = serde_json::from_reader(flate2::read::GzDecoder::new(&bytes[..])).unwrap();
    // The tail is of what passes, not of what the engine has.
    assert_eq!((&lines[0]["text"], &lines[0]["iothub"]), (&"second".into(), &"hub.local".into()));
}

#[actix::test]
async fn an_upload_is_a_task_and_a_blob_that_fails_does_not_hold_up_the_others() {
    let bench = Bench::new().await;
    let upload = async |id: &str| {
        let ask = json!({ "items": { "id": id }, "sasUrl": bench.url });
        bench.ended(&bench.call("UploadModuleLogs", with(ask)).await).await
    };
    let task = upload("sensor").await;
    assert_eq!(task["status"], "Completed", "{task}");
    let (name, body) = bench.blobs.borrow_mut().remove(0);
    assert!(name.starts_with("/logs/hub.local/gw/sensor-20") && name.ends_with(".log"), "{name}");
    assert_eq!(String::from_utf8(body).unwrap(), "sensor tail None\nsecond\n");
    let task = upload("sensor|filter").await;
    let why = task["message"].as_str().unwrap();
    assert!(task["status"] == "Failed" && why.starts_with("filter: "), "{task}");
    assert!(why.contains("status 403") && !why.contains("s1"), "{why}");
    assert_eq!(bench.blobs.borrow().len(), 2, "that of the sensor was written");
    let unknown = with(json!({ "correlationId": "nobody's" }));
    assert_eq!(bench.call("GetTaskStatus", unknown).await.1["status"], "Unknown");
}

#[actix::test]
async fn a_support_bundle_goes_to_a_blob_without_secrets() {
    let bench = Bench::new().await;
    let begun = bench.call("UploadSupportBundle", json!({ "sasUrl": bench.url })).await;
    let task = bench.ended(&begun).await;
    assert_eq!(task["status"], "Completed", "{task}");
    let (name, zip) = bench.blobs.borrow_mut().remove(0);
    assert!(name.contains("/gw/support-bundle-") && name.ends_with(".zip"), "{name}");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("b.zip");
    std::fs::write(&path, zip).unwrap();
    let look = "import sys, json, zipfile\n\
        z = zipfile.ZipFile(sys.argv[1])\n\
        print(json.dumps({n: z.read(n).decode() for n in z.namelist()}))";
    let said = std::process::Command::new("python3").args(["-c", look]).arg(&path).output();
    let said: Value = serde_json::from_slice(&said.unwrap().stdout).unwrap();
    let names: Vec<_> = said.as_object().unwrap().keys().cloned().collect();
    let expected = [
        "version.txt",
        "status.json",
        "tree.json",
        "routes.json",
        "config.txt",
        "logs/edgeAgent_log.txt",
        "inspect/sensor.json",
        "logs/sensor_log.txt",
        "inspect/filter_err.txt",
        "logs/filter_log.txt",
    ];
    assert_eq!(names, expected);
    assert!(said["status.json"].as_str().unwrap().contains("gw.local"));
    assert_eq!(said["config.txt"], "log.level = info\n");
    let inspect = said["inspect/sensor.json"].as_str().unwrap();
    assert!(inspect.contains("KEY=***") && !said.to_string().contains("s1"), "{inspect}");
}
