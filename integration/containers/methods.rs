//! Direct methods of `$edgeAgent`, as a service client calls them: hub, link, agent, container.

use std::io::Read;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::SOON;
use super::support::gateway::{Gateway, docker, make_images};
use super::support::program::own_address;
use super::support::storage::Storage;
use super::support::wait_for;
use super::support::world::EDGE;

const SENSOR: &str = "temperature-sensor";

struct Agent<'a>(&'a Gateway);

impl Agent<'_> {
    /// Status and payload of the agent's own answer.
    #[track_caller]
    fn call(&self, method: &str, payload: Value) -> (u64, Value) {
        let body = json!({ "methodName": method, "payload": payload,
                           "responseTimeoutInSeconds": 60 });
        let path = format!("/twins/{EDGE}/modules/$edgeAgent/methods");
        let answer = self.0.world.hub.service.call("POST", &path, Some(&body));
        (answer["status"].as_u64().unwrap(), answer["payload"].clone())
    }

    /// With the schema.
    #[track_caller]
    fn ask(&self, method: &str, mut payload: Value) -> (u64, Value) {
        payload["schemaVersion"] = json!("1.0");
        self.call(method, payload)
    }

    /// The end of a task.
    #[track_caller]
    fn end_of(&self, begun: &(u64, Value)) -> Value {
        assert_eq!(begun.0, 200, "{begun:?}");
        let id = begun.1["correlationId"].clone();
        wait_for("the end of a task", SOON, || {
            let (_, task) = self.ask("GetTaskStatus", json!({ "correlationId": id }));
            let is_over = !["NotStarted", "Running"].contains(&task["status"].as_str().unwrap());
            is_over.then_some(task)
        })
    }
}

fn entries(zip: &Path) -> Value {
    let look = "import sys, json, zipfile\n\
        z = zipfile.ZipFile(sys.argv[1])\n\
        assert z.testzip() is None\n\
        print(json.dumps({n: z.read(n).decode() for n in z.namelist()}))";
    let said = Command::new("python3").args(["-c", look]).arg(zip).output().unwrap();
    assert!(said.status.success(), "{said:?}");
    serde_json::from_slice(&said.stdout).unwrap()
}

