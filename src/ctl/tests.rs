//! Against a stand-in hub over TLS, and a real management socket with nobody behind it.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use clap::Parser;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::LocalSet;

use super::*;
use crate::actors::clock::unix_time;
use crate::domain::sas::SasToken;
use crate::protocol::certs::{Authority, names_of};
use crate::protocol::http::{HttpRequest, HttpResponse, Limits, handler, serve_connection};
use crate::protocol::tls::{ClientAuthorities, TlsServer};

const KEY: &str = "c2VydmljZSBrZXk=";

/// What a stand-in hub was asked: method, path, body.
type Asked = Rc<RefCell<Vec<(String, String, Value)>>>;

struct StandIn {
    dir: tempfile::TempDir,
    port: u16,
    asked: Asked,
}

impl StandIn {
    /// Serves `answer`, if the token is good.
    async fn new(answer: fn(&HttpRequest) -> HttpResponse) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::load_or_make(&dir.path().join("ca.pem"), "hub").unwrap();
        let names = names_of(&["127.0.0.1"], &[]);
        let certificate = authority.certify(&names, Duration::ZERO).unwrap();
        let tls = TlsServer::new(&certificate, ClientAuthorities::default()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Asked::default();
        let seen = Rc::clone(&asked);
        let answer = handler(move |request: HttpRequest| {
            let token = request.header("authorization").unwrap_or_default();
            let token = SasToken::parse(&token).unwrap();
            token.check(&[KEY.into()], unix_time().as_secs(), 0).unwrap();
            assert!(request.query.contains_key("api-version"));
            let body = serde_json::from_slice(&request.body).unwrap_or_default();
            seen.borrow_mut().push((request.method.clone(), request.path.clone(), body));
            std::future::ready(answer(&request))
        });
        tokio::task::spawn_local(async move {
            loop {
                let stream = listener.accept().await.unwrap().0;
                if let Ok(stream) = tls.accept(stream).await {
                    let serving = serve_connection(stream, answer.clone(), Limits::default());
                    tokio::task::spawn_local(serving);
                }
            }
        });
        StandIn { dir, port, asked }
    }

    async fn run(&self, line: &[&str]) -> Result<ExitCode, CtlError> {
        let host = format!("127.0.0.1:{}", self.port);
        let hub = format!("HostName={host};SharedAccessKeyName=iothubowner;SharedAccessKey={KEY}");
        let ca = self.dir.path().join("ca.pem");
        let common = ["edgectl", "--hub", &hub, "--ca", ca.to_str().unwrap()];
        let line = Edgectl::try_parse_from([&common, line].concat()).unwrap();
        carry_out(line).await
    }

    fn asked(&self) -> Vec<(String, String)> {
        let asked = self.asked.borrow();
        asked.iter().map(|(method, path, _)| (method.clone(), path.clone())).collect()
    }
}

fn of(method: &str, path: &str) -> (String, String) {
    (method.into(), path.into())
}

