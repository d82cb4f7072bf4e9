//! Over a real socket on loopback, with a probe for everybody else.

use std::time::Duration;

use super::super::probe::{Probe, about};
use super::*;
use crate::protocol::http_client::{ClientRequest, Place, ask};

async fn get(probe: Probe, unplug: impl FnOnce(&ApiPorts), path: &str) -> (u16, String) {
    let (_probe, ports) = probe.plugged();
    unplug(&ports);
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let metrics = Metrics::new(Some(free), about(), ports, Obituary::unsupervised()).start();
    metrics.send(crate::messages::supervision::Probe).await.unwrap();
    let place = Place::Tcp("127.0.0.1".into(), free.port());
    let answer = ask(&place, ClientRequest::new("GET", path), Duration::from_secs(5)).await;
    let answer = answer.unwrap();
    (answer.status, String::from_utf8(answer.body.to_vec()).unwrap())
}

#[actix::test]
async fn every_metric_has_help_type_and_prefix() {
    let (status, text) = get(Probe::default(), |_| {}, "/metrics").await;
    assert_eq!(status, 200);
    for line in [
        "edge_runtime_ready 1",
        "edge_runtime_link_connected 1",
        "edge_runtime_link_attached_identities 3",
        "edge_runtime_messages_received_total 30",
        "edge_runtime_queue_messages{endpoint=\"$upstream\"} 5",
        "edge_runtime_queue_oldest_seconds{endpoint=\"$upstream\"} 9",
        "edge_runtime_route_ended_total{route=\"say \\\"hi\\\"\",endpoint=\"$upstream\",end=\"delivered\"} 20",
        "edge_runtime_clients{place=\"here\"} 2",
        "edge_runtime_clients{place=\"behind_edge\"} 1",
        "edge_runtime_local_topics_published_total 7",
        "edge_runtime_local_topics_dropped_total 2",
        "edge_runtime_local_topics_links 3",
        "edge_runtime_local_topics_bytes{kind=\"waiting\"} 0",
        "edge_runtime_twin_pending_patches 1",
        "edge_runtime_deployment_in_sync 1",
        "edge_runtime_module_status{module=\"sensor\",status=\"running\"} 1",
        "edge_runtime_module_restarts_total{module=\"sensor\"} 2",
        "edge_runtime_module_wanted_seconds_total{module=\"sensor\"} 9",
        "edge_runtime_module_running_seconds_total{module=\"sensor\"} 8.5",
        "edge_runtime_engine_commands_total{command=\"start\",outcome=\"done\"} 3",
        "edge_runtime_engine_commands_total{command=\"start\",outcome=\"failed\"} 1",
        "edge_runtime_engine_command_seconds_total{command=\"start\"} 1.5",
        "edge_runtime_actors{actor=\"edge-runtime/core/services/edge-hub/sessions/connection\"} 2",
        "edge_runtime_actor_restarts_total{actor=\"edge-runtime/core/services/edge-hub/sessions/connection\"} 3",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    }
    assert!(text.contains("edge_runtime_process_memory_bytes{kind=\"anonymous\"}"));
    let name = |line: &str| line.split([' ', '{']).next().map(str::to_owned);
    for metric in text.lines().filter(|line| !line.starts_with('#')).filter_map(name) {
        for what in ["HELP", "TYPE"] {
            let head = format!("# {what} {metric} ");
            assert_eq!(text.matches(&head).count(), 1, "{head}");
        }
    }
}

#[actix::test]
async fn readiness_says_which_part_is_not_ready_and_why() {
    let (status, text) = get(Probe::default(), |_| {}, "/readyz").await;
    assert_eq!(status, 200, "{text}");
    let mut probe = Probe::default();
    probe.link.state = "waiting".into();
    probe.link.why = Some("refused".into());
    let (status, text) = get(probe, |_| {}, "/readyz").await;
    assert_eq!(status, 200, "clients are served with the parent away");
    assert!(text.contains("link: refused (not needed)\n"), "{text}");
    let (status, text) = get(Probe::default(), |ports| ports.queue.unplug(), "/readyz").await;
    assert_eq!(status, 503);
    assert!(
        text.contains("queue: does not answer: it is starting, or being restarted\n"),
        "{text}"
    );
    let probe = Probe { desired: None, ..Probe::default() };
    let (status, text) = get(probe, |_| {}, "/readyz").await;
    assert!(status == 503 && text.contains("routes: routes are not known yet"), "{text}");
}

#[actix::test]
async fn health_needs_nobody_else() {
    let (status, _) = get(Probe::default(), |ports| ports.queue.unplug(), "/healthz").await;
    assert_eq!(status, 200);
    assert_eq!(get(Probe::default(), |_| {}, "/").await.0, 404);
}
