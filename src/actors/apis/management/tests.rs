//! Over a real unix socket, with a probe for everybody else.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::Duration;

use serde_json::Value;

use super::super::probe::{Probe, Restarted, about};
use super::*;
use crate::messages::agent::ModuleStatusLine;
use crate::protocol::http_client::{ClientRequest, Place, ask};

const RIGHTS: Rights = Rights { mode: 0o660, group: Some(4711) };

struct Bench {
    dir: tempfile::TempDir,
    probe: Addr<Probe>,
    ports: ApiPorts,
    _management: Addr<Management>,
}

impl Bench {
    fn new(probe: Probe) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (probe, ports) = probe.plugged();
        let path = dir.path().join("mgmt.sock");
        let log = LogRing::default();
        let obituary = Obituary::unsupervised();
        let management =
            Management::new(path, RIGHTS, about(), ports.clone(), log, obituary).start();
        Bench { dir, probe, ports, _management: management }
    }

    async fn ask(&self, method: &str, target: &str) -> (u16, String) {
        tokio::task::yield_now().await;
        let place = Place::Unix(self.dir.path().join("mgmt.sock"));
        let request = ClientRequest::new(method, target);
        let answer = ask(&place, request, Duration::from_secs(5)).await.unwrap();
        (answer.status, String::from_utf8_lossy(&answer.body).into_owned())
    }

    async fn json(&self, target: &str) -> Value {
        let (status, body) = self.ask("GET", target).await;
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }
}