#[tokio::test]
async fn a_child_device_is_made_in_its_parents_scope() {
    let test = async {
        let hub = StandIn::new(|request| match request.method.as_str() {
            "GET" => {
                let edge = json!({ "deviceScope": "ms-azure-iot-edge://gw-1",
                    "capabilities": { "iotEdge": true } });
                HttpResponse::json(200, &edge)
            }
            _ => HttpResponse::json(200, &json!({ "deviceId": "leaf" })),
        })
        .await;
        hub.run(&["hub", "device", "create", "leaf", "--parent", "gw"]).await.unwrap();
        assert_eq!(hub.asked(), [of("GET", "/devices/gw"), of("PUT", "/devices/leaf")]);
        let body = hub.asked.borrow()[1].2.clone();
        assert_eq!(body["deviceScope"], "ms-azure-iot-edge://gw-1");
        assert_eq!(body["capabilities"]["iotEdge"], false);
        hub.run(&["hub", "device", "create", "low", "--edge", "--parent", "gw"]).await.unwrap();
        let body = hub.asked.borrow()[3].2.clone();
        assert_eq!(body["parentScopes"], json!(["ms-azure-iot-edge://gw-1"]));
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn twins_methods_and_messages_go_where_the_service_sdks_send_them() {
    let test = async {
        let hub = StandIn::new(|request| match request.path.as_str() {
            path if path.ends_with("devicebound") => {
                assert_eq!(request.header("iothub-app-a").as_deref(), Some("ü"));
                HttpResponse::empty(204)
            }
            _ => HttpResponse::json(200, &json!({ "status": 200, "payload": [1] })),
        })
        .await;
        hub.run(&["hub", "twin", "set", "gw", "temperature-filter", "threshold=30"]).await.unwrap();
        hub.run(&["hub", "method", "gw/$edgeAgent", "ping", "{\"x\":1}"]).await.unwrap();
        hub.run(&["hub", "c2d", "send", "leaf", "hello", "-p", "a=ü"]).await.unwrap();
        assert_eq!(
            hub.asked(),
            [
                of("PATCH", "/twins/gw/modules/temperature%2Dfilter"),
                of("POST", "/twins/gw/modules/%24edgeAgent/methods"),
                of("POST", "/devices/leaf/messages/devicebound"),
            ]
        );
        let asked = hub.asked.borrow();
        assert_eq!(asked[0].2, json!({ "properties": { "desired": { "threshold": 30 } } }));
        let method = (&asked[1].2["methodName"], &asked[1].2["payload"]["x"]);
        assert_eq!(method, (&"ping".into(), &1.into()));
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn a_deployment_is_applied_only_if_it_changes_something() {
    let test = async {
        let hub = StandIn::new(|request| match request.method.as_str() {
            "GET" => {
                let desired = json!({ "$version": 2, "schemaVersion": "1.1" });
                HttpResponse::json(200, &json!({ "properties": { "desired": desired } }))
            }
            _ => HttpResponse::empty(204),
        })
        .await;
        let file = hub.dir.path().join("deployment.json");
        let manifest = |version: &str| {
            json!({ "modulesContent": { "$edgeAgent": {
                "properties.desired": { "schemaVersion": version } } } })
        };
        std::fs::write(&file, manifest("1.1").to_string()).unwrap();
        let line = ["deploy", file.to_str().unwrap(), "--device", "gw", "--yes"];
        hub.run(&line).await.unwrap();
        assert!(hub.asked().iter().all(|(method, _)| method == "GET"));
        std::fs::write(&file, manifest("1.0").to_string()).unwrap();
        hub.run(&line).await.unwrap();
        let asked = hub.asked.borrow();
        let (method, path, body) = asked.last().unwrap();
        assert_eq!(
            (method.as_str(), path.as_str()),
            ("POST", "/devices/gw/applyConfigurationContent")
        );
        assert_eq!(*body, manifest("1.0"));
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn what_the_hub_refuses_is_an_error_with_its_reason() {
    let test = async {
        let hub = StandIn::new(|_| {
            let message = "ErrorCode:DeviceNotFound;there is no device x";
            HttpResponse::json(404, &json!({ "Message": message }))
        })
        .await;
        let error = hub.run(&["hub", "device", "show", "x"]).await.unwrap_err().to_string();
        assert_eq!(error, "error: the hub does not have it (404): there is no device x");
        let line = [
            "edgectl",
            "--hub",
            "HostName=127.0.0.1:1;SharedAccessKeyName=o;SharedAccessKey=AA==",
            "--ca",
            hub.dir.path().join("ca.pem").to_str().unwrap(),
            "hub",
            "device",
            "list",
        ]
        .map(str::to_owned);
        let error =
            carry_out(Edgectl::try_parse_from(line).unwrap()).await.unwrap_err().to_string();
        assert!(error.starts_with("error: cannot reach the hub 127.0.0.1:1: "), "{error}");
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn a_service_that_does_not_run_is_an_error_that_says_what_to_do() {
    let line = ["edgectl", "--socket", "/nowhere/mgmt.sock", "list"];
    let error = carry_out(Edgectl::try_parse_from(line).unwrap()).await.unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("error: cannot reach edge-runtime at /nowhere/mgmt.sock: "), "{text}");
    assert!(text.contains("edgectl start"), "{text}");
}

#[actix::test]
async fn the_service_is_asked_over_its_own_socket() {
    use crate::actors::apis::management::Management;
    use crate::actors::apis::overview::{About, ApiPorts};
    use crate::actors::supervision::Obituary;
    use crate::domain::identity::Identity;
    use crate::protocol::logging::LogRing;
    use actix::Actor;

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mgmt.sock");
    let device = Identity::device("gw").unwrap();
    let (hub, gateway_hostname, state) = ("hub".into(), "gw".into(), dir.path().to_owned());
    let (warnings, settings) = (Vec::new(), String::new());
    let about = About { device, hub, gateway_hostname, state, warnings, settings };
    let (ports, log) = (ApiPorts::default(), LogRing::default());
    let rights = crate::actors::apis::socket::Rights { mode: 0o660, group: None };
    let service =
        Management::new(path.clone(), rights, about, ports, log, Obituary::unsupervised());
    let service = service.start();
    service.send(crate::messages::supervision::Probe).await.unwrap();
    let run = async |line: &[&str]| {
        let common = ["edgectl", "--socket", path.to_str().unwrap()];
        carry_out(Edgectl::try_parse_from([&common, line].concat()).unwrap()).await
    };
    let code = run(&["status"]).await.unwrap();
    assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::from(1)), "nobody is in sync");
    run(&["logs", "edgeHub", "--tail", "5"]).await.unwrap();
    let error = run(&["list"]).await.unwrap_err().to_string();
    assert!(error.contains("the agent does not answer now"), "{error}");
    let error = run(&["restart", "edgeHub"]).await.unwrap_err().to_string();
    assert!(error.contains("systemctl restart"), "{error}");
}

#[tokio::test]
async fn a_devices_files_are_listed_fetched_deleted_and_a_refusal_is_told() {
    let test = async {
        let hub = StandIn::new(|request| match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/devices/d/files") => {
                let file =
                    json!({"name": "a/b c", "size": 5, "lastModified": "2026-01-01T00:00:00Z"});
                HttpResponse::json(200, &[file])
            }
            ("GET", "/uploads/d/a/b%20c") => HttpResponse::text(200, "hello"),
            ("DELETE", "/uploads/d/a/b%20c") => HttpResponse::empty(202),
            _ => HttpResponse::bytes(404, "application/xml", "<Message>d has no x</Message>"),
        })
        .await;
        let place = hub.dir.path().join("fetched");
        let to = place.to_str().unwrap();
        hub.run(&["hub", "file", "list", "d"]).await.unwrap();
        hub.run(&["hub", "file", "get", "d", "a/b c", "--to", to]).await.unwrap();
        assert_eq!(std::fs::read_to_string(&place).unwrap(), "hello");
        hub.run(&["hub", "file", "delete", "d", "a/b c"]).await.unwrap();
        let missing = hub.run(&["hub", "file", "get", "d", "x"]).await.unwrap_err().to_string();
        assert!(missing.contains("(404): d has no x"), "{missing}");
        let asked = hub.asked().len();
        hub.run(&["hub", "token"]).await.unwrap();
        assert_eq!(hub.asked().len(), asked, "a token is made here");
    };
    LocalSet::new().run_until(test).await;
}