#[test]
fn a_service_client_pings_reads_and_uploads_logs_restarts_a_module_and_gets_a_support_bundle() {
    make_images("images");
    let gateway = Gateway::start("methods");
    gateway.deploy("config/run-local.deployment.json");
    let agent = Agent(&gateway);
    assert_eq!(agent.call("ping", json!("hello")), (200, Value::Null));
    let (status, body) = agent.call("nothing", json!({}));
    assert!(status == 400 && body["message"].as_str().unwrap().contains("nothing"), "{body}");

    // Logs in the answer.
    let items = json!({ "id": "^TEMPERATURE-s", "filter": { "tail": 2 } });
    let text = wait_for("two lines of the sensor", SOON, || {
        let (status, body) = agent.ask("GetModuleLogs", json!({ "items": items }));
        assert_eq!((status, body.as_array().unwrap().len()), (200, 1), "{body}");
        assert_eq!(body[0]["id"], SENSOR);
        let text = body[0]["payload"].as_str().unwrap().to_owned();
        (text.lines().count() == 2).then_some(text)
    });
    assert!(text.is_ascii(), "{text}");
    let items = json!([{ "id": "edgeAgent", "filter": { "loglevel": 4, "since": "1 hour" } },
                       { "id": SENSOR, "filter": { "tail": 1 } }]);
    let both = json!({ "items": items, "encoding": "gzip", "contentType": "json" });
    let (_, body) = agent.ask("GetModuleLogs", both);
    let sensor = body.as_array().unwrap().iter().find(|it| it["id"] == SENSOR).unwrap();
    let packed = STANDARD.decode(sensor["payloadBytes"].as_str().unwrap()).unwrap();
    let mut lines = String::new();
    flate2::read::GzDecoder::new(&packed[..]).read_to_string(&mut lines).unwrap();
    let lines: Value = serde_json::from_str(&lines).unwrap();
    assert_eq!((&lines[0]["device"], lines.as_array().unwrap().len()), (&json!(EDGE), 1));
    assert!(lines[0]["timestamp"].as_str().unwrap().starts_with("20"), "{lines}");

    // Errors, as a service client sees them.
    for (method, payload, expected) in [
        ("GetModuleLogs", json!({ "schemaVersion": "2.0", "items": [] }), 500),
        ("GetModuleLogs", json!({ "schemaVersion": "1.0", "items": { "id": "(" } }), 400),
        ("RestartModule", json!({ "schemaVersion": "1.0" }), 400),
        ("RestartModule", json!({ "schemaVersion": "1.0", "id": "nobody" }), 500),
        ("UploadModuleLogs", json!({ "schemaVersion": "1.0", "items": [] }), 400),
    ] {
        assert_eq!(agent.call(method, payload.clone()).0, expected, "{method} {payload}");
    }

    // The container is restarted, and is the same.
    let container = gateway.network.container(SENSOR);
    let start = || docker(&["inspect", "-f", "{{.State.StartedAt}}", &container]);
    let first = start();
    assert_eq!(agent.ask("RestartModule", json!({ "id": SENSOR })), (200, Value::Null));
    assert_ne!(start(), first);

    // Who did that is in the audit log.
    gateway.ctl.run(&["restart", SENSOR]);
    let audit = || std::fs::read_to_string(gateway.world.folder.path().join("edge/audit.log"));
    let lines = wait_for("all of it in the audit log", SOON, || {
        let lines: Vec<Value> =
            audit().unwrap().lines().map(|it| serde_json::from_str(it).unwrap()).collect();
        let has = |message: &str, name: &str, value: Value| {
            lines.iter().any(|it| it["message"] == message && it[name] == value)
        };
        let path = json!(format!("/modules/{SENSOR}/restart"));
        let all = has("direct method of $edgeAgent", "method", json!("RestartModule"))
            && has("management call", "path", path)
            && has("management call", "uid", json!(0))
            && has("deployment of $edgeAgent", "refused", Value::Null);
        all.then_some(lines)
    });
    assert!(lines.iter().all(|it| it["timestamp"].as_str().unwrap().ends_with('Z')), "{lines:?}");

    let log = |more: &[&str]| gateway.ctl.run(&[&["logs", SENSOR], more].concat());
    assert!(log(&["--since", "1h"]).contains("temperature-sensor "));
    assert_eq!(log(&["--until", "2020-01-01T00:00:00Z"]), "");

    // Uploads.
    let storage = Storage::start(TcpListener::bind((own_address(), 0)).unwrap());
    let url = format!("http://{}/logs?sv=1&sig=do-not-show%3D", storage.address);
    let items = json!([{ "id": SENSOR }, { "id": "edgeHub" }]);
    let ask = json!({ "items": items, "sasUrl": url, "encoding": "gzip" });
    let task = agent.end_of(&agent.ask("UploadModuleLogs", ask));
    assert_eq!(task["status"], "Completed", "{task}");
    let blobs = storage.blobs();
    assert_eq!(blobs.len(), 2, "{:?}", blobs.keys());
    let hub = &gateway.world.hub.address;
    let of_sensor = format!("/logs/{hub}/{EDGE}/{SENSOR}-20");
    let (name, packed) = blobs.iter().find(|(name, _)| name.starts_with(&of_sensor)).unwrap();
    assert!(name.ends_with(".log.gz"), "{name}");
    let mut lines = String::new();
    flate2::read::GzDecoder::new(&packed[..]).read_to_string(&mut lines).unwrap();
    assert!(lines.contains("temperature-sensor "), "its first line: {lines}");
    let gone = json!({ "items": items, "sasUrl": "http://127.45.0.1:9/c?sig=do-not-show%3D" });
    let task = agent.end_of(&agent.ask("UploadModuleLogs", gone));
    assert_eq!(task["status"], "Failed", "{task}");
    assert!(!task.to_string().contains("do-not-show"), "{task}");

    // A support bundle: uploaded, and written by edgectl. No key of anybody in it.
    let begun = agent.call("UploadSupportBundle", json!({ "sasUrl": url, "since": "1h" }));
    assert_eq!(agent.end_of(&begun)["status"], "Completed");
    let folder = gateway.world.folder.path();
    let bundles = [folder.join("a.zip"), folder.join("b.zip")];
    let is_bundle = |name: &&String| name.contains("support-bundle-");
    let blobs = storage.blobs();
    let name = blobs.keys().find(is_bundle).expect("a bundle");
    std::fs::write(&bundles[0], &blobs[name]).unwrap();
    gateway.ctl.run(&["support-bundle", "-f", bundles[1].to_str().unwrap()]);
    let made = gateway.world.hub.service.call("GET", &format!("/devices/{EDGE}"), None);
    let key = made.pointer("/authentication/symmetricKey/primaryKey").unwrap().as_str().unwrap();
    for bundle in bundles {
        let entries = entries(&bundle);
        for name in ["version.txt", "status.json", "config.txt", "logs/edgeAgent_log.txt"] {
            assert!(!entries[name].as_str().unwrap().is_empty(), "{name}");
        }
        let inspect = entries[&format!("inspect/{SENSOR}.json")].as_str().unwrap();
        assert!(inspect.contains(&container) && inspect.contains("=***"), "{inspect}");
        let log = entries[&format!("logs/{SENSOR}_log.txt")].as_str().unwrap();
        assert!(log.contains("temperature-sensor "), "{log}");
        let all = entries.to_string();
        assert!(!all.contains(key) && !all.contains("do-not-show"), "no secret");
    }
    for text in [audit().unwrap(), gateway.world.edge.log_since_start()] {
        assert!(!text.contains(key) && !text.contains("do-not-show"), "no secret in the logs");
    }
}