#[actix::test]
async fn status_shows_every_part_and_that_actual_is_as_desired() {
    let bench = Bench::new(Probe::default());
    let status = bench.json("/status").await;
    assert_eq!((&status["device"], &status["is_ready"]), (&"gw".into(), &true.into()));
    assert_eq!(status["link"]["state"], "connected");
    assert_eq!(status["queue"]["endpoints"][0]["messages"], 5);
    assert_eq!(status["clients"].as_array().unwrap().len(), 3);
    assert_eq!(
        (&status["in_sync"], &status["warnings"][0]),
        (&true.into(), &"mind the step".into())
    );
    let mode = std::fs::metadata(bench.dir.path().join("mgmt.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let group = std::fs::metadata(bench.dir.path().join("mgmt.sock")).unwrap().gid();
    assert_eq!(group, 4711);
}

#[actix::test]
async fn every_difference_from_what_is_desired_is_named_with_its_time() {
    let mut probe = Probe { desired: Some(8), ..Probe::default() };
    probe.agent.code = 406;
    probe.agent.description = "offline".into();
    probe.agent.modules.push(ModuleStatusLine {
        name: "filter".into(),
        since: Some("2026-01-02T00:00:00Z".into()),
        differences: vec!["status is backoff, running is desired".into()],
        ..ModuleStatusLine::default()
    });
    let status = Bench::new(probe).json("/status").await;
    assert_eq!(status["in_sync"], false);
    let differences = serde_json::json!([
        { "module": "deployment", "what": "version 8 is desired, 7 was acted upon", "since": null },
        { "module": "deployment", "what": "406 offline", "since": null },
        { "module": "filter", "what": "status is backoff, running is desired",
          "since": "2026-01-02T00:00:00Z" },
    ]);
    assert_eq!(status["differences"], differences);
}

#[actix::test]
async fn an_actor_that_does_not_answer_is_named_and_the_rest_is_shown() {
    let bench = Bench::new(Probe::default());
    bench.ports.queue.unplug();
    bench.ports.link.unplug();
    let status = bench.json("/status").await;
    assert_eq!((&status["is_ready"], &status["queue"]), (&false.into(), &Value::Null));
    let silent = status["parts"].as_array().unwrap().iter();
    let silent = silent.filter(|part| part["is_ready"] == false);
    let silent: Vec<_> = silent.map(|part| (&part["name"], &part["is_needed"])).collect();
    let expected = [(&"queue".into(), &true.into()), (&"link".into(), &false.into())];
    assert_eq!(silent, expected);
    assert_eq!(status["agent"]["modules"][1]["name"], "sensor");
}

#[actix::test]
async fn logs_are_those_of_the_module_or_of_this_process() {
    let bench = Bench::new(Probe::default());
    let logs = bench.ask("GET", "/modules/sensor/logs?tail=3").await;
    assert_eq!(logs, (200, "sensor tail Some(3)\nsecond\n".into()));
    assert_eq!(bench.ask("GET", "/modules/edgeHub/logs?tail=3").await, (200, String::new()));
    assert_eq!(bench.ask("GET", "/modules/sensor/logs?tail=x").await.0, 400);
    let (status, message) = bench.ask("GET", "/modules/senser/logs").await;
    assert_eq!(status, 404);
    let meant = "no module senser (did you mean sensor?); there are: edgeHub, sensor";
    assert!(message.contains(meant), "{message}");
}

#[actix::test]
async fn modules_are_restarted_and_stopped_but_not_the_service_itself() {
    let bench = Bench::new(Probe::default());
    assert_eq!(bench.ask("POST", "/modules/sensor/restart").await, (204, String::new()));
    let (status, message) = bench.ask("POST", "/modules/edgeHub/restart").await;
    assert!(status == 409 && message.contains("systemctl restart"), "{message}");
    assert_eq!(bench.ask("POST", "/modules/nobody/restart").await.0, 404);
    assert_eq!(bench.ask("POST", "/modules/stop").await.0, 204);
    assert_eq!(bench.probe.send(Restarted).await.unwrap(), ["sensor", "stopped"]);
}

#[actix::test]
async fn why_tells_of_a_module_and_its_last_lines() {
    let bench = Bench::new(Probe::default());
    let why = bench.json("/why/sensor").await;
    assert_eq!(why["module"]["restarts"], 2);
    assert_eq!(why["last_lines"], serde_json::json!(["sensor tail Some(10)", "second"]));
    assert_eq!(bench.json("/why/$edgeHub").await["module"]["name"], "edgeHub");
}

#[actix::test]
async fn routes_and_the_tree_are_shown_and_all_else_is_not_found() {
    let bench = Bench::new(Probe::default());
    let routes = bench.json("/routes").await;
    assert_eq!(
        (&routes["routes"][0]["name"], &routes["accounts"][0]["delivered"]),
        (&"r".into(), &20.into())
    );
    assert_eq!(bench.json("/tree").await[0]["path"], "edge-runtime");
    let (status, message) = bench.ask("POST", "/tree").await;
    assert_eq!((status, message.as_str()), (404, r#"{"message":"there is no POST /tree here"}"#));
    bench.ports.tree.unplug();
    assert_eq!(bench.ask("GET", "/tree").await.0, 503);
}

#[actix::test]
async fn routes_are_paused_and_resumed_by_name_and_others_are_not_known() {
    let bench = Bench::new(Probe::default());
    assert_eq!(bench.ask("POST", "/routes/r/pause").await, (204, String::new()));
    assert_eq!(bench.ask("POST", "/routes/r/resume").await, (204, String::new()));
    let (status, message) = bench.ask("POST", "/routes/q/pause").await;
    assert_eq!(status, 404);
    assert!(message.contains("no route q; there are: r, say"), "{message}");
    assert_eq!(bench.probe.send(Restarted).await.unwrap(), ["r true", "r false"]);
    let routes = bench.json("/routes").await;
    let lines = routes["lines"].as_array().unwrap().iter();
    let lines: Vec<_> = lines.map(|line| (&line["name"], &line["state"])).collect();
    let expected = [(&"r".into(), &"active".into()), (&"say \"hi\"".into(), &"draining".into())];
    assert_eq!(lines, expected);
}

#[actix::test]
async fn dead_letters_are_listed_shown_replayed_and_dropped_and_backlogs_discarded() {
    let bench = Bench::new(Probe::default());
    let list = bench.json("/dead-letters").await;
    assert_eq!(
        (&list["items"][0]["offset"], &list["items"][0]["sender"]),
        (&7.into(), &"leaf".into())
    );
    assert!(list["items"][0]["time"].as_str().unwrap().ends_with('Z'));
    assert_eq!(bench.json("/dead-letters?after=7").await["items"], serde_json::json!([]));
    let letter = bench.json("/dead-letters/7").await;
    assert_eq!((&letter["body"], &letter["properties"]["a"]), (&"e30=".into(), &"1".into()));
    assert_eq!(bench.ask("GET", "/dead-letters/8").await.0, 404);
    assert_eq!(bench.ask("GET", "/dead-letters/x").await.0, 400);
    let done = (200, r#"{"messages":2,"bytes":20}"#.to_owned());
    assert_eq!(bench.ask("POST", "/dead-letters/replay?offsets=7,9").await, done);
    assert_eq!(bench.ask("POST", "/dead-letters/drop").await, done);
    assert_eq!(bench.ask("POST", "/queue/discard?endpoint=%24upstream").await, done);
    let asked = bench.probe.send(Restarted).await.unwrap();
    let expected = ["Replay Some([Offset(7), Offset(9)])", "Drop None", "Discard None"];
    assert_eq!(asked, expected);
    for (target, status) in [
        ("/queue/discard?endpoint=gw/never", 404),
        ("/dead-letters/replay?route=never", 404),
        ("/dead-letters/drop?offsets=1,x", 400),
    ] {
        assert_eq!(bench.ask("POST", target).await.0, status, "{target}");
    }
}

#[actix::test]
async fn a_program_outside_of_the_container_is_told_how_to_be_the_module() {
    let bench = Bench::new(Probe::default());
    let answer = bench.json("/modules/sensor/environment").await;
    let expected = serde_json::json!({
        "IOTEDGE_WORKLOADURI": "unix:///state/workload/sensor/s.sock",
        "IOTEDGE_AUTHSCHEME": "sasToken",
        "IOTEDGE_APIVERSION": "2021-12-07",
        "IOTEDGE_IOTHUBHOSTNAME": "hub.local",
        "IOTEDGE_DEVICEID": "gw",
        "IOTEDGE_MODULEID": "sensor",
        "IOTEDGE_MODULEGENERATIONID": "7",
        "IOTEDGE_GATEWAYHOSTNAME": "gw.local",
    });
    assert_eq!(answer["environment"], expected);
    assert_eq!(bench.ask("GET", "/modules/edgeHub/environment").await.0, 409);
    assert_eq!(bench.ask("GET", "/modules/senser/environment").await.0, 404);
}

#[actix::test]
async fn calls_of_the_references_daemon_are_answered_in_its_shapes() {
    let bench = Bench::new(Probe::default());
    const VERSION: &str = "api-version=2021-12-07";
    let list = bench.json(&format!("/modules?{VERSION}")).await;
    let sensor = &list["modules"][1];
    assert_eq!((&sensor["name"], &sensor["id"]), (&"sensor".into(), &"id".into()));
    assert_eq!(sensor["status"]["runtimeStatus"]["status"], "running");
    assert_eq!(sensor["status"]["startTime"], "2026-01-01T00:00:00Z");
    assert_eq!(&bench.json(&format!("/modules/sensor?{VERSION}")).await, sensor);
    let logs = bench.ask("GET", &format!("/modules/sensor/logs?tail=2&{VERSION}")).await;
    assert_eq!(logs, (200, "sensor tail Some(2)\nsecond\n".into()));
    for what in ["restart", "stop", "start"] {
        let done = bench.ask("POST", &format!("/modules/sensor/{what}?{VERSION}")).await;
        assert_eq!(done, (204, String::new()));
    }
    let asked = bench.probe.send(Restarted).await.unwrap();
    // What an update keeps aside is stopped, too, and never started.
    assert_eq!(asked, ["sensor", "Stop(\"aside\")", "Stop(\"c1\")", "Start(\"c1\")"]);
    let info = bench.json(&format!("/systeminfo?{VERSION}")).await;
    assert_eq!((&info["osType"], &info["server_version"]), (&"linux".into(), &"28".into()));
    assert!(bench.json(&format!("/systeminfo/resources?{VERSION}")).await["total_ram"].is_u64());
    let identities = bench.json(&format!("/identities/?{VERSION}")).await;
    let shown = |id: &str| {
        serde_json::json!({ "moduleId": id, "managedBy": "iotedge", "generationId": "7",
                            "authType": "x509" })
    };
    assert_eq!(identities["identities"], serde_json::json!([shown("$edgeHub"), shown("sensor")]));
    let (status, zip) = bench.ask("GET", &format!("/systeminfo/supportbundle?{VERSION}")).await;
    assert!(status == 200 && zip.starts_with("PK"));
}

#[actix::test]
async fn what_the_references_daemon_refuses_is_refused_with_its_status() {
    let bench = Bench::new(Probe::default());
    for (method, target, status) in [
        ("GET", "/modules/sensor", 400),
        ("GET", "/modules?api-version=2017-01-01", 400),
        ("GET", "/systeminfo", 400),
        ("GET", "/systeminfo/resources?api-version=2018-06-28", 400),
        ("GET", "/modules/nobody?api-version=2018-06-28", 404),
        ("POST", "/modules/nobody/start?api-version=2018-06-28", 404),
        ("POST", "/modules/nobody/stop?api-version=2018-06-28", 404),
        ("POST", "/modules/nobody/restart?api-version=2018-06-28", 404),
        ("POST", "/modules/edgeHub/stop?api-version=2018-06-28", 409),
        ("POST", "/modules?api-version=2018-06-28", 403),
        ("PUT", "/modules/sensor?api-version=2018-06-28", 403),
        ("DELETE", "/modules/sensor?api-version=2018-06-28", 403),
        ("POST", "/identities?api-version=2018-06-28", 403),
        ("POST", "/device/reprovision?api-version=2019-10-22", 403),
        ("GET", "/nothing?api-version=2018-06-28", 404),
        ("GET", "/identities", 400),
        ("DELETE", "/modules?api-version=2018-06-28", 405),
        ("GET", "/modules/sensor/stop?api-version=2018-06-28", 405),
        ("POST", "/systeminfo?api-version=2018-06-28", 405),
        ("POST", "/modules/sensor/logs?api-version=2018-06-28", 405),
    ] {
        let (answered, body) = bench.ask(method, target).await;
        assert_eq!(answered, status, "{method} {target}: {body}");
        assert!(body.contains("\"message\""), "{body}");
    }
}
